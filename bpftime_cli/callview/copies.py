"""What copies memory of the target, as statements and an expression of the script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bpftime_cli.callview.shapes import ARGV, AT_ADDRESS, BITS, MESSAGE_PARTS, RETURNED, VECTOR, Capture

Copied = tuple[str, str]
COUNTED = 4096  # words of an environment, entries of a directory
ADDRESS_MOST = 128  # bytes of a socket's address (struct sockaddr_storage)
HEADER = 56  # bytes of a struct msghdr; its fields by their offsets:
NAME, NAME_LENGTH, PARTS, PART_COUNT, CONTROL, CONTROL_LENGTH = 0, 8, 16, 24, 32, 40


@dataclass(frozen=True, slots=True)
class Limits:
    """How many bytes are copied of a text, and of one of many buffers; `slow`: ns that a call must take."""

    text: int
    part: int = 32
    slow: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """A capture in a program. `words`: expressions for the arguments; `result`: for what it returned."""

    capture: Capture
    words: Sequence[str]
    result: str
    limits: Limits

    @property
    def pointer(self) -> str:
        """The argument."""
        return self.words[self.capture.argument]

    def variable(self, name: str) -> str:
        """Return the name of a variable of this capture alone."""
        return f"${name}{self.capture.argument}{'b' if self.capture.after else 'a'}"


def copy_of(source: Source) -> Copied:
    """Return the statements that come before, and the expression that is what was copied."""
    return COPIES[source.capture.kind](source)


def _text(s: Source) -> Copied:
    return "", f"str({s.pointer})"


def _bytes(s: Source) -> Copied:
    return "", f"buf({s.pointer}, {s.capture.size})"


def _words(s: Source) -> Copied:
    words = (f"str({_word(s.pointer, 8 * index)}, {s.limits.part + 4})" for index in range(ARGV))
    return "", f"({', '.join(words)})"


def _count(s: Source) -> Copied:
    """Count the words of a list that ends with a null pointer."""
    count = s.variable("n")
    stop = f"if (*(uint64 *)({s.pointer} + 8 * {count}) == 0) {{ break; }}"
    return f" {count} = (uint64)0; for ($_ : 0..{COUNTED}) {{ {stop} {count}++; }}", count


def _entries(s: Source) -> Copied:
    """Count the entries of a directory (struct linux_dirent64: their length lies at 16)."""
    at, count = s.variable("v"), s.variable("n")
    step = f"{at} += (uint64)*(uint16 *)({s.pointer} + {at} + 16); {count}++;"
    stop = f"if ((int64){at} >= {s.result}) {{ break; }}"
    return f" {at} = (uint64)0; {count} = (uint64)0; for ($_ : 0..{COUNTED}) {{ {stop} {step} }}", count


def _some(s: Source) -> Copied:
    capture, limit = s.capture, s.limits.text
    if capture.length == AT_ADDRESS:
        size = f"(uint64)*(uint32 *){s.words[capture.size]}"
        return "", _buffer(s.pointer, f"{s.result} >= 0 ? {_least(size, ADDRESS_MOST)} : 0")
    if capture.length == BITS:
        bits = f"(uint64)(uint32){s.words[capture.size]}"
        return "", _buffer(s.pointer, _least(f"({bits} + 63) / 64 * 8", limit))
    unit = max(1, capture.size)
    most = limit // unit
    if capture.length == RETURNED:
        some = f"({s.result} < {most} ? (uint64){s.result} * {unit} : {most * unit})"
        return "", _buffer(s.pointer, f"{s.result} > 0 ? {some} : 0")
    length = f"(uint64)(uint32){s.words[capture.length]}"
    return "", _buffer(s.pointer, f"{length} < {most} ? {length} * {unit} : {most * unit}")


def _vector(s: Source) -> Copied:
    """Copy a vector of buffers (struct iovec): the vector itself, then of each buffer what may be shown."""
    count = f"(uint64)(uint32){s.words[s.capture.length]}"
    begin, parts = _parts(s, s.pointer, count, VECTOR)
    return begin, f"({', '.join(parts)})"


def _message(s: Source) -> Copied:
    """Copy a message: its header, the address, the vector of its buffers with these, and control data."""
    address = _buffer(_word(s.pointer, NAME), _least(_word(s.pointer, NAME_LENGTH, 32), ADDRESS_MOST))
    control = _buffer(_word(s.pointer, CONTROL), _least(_word(s.pointer, CONTROL_LENGTH), s.limits.text))
    begin, parts = _parts(s, _word(s.pointer, PARTS), _word(s.pointer, PART_COUNT), MESSAGE_PARTS)
    return begin, f"(buf({s.pointer}, {HEADER}), {address}, {control}, {', '.join(parts)})"


def _parts(s: Source, vector: str, count: str, most: int) -> tuple[str, list[str]]:
    at, many = s.variable("v"), s.variable("n")
    begin = f" {at} = {vector}; {many} = {count};"
    parts = [_buffer(at, f"{many} < {most} ? {many} * 16 : {most * 16}")]
    for index in range(most):
        length = _least(_word(at, 16 * index + 8), s.limits.part)
        parts.append(_buffer(_word(at, 16 * index), f"{many} > {index} ? {length} : 0"))
    return begin, parts


def _word(pointer: str, offset: int, bits: int = 64) -> str:
    return f"{'(uint64)' if bits < 64 else ''}*(uint{bits} *)({pointer} + {offset})"


def _least(length: str, most: int) -> str:
    return f"({length} < {most} ? {length} : {most})"


def _buffer(pointer: str, length: str) -> str:
    return f"buf({pointer}, {length})"


COPIES: dict[str, Callable[[Source], Copied]] = {
    "text": _text, "bytes": _bytes, "words": _words, "some": _some, "vector": _vector, "message": _message,
    "count": _count, "entries": _entries,
}  # fmt: skip
