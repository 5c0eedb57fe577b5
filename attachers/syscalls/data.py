"""Which calls a program is attached to, as a string and back: private data of attach type 2."""

from __future__ import annotations

import re
from dataclasses import dataclass

from attachers.base import PrivateData
from runtime.errors import AttachProblem, alternatives
from runtime.syscalls.table import NUMBERS, by_name, by_number, find, syscalls

# Numbers of tracepoints where the kernel's own are not known: this | number << 1 | 1 for the end.
SYNTHETIC = 1 << 30
EVERY = NUMBERS - 1
SIDES = {"enter": False, "exit": True}
_TEXT = re.compile(
    r"(?:tracepoint:|tracepoint/|tp/)?(?:(raw_)?syscalls[:/])?sys_(enter|exit)(?:_(.+))?", re.S
)
FORMS = "write enter:NAME, exit:NAME (a number as nr=N, * for all), or tracepoint:syscalls:sys_enter_NAME"


@dataclass(frozen=True, slots=True)
class SyscallData(PrivateData):
    """Calls by their names, or by a number; `name` is `*` for all, and may hold wildcards."""

    name: str
    leaves: bool

    @classmethod
    def from_string(cls, text: str) -> SyscallData:
        """Parse `enter:openat`, `exit:*`, `enter:nr=470`, a tracepoint's name, or its number.

        Raises:
            AttachProblem: another form, a number that no call has (22), an unknown call (2).
        """
        side, _, name = text.partition(":")
        if side in SIDES and name:
            return cls(_checked(name), SIDES[side])
        found = _TEXT.fullmatch(text)
        if found and (found[3] or found[1] or (":" not in text and "/" not in text)):
            return cls(_checked(found[3] or "*"), SIDES[found[2]])
        if text.isdigit() and int(text) & SYNTHETIC:
            return cls._numbered(int(text) - SYNTHETIC)
        raise AttachProblem(f"wrong system call: '{text}'", errno=22, hint=FORMS)

    @classmethod
    def _numbered(cls, number: int) -> SyscallData:
        call = number >> 1
        if call > EVERY:
            raise AttachProblem(f"there is no tracepoint {number}", errno=2)
        return cls("*" if call == EVERY else _shown(call), bool(number & 1))

    def to_string(self) -> str:
        """Return the shortest form."""
        return f"{'exit' if self.leaves else 'enter'}:{self.name}"

    @property
    def numbers(self) -> frozenset[int] | None:
        """Return the numbers of the calls, None for all."""
        if self.name == "*":
            return None
        if self.name.startswith("nr="):
            return frozenset([int(self.name[3:])])
        if "*" in self.name or "?" in self.name:
            return frozenset(s.number for s in find(self.name))
        return frozenset([by_name()[self.name].number])


def _shown(number: int) -> str:
    known = by_number().get(number)
    return known.name if known else f"nr={number}"


def _checked(name: str) -> str:
    """Return a name as `to_string` gives it.

    Raises:
        AttachProblem: there is no such call.
    """
    digits = name.removeprefix("nr=")
    if digits.isdigit():
        if int(digits) > EVERY:
            raise AttachProblem(f"no system call has number {digits}", errno=22, hint=f"the last is {EVERY}")
        return _shown(int(digits))
    if name == "*" or name in by_name() or (set(name) & set("*?") and find(name)):
        return name
    import difflib  # lazy: only for the message

    near = difflib.get_close_matches(name, [s.name for s in syscalls()], 3, 0.6)
    hint = f"did you mean {alternatives(near)}?" if near else "bpftime list 'tracepoint:syscalls:*' shows all"
    raise AttachProblem(f"no system call '{name}'", errno=2, hint=hint)
