"""eBPF as data: objects, programs, instructions. `runtime.elf` reads files, `runtime.verify` proves."""
