"""Programs inside GPU kernels: eBPF to the text of a PTX block, and what maps look like in device memory."""
