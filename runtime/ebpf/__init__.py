"""eBPF as data: objects, programs, instructions. Reading ELF is `runtime.elf`, meaning is `runtime.verify`."""
