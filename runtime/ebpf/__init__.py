"""eBPF as data: objects, programs and instructions. Reading ELF is `runtime.elf`, meaning is `runtime.verify`."""
