"""One argument that is to be shown, and how bytes, addresses and descriptors look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bpftime_cli.callview.call import Call
from runtime.events import Value

AT_FDCWD = -100
BAD_ADDRESS = -14  # EFAULT
ESCAPES = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


@dataclass(frozen=True, slots=True)
class Looks:
    """How arguments look: `most` bytes of a text; `path_of` names a descriptor of a process, "" for none."""

    most: int = 32
    path_of: Callable[[int, int], str] = lambda _pid, _fd: ""


@dataclass(slots=True)  # not frozen: one is made for each of millions
class Field:
    """One argument: its number, what its kind says behind the colon, what was copied.

    `copy`: when the call had ended, or where nothing was then, when it began; `old`: when it began.
    """

    call: Call
    index: int
    detail: str
    looks: Looks

    @property
    def copy(self) -> Value:
        """Return the latest copy."""
        return self.call.later.get(self.index, self.old)

    @property
    def old(self) -> Value:
        """Return the copy that was made when the call began."""
        return self.call.copies.get(self.index)

    @property
    def data(self) -> bytes:
        """Return the latest copy as bytes, none where there is none."""
        return self.read(self.copy)

    @property
    def before(self) -> bytes:
        """Return the bytes that were copied when the call began."""
        return self.read(self.old)

    def read(self, copy: Value) -> bytes:
        """Return a copy's bytes, none where it could not be made: what no script can read is zeros to it."""
        if not isinstance(copy, bytes) or (self.call.result == BAD_ADDRESS and not any(copy)):
            return b""
        return copy

    @property
    def word(self) -> int:
        """Return the argument's 64 bits."""
        return self.call.arguments[self.index]

    @property
    def low(self) -> int:
        """Return its low 32 bits as a signed number."""
        return ((self.word & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000

    def other(self, index: int) -> int:
        """Return the low 32 bits of another argument."""
        return self.call.arguments[index] & 0xFFFFFFFF


Form = Callable[[Field], str]


def quoted(data: bytes, *, is_cut: bool = False) -> str:
    """Return bytes as strace quotes them: C escapes, octal for the rest (a digit behind takes three)."""
    out = []
    for position, byte in enumerate(data):
        if byte in ESCAPES:
            out.append(ESCAPES[byte])
        elif 32 <= byte < 127:
            out.append(chr(byte))
        else:
            digits = data[position + 1 : position + 2]
            out.append(f"\\{byte:03o}" if digits.isdigit() else f"\\{byte:o}")
    return f'"{"".join(out)}"' + ("..." if is_cut else "")


def quoted_hex(data: bytes, *, is_cut: bool = False) -> str:
    """Return bytes that are no text: each as two hexadecimal digits."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"' + ("..." if is_cut else "")


def shown(data: bytes, total: int, looks: Looks) -> str:
    """Return the beginning of a buffer of which `total` bytes count."""
    return quoted(data[: looks.most], is_cut=total > min(len(data), looks.most))


def pointer(word: int) -> str:
    """Return an address."""
    return f"{word:#x}" if word else "NULL"


def descriptor(pid: int, number: int, looks: Looks) -> str:
    """Return a descriptor, with what it is where that is wanted and known."""
    path = looks.path_of(pid, number) if number >= 0 else ""
    return f"{number}<{path}>" if path else str(number)
