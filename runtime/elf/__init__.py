"""eBPF ELF objects: bytes to `Object` with relocations done. Hostile input only raises `ObjectProblem`."""
