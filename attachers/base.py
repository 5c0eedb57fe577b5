"""The interface of every attach type, and the private data that says where a program is hooked on.

The model's longer names (`initialize_from_string`, `create_attach_with_ebpf_callback`) are kept as aliases;
ours raise instead of returning negative numbers. A new attach type is one file with a subclass of
`Attacher`, one row in `registry.py`, and its tests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from runtime.errors import AttachProblem, Problem
from runtime.helpers.custom import CustomHelper, Function

UPROBE, URETPROBE, UPROBE_OVERRIDE, UREPLACE = 6, 7, 1008, 1009
SYSCALL = 2
SOFTWARE, FIRST_CUSTOM, INTERVAL = 1, 2000, 2100
Register = Callable[[int, str, Function], int]
Callback = Callable[[bytes], tuple[int, int]]


class PrivateData(ABC):
    """Where one program is attached, convertible to a string and back."""

    @classmethod
    @abstractmethod
    def from_string(cls, text: str) -> PrivateData:
        """Parse the string form.

        Raises:
            AttachProblem: the text is wrong (22); it names the accepted forms.
        """

    @abstractmethod
    def to_string(self) -> str:
        """Return the string form; `from_string` of it is equal to this."""

    @classmethod
    def initialize_from_string(cls, text: str) -> int:
        """Return 0 when `from_string` would accept the text, else the negative error number."""
        try:
            cls.from_string(text)
        except AttachProblem as problem:
            return -problem.errno
        return 0


@dataclass(frozen=True, slots=True)
class FunctionData(PrivateData):
    """A function probe's place: `MODULE:OFFSET` (file offset), `MODULE:SYMBOL[+OFFSET]`, or an address.

    `module` is empty for an absolute address, which is then `offset`. `semaphore` is a file offset, 0 none.
    """

    module: str
    symbol: str
    offset: int
    semaphore: int = 0

    @classmethod
    def from_string(cls, text: str) -> FunctionData:
        """Parse the string form; numbers are decimal or 0x-hexadecimal.

        Raises:
            AttachProblem: the text is none of the accepted forms (22).
        """
        module, colon, place = text.rpartition(":")
        if not colon:
            return cls("", "", _number(text, text))
        if not module or not place:
            raise _bad(text)
        if place[0].isdigit():
            return cls(module, "", _number(place, text))
        symbol, plus, offset = place.partition("+")
        return cls(module, symbol, _number(offset, text) if plus else 0)

    def to_string(self) -> str:
        """Return the string form."""
        if not self.module:
            return str(self.offset)
        if self.symbol:
            return f"{self.module}:{self.symbol}" + (f"+{self.offset}" if self.offset else "")
        return f"{self.module}:{self.offset}"


@dataclass(frozen=True, slots=True)
class TextData(PrivateData):
    """A string that is kept as it is: simple attach types, timers."""

    text: str

    @classmethod
    def from_string(cls, text: str) -> TextData:
        """Return the text as private data."""
        return cls(text)

    def to_string(self) -> str:
        """Return the text."""
        return self.text


def _number(text: str, whole: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        raise _bad(whole) from None
    if not 0 <= value < 1 << 64:
        raise _bad(whole)
    return value


def _bad(text: str) -> AttachProblem:
    return AttachProblem(
        f"wrong place for a function probe: '{text}'",
        errno=22,
        hint="write MODULE:OFFSET, MODULE:SYMBOL[+OFFSET] or an address",
    )


class Attacher(ABC):
    """One kind of place where programs can be hooked on. Ids start at 1 and are never used again."""

    types: ClassVar[tuple[int, ...]] = ()

    def __init__(self) -> None:
        self._last = 0

    def allocate_id(self) -> int:
        """Return the next id."""
        self._last += 1
        return self._last

    @abstractmethod
    def create_attach(self, program: object, private_data: PrivateData, attach_type: int) -> int:
        """Hook a program on and return the id of the link.

        Raises:
            AttachProblem: it cannot be placed there.
            TargetProblem: the process cannot be reached.
        """

    def create_attach_with_ebpf_callback(
        self, callback: Callback, private_data: PrivateData, attach_type: int
    ) -> int:
        """Do the same under the model's name: an id, or the negative error number."""
        try:
            return self.create_attach(callback, private_data, attach_type)
        except AttachProblem as problem:
            return -problem.errno
        except Problem:
            return -22

    @abstractmethod
    def detach_by_id(self, link: int) -> int:
        """Take a link out; returns 0.

        Raises:
            AttachProblem: there is no such link (2).
        """

    def register_custom_helpers(self, register: Register) -> None:
        """Offer helpers of this attach type to programs; most have none."""
        del register

    def accept_helpers(self, helpers: Iterable[CustomHelper]) -> None:
        """Take the helpers that a context knows, for programs that run elsewhere; most need none."""
        del helpers

    def call_attach_specific_function(self, name: str, data: object) -> object:
        """Call something that only this attach type has.

        Raises:
            AttachProblem: it has nothing of that name (95).
        """
        del data
        raise AttachProblem(f"{type(self).__name__} has no function '{name}'", errno=95)


def unknown_link(link: int) -> AttachProblem:
    """Return the error for an id that is not attached."""
    return AttachProblem(f"no link {link}", errno=2, hint="bpftime list shows the links")
