"""How a compiled program gets its inputs: parameters in registers, the rest as words on the stack.

Word i lies at [address of the return-address slot + 8 + 8 * i]. With `frame` the first parameter is the
address of a full context structure instead, which is followed by two u64: the number of tail calls so far,
which the thunk zeroes, and a word for the jump.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.ebpf.context import ARGUMENT_REGISTERS, CONSTANT_REGISTERS, LAYOUTS, SYSCALL_REGISTERS
from runtime.errors import Unsupported
from runtime.types import ContextKind

PARAMETERS: dict[ContextKind, tuple[str, ...]] = {
    ContextKind.UPROBE: ARGUMENT_REGISTERS,
    ContextKind.USDT: ARGUMENT_REGISTERS,
    ContextKind.KSYSCALL: ARGUMENT_REGISTERS,
    ContextKind.SYS_ENTER: SYSCALL_REGISTERS,  # the fourth is moved to rcx
    ContextKind.MEMORY: ("address", "length"),
}
# Kinds whose context structure no thunk can make.
FRAMELESS = frozenset((ContextKind.MEMORY, ContextKind.TIMER))
# A context pointer that is only compared or copied: never null, never mapped.
DUMMY_CONTEXT = 4096


@dataclass(slots=True)
class Inputs:
    """What one program takes from its thunk; `words` grows while the program is lifted.

    `arguments`: registers in which the probed function gets its arguments.
    """

    kind: ContextKind
    frame: bool
    arguments: tuple[str, ...] = ARGUMENT_REGISTERS
    words: list[str] = field(default_factory=list)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters in registers, in order."""
        if self.frame:
            return ("context",)
        return PARAMETERS.get(self.kind, ())

    def word(self, name: str) -> int:
        """Give the index of a word, asking the thunk for it."""
        if name not in self.words:
            self.words.append(name)
        return self.words.index(name)

    def source(self, offset: int) -> tuple[str, str]:
        """Say where the 8 bytes at `offset` of the context come from: (`constant|register`, text).

        Raises:
            Unsupported: nothing in user space stands for this field.
        """
        layout = LAYOUTS[self.kind]
        name = layout.words.get(offset)
        if offset in layout.zeros:
            return "constant", "0"
        if name is None:
            raise Unsupported(f"byte {offset} of the {self.kind.value} context has no source")
        if self.kind is ContextKind.KSYSCALL and name == "orig_rax":
            return "register", "nr"
        if name.startswith("arg") and self.kind is ContextKind.UPROBE:
            return "register", self.arguments[int(name[3:])]
        if name in CONSTANT_REGISTERS:
            value = CONSTANT_REGISTERS[name]
            return "constant", str(value - (1 << 64) if value >> 63 else value)
        return "register", name


# Fields of these kinds that only a full structure can serve (pointers into it, sampling data).
FRAME_FIELDS = {
    ContextKind.RAW_SYS_ENTER: range(8),
    ContextKind.RAW_SYS_EXIT: range(8),
    ContextKind.PERF_EVENT: range(168, 184),
}
