"""eBPF ELF objects: bytes to `Object` with relocations done. Hostile input only raises `ObjectProblem`.

Trap: references to maps stay symbolic (`Program.map_refs`), and data sections are maps named after them.
"""

from runtime.elf.load import load, load_object

__all__ = ["load", "load_object"]
