"""An interpreter of PTX: what a GPU would do with a module, so that woven kernels run where there is none.

    memory = Memory()
    memory.add(0x7000_0000_0000, memoryview(buffer))
    loaded = Machine(memory).load(text)
    loaded.launch("kernel", (4, 1, 1), (32, 1, 1), params, shared_bytes=0)

Written from the PTX ISA document. A warp's running threads are always those at the smallest place, so that paths
that part meet again as soon as they can; barriers hold a block's threads; the blocks of a grid run one after
another, in turns where they wait for each other. Registers hold bits. Everything is checked: an access outside of
what was added, one that is not aligned, an instruction that is not known and a wait without end are errors that
name the instruction.
"""

from tests.tools.ptxrun.machine import Loaded, Machine
from tests.tools.ptxrun.memory import Fault, Memory

__all__ = ["Fault", "Loaded", "Machine", "Memory"]
