"""Private data of kernel probes: which kernels, and whether their memory operations are meant.

The text is the model's: names separated by commas, the first one canonical. `__memcapture` stands for all
memory operations, of every kernel or of those named behind it; `__memcapture=ld|st@global` chooses some. A
last name `@FILE` says whose kernels are meant.
"""

from __future__ import annotations

from dataclasses import dataclass

from attachers.base import PrivateData
from runtime.errors import AttachProblem

KERNEL, KERNEL_RETURN = 8, 9
CAPTURE, DIRECT = "__memcapture", "__directly_run"
OPS = ("ld", "st", "atom", "red")
SPACES = ("global", "shared", "local", "const", "generic")
_HEAD, _LIST, _TAIL = "nv_attach_private_data: func_name=", " func_names=", " comm_shared_mem="
_OPEN, _CLOSE = "<([", ">)]"


@dataclass(frozen=True, slots=True)
class KernelData(PrivateData):
    """The kernels of one probe: mangled or demangled names, or patterns, at least one.

    `ops`: memory operations that are captured, empty for a probe at the kernel's entry or return. `spaces`:
    in which state spaces, empty for the usual ones. `module`: the file whose kernels are meant, or empty.
    """

    names: tuple[str, ...]
    ops: tuple[str, ...] = ()
    spaces: tuple[str, ...] = ()
    module: str = ""

    @classmethod
    def from_string(cls, text: str) -> KernelData:
        """Parse a comma list, or what `to_string` gives; commas in brackets belong to a name.

        Raises:
            AttachProblem: it names no kernel, or an operation that there is not (22).
        """
        names = _split(_listed(text))
        module = names.pop()[1:] if len(names) > 1 and names[-1].startswith("@") else ""
        if not names:
            raise AttachProblem(f"no kernel is named in '{text}'", errno=22, hint="write NAME[,NAME…]")
        first, equals, wanted = names[0].partition("=")
        if first != CAPTURE:
            return cls(tuple(names), module=module)
        ops, _, spaces = wanted.partition("@")
        return cls(
            tuple(names[1:]) or ("*",),
            _chosen(ops, OPS, text) if equals and ops else OPS,
            _chosen(spaces, SPACES, text) if spaces else (),
            module,
        )

    def to_string(self) -> str:
        """Return the model's form; its last field tells of shared memory, which we have none of."""
        names = self.names
        if self.ops:
            ops = "" if self.ops == OPS and not self.spaces else "=" + "|".join(self.ops)
            spaces = "@" + "|".join(self.spaces) if self.spaces else ""
            names = (CAPTURE + ops + spaces, *(() if names == ("*",) else names))
        names = (*names, f"@{self.module}") if self.module else names
        return f"{_HEAD}{names[0]}{_LIST}{','.join(names)}{_TAIL}0"


def _listed(text: str) -> str:
    """Return the comma list, which the long form holds in its middle."""
    if not text.startswith(_HEAD):
        return text
    return text.partition(_LIST)[2].rpartition(_TAIL)[0]


def _split(text: str) -> list[str]:
    names, depth = [""], 0
    for char in text:
        depth += (char in _OPEN) - (char in _CLOSE)
        if char == "," and depth <= 0:
            names.append("")
        else:
            names[-1] += char
    return [name.strip() for name in names if name.strip()]


def _chosen(text: str, known: tuple[str, ...], whole: str) -> tuple[str, ...]:
    words = text.split("|")
    unknown = next((word for word in words if word not in known), None)
    if unknown is not None:
        raise AttachProblem(
            f"'{unknown}' in '{whole}' is no kind of memory access",
            errno=22,
            hint=f"there are {', '.join(known)}",
        )
    return tuple(word for word in known if word in words)
