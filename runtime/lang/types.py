"""Types of the language: sizes in bytes, names as messages print them, and promotion.

A value of a *word* type lives in one register, extended to 64 bits by its own sign. All other types
live in memory in the C layout given here; host decoders and programs both use it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Type:
    """Base of all types; `size` and `align` in bytes."""

    word: ClassVar[bool] = False

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return 0

    @property
    def align(self) -> int:
        """Alignment in memory."""
        return 1

    @property
    def plain(self) -> Type:
        """The type without the names of its values."""
        return self


@dataclass(frozen=True, slots=True)
class Fixed(Type):
    """A type whose `shape` is its name, its size and its alignment: each of its kinds is a class."""

    shape: ClassVar[tuple[str, int, int]]

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.shape[1]

    @property
    def align(self) -> int:
        """Alignment in memory."""
        return self.shape[2]

    def __str__(self) -> str:
        return self.shape[0]


@dataclass(frozen=True, slots=True)
class Named(Type):
    """A type that is only a name: `none`, `void`, and the not yet known one."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Int(Type):
    """An integer; `flexible`: a non-negative literal, which takes the other side's sign."""

    bytes: int
    signed: bool
    flexible: bool = False
    word: ClassVar[bool] = True

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.bytes

    @property
    def align(self) -> int:
        """Natural alignment."""
        return self.bytes

    def holds(self, value: int) -> bool:
        """Tell whether it can hold a number."""
        bits = 8 * self.bytes - self.signed
        return -(1 << bits if self.signed else 0) <= value < 1 << bits

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}int{self.bytes * 8}"


class Bool(Fixed):
    """`true` or `false`, one byte."""

    __slots__ = ()
    word = True
    shape = ("bool", 1, 1)


@dataclass(frozen=True, slots=True)
class Pointer(Type):
    """An address in the traced process."""

    to: Type
    word: ClassVar[bool] = True

    @property
    def size(self) -> int:
        """Eight bytes."""
        return 8

    @property
    def align(self) -> int:
        """Natural alignment."""
        return 8

    def __str__(self) -> str:
        return f"{self.to} *"


class ProbeName(Fixed):
    """The `probe` builtin: the attach cookie, which the tracer turns into the name."""

    __slots__ = ()
    word = True
    shape = ("string", 8, 8)


class Username(Fixed):
    """A user id that prints as a name."""

    __slots__ = ()
    word = True
    shape = ("username_t", 8, 8)


@dataclass(frozen=True, slots=True)
class String(Type):
    """Bytes up to the first NUL, at most `capacity` of them."""

    capacity: int

    @property
    def size(self) -> int:
        """The capacity."""
        return self.capacity

    def __str__(self) -> str:
        return f"string[{self.capacity}]"


@dataclass(frozen=True, slots=True)
class Buffer(Type):
    """`u32 length` and then up to `capacity` bytes."""

    capacity: int

    @property
    def size(self) -> int:
        """Length word and bytes."""
        return self.capacity + 4

    @property
    def align(self) -> int:
        """That of the length word."""
        return 4

    def __str__(self) -> str:
        return f"buffer[{self.capacity}]"


@dataclass(frozen=True, slots=True)
class Array(Type):
    """`count` elements without gaps."""

    element: Type
    count: int

    @property
    def size(self) -> int:
        """All elements."""
        return self.element.size * self.count

    @property
    def align(self) -> int:
        """That of an element."""
        return self.element.align

    def __str__(self) -> str:
        return f"{self.element}[{self.count}]"


@dataclass(frozen=True, slots=True)
class Tuple(Type):
    """Values side by side in C layout; `names` makes it a record."""

    items: tuple[Type, ...]
    names: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """End of the last item, rounded up to the alignment."""
        return _round(self.offsets[-1] + self.items[-1].size, self.align) if self.items else 0

    @property
    def align(self) -> int:
        """The largest of the items'."""
        return max((item.align for item in self.items), default=1)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each item begins."""
        result, at = [], 0
        for item in self.items:
            at = _round(at, item.align)
            result.append(at)
            at += item.size
        return tuple(result)

    def __str__(self) -> str:
        if self.names:
            return (
                "record { "
                + ", ".join(f".{n} = {t}" for n, t in zip(self.names, self.items, strict=True))
                + " }"
            )
        return f"({','.join(map(str, self.items))})"


class Symbol(Fixed):
    """`u64 address; u32 pid; u32 0`, printed as the symbol's name."""

    __slots__ = ()
    shape = ("usym_t", 16, 8)


@dataclass(frozen=True, slots=True)
class Stack(Type):
    """`u32 pid; u32 0; u64 count; u64 address[limit]`, innermost first, printed one line a frame."""

    mode: str
    limit: int
    which: str = "ustack"

    @property
    def size(self) -> int:
        """Head and addresses."""
        return 16 + 8 * self.limit

    @property
    def align(self) -> int:
        """That of an address."""
        return 8

    def __str__(self) -> str:
        return f"{self.which}_{self.mode}_{self.limit}"


class Timestamp(Fixed):
    """`u32 format; u32 0; u64 boot ns`, printed by the format with that index."""

    __slots__ = ()
    shape = ("timestamp", 16, 8)


class Inet(Fixed):
    """`u64 family (2, 10); u8 address[16]`."""

    __slots__ = ()
    shape = ("inet", 24, 8)


class Mac(Fixed):
    """Six bytes of a hardware address."""

    __slots__ = ()
    shape = ("macaddr_t", 6, 1)


@dataclass(frozen=True, slots=True)
class Aggregate(Type):
    """State of an aggregation.

    `numbers`: bits of hist; min, max, step of lhist; interval, how many and mode of tseries.
    Words of 8 bytes: count {n}, sum {total}, min and max {biased value, set}, avg and stats {total, count},
    hist and lhist one for each bucket, tseries {value, count, epoch} for each interval.
    """

    name: str
    signed: bool = True
    numbers: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """All words."""
        if self.name == "hist":
            return 8 * (((64 - self.numbers[0]) << self.numbers[0]) + 1)
        if self.name == "lhist":
            low, high, step = self.numbers
            return 8 * ((high - low) // step + 2)
        if self.name == "tseries":
            return 24 * self.numbers[1]
        return 8 if self.name in ("count", "sum") else 16

    @property
    def align(self) -> int:
        """That of a word."""
        return 8

    @property
    def castable(self) -> bool:
        """Whether it can be read as one integer."""
        return self.name in ("count", "sum", "min", "max", "avg")

    @property
    def added_only(self) -> bool:
        """Whether updates are atomic adds and nothing else."""
        return self.name not in ("min", "max", "tseries")

    def __str__(self) -> str:
        return f"{'' if self.signed or self.name in ('count', 'hist', 'lhist') else 'u'}{self.name}_t"


def _round(value: int, step: int) -> int:
    return (value + step - 1) // step * step


COMPARISONS = frozenset(["==", "!=", "<", ">", "<=", ">="])  # operators that give a bool

UNKNOWN = Named("unknown")  # not typed yet: joins with anything
NONE = Named("none")
VOID = Named("void")
BOOL = Bool()
INT8, INT16, INT32, INT64 = (Int(n, True) for n in (1, 2, 4, 8))
UINT8, UINT16, UINT32, UINT64 = (Int(n, False) for n in (1, 2, 4, 8))
SYMBOL = Symbol()
PROBE_NAME = ProbeName()
TIMESTAMP = Timestamp()
INET = Inet()
MAC = Mac()
USERNAME = Username()

# C and kernel names of integers, and the language's own.
NAMED_INTS: dict[str, Type] = {
    "bool": BOOL, "int8": INT8, "int16": INT16, "int32": INT32, "int64": INT64,
    "uint8": UINT8, "uint16": UINT16, "uint32": UINT32, "uint64": UINT64,
    "int8_t": INT8, "int16_t": INT16, "int32_t": INT32, "int64_t": INT64,
    "uint8_t": UINT8, "uint16_t": UINT16, "uint32_t": UINT32, "uint64_t": UINT64,
    "s8": INT8, "s16": INT16, "s32": INT32, "s64": INT64,
    "u8": UINT8, "u16": UINT16, "u32": UINT32, "u64": UINT64,
    "__s8": INT8, "__s16": INT16, "__s32": INT32, "__s64": INT64,
    "__u8": UINT8, "__u16": UINT16, "__u32": UINT32, "__u64": UINT64,
    "char": INT8, "short": INT16, "int": INT32, "long": INT64, "unsigned": UINT32,
    "size_t": UINT64, "ssize_t": INT64, "uintptr_t": UINT64, "intptr_t": INT64, "off_t": INT64,
    "pid_t": INT32, "uid_t": UINT32, "gid_t": UINT32, "_Bool": BOOL, "void": VOID,
}  # fmt: skip


def literal_type(value: int) -> Int:
    """Give the smallest signed type that holds a literal; above int64 it is uint64."""
    if value >= 1 << 63:
        return UINT64
    size = next(n for n in (1, 2, 4, 8) if -(1 << (8 * n - 1)) <= value < 1 << (8 * n - 1))
    return Int(size, True, flexible=value >= 0)


def settled(kind: Type) -> Type:
    """Drop the flexibility of a literal's sign, everywhere in the type."""
    if type(kind) is Int:
        return Int(kind.bytes, kind.signed)
    if isinstance(kind, Tuple):
        return Tuple(tuple(settled(item) for item in kind.items), kind.names)
    return kind


def contains(slot: Int, value: Int) -> bool:
    """Tell whether every value of one integer type can be held by another."""
    if slot.signed == value.signed:
        return value.bytes <= slot.bytes
    return slot.signed and value.bytes < slot.bytes


def is_signed(left: Int, right: Int) -> bool:
    """Whether an operation on two integers is signed: either side is, literals follow the other."""
    if left.flexible != right.flexible:
        return right.signed if left.flexible else left.signed
    return left.signed or right.signed


def join_ints(a: Int, b: Int) -> Int:
    """Least upper bound of two integers (`language.md`, promotion)."""
    size = max(a.bytes, b.bytes)
    if a.signed == b.signed:
        return Int(size, a.signed, a.flexible and b.flexible)
    if a.flexible or b.flexible:
        return Int(size, b.signed if a.flexible else a.signed)
    signed, unsigned = (a, b) if a.signed else (b, a)
    if signed.bytes > unsigned.bytes:
        return signed
    return Int(min(2 * size, 8), True)


def _join_pointers(a: Pointer, b: Pointer) -> Type | None:
    return a if b.to == VOID else b if a.to == VOID else None


def _join_aggregates(a: Aggregate, b: Aggregate) -> Type | None:
    if a.name == b.name and a.numbers == b.numbers:
        return Aggregate(a.name, a.signed or b.signed, a.numbers)
    return None


def _join_tuples(a: Tuple, b: Tuple) -> Type | None:
    if len(a.items) != len(b.items) or sorted(a.names) != sorted(b.names):
        return None
    other = [b.items[b.names.index(name)] for name in a.names] if a.names else list(b.items)
    items = [join(x, y) for x, y in zip(a.items, other, strict=True)]
    found = [item for item in items if item is not None]
    return Tuple(tuple(found), a.names) if len(found) == len(items) else None


# Rows take two types of their own class.
JOINS: dict[type[Type], Callable[[Any, Any], Type | None]] = {
    Int: join_ints,
    String: lambda a, b: String(max(a.capacity, b.capacity)),
    Buffer: lambda a, b: Buffer(max(a.capacity, b.capacity)),
    Tuple: _join_tuples,
    Pointer: _join_pointers,
    Aggregate: _join_aggregates,
}


def join(a: Type, b: Type) -> Type | None:
    """Least upper bound of two types, or None where there is none."""
    if UNKNOWN in (a, b) or a == b:
        return a if b == UNKNOWN else b
    rule = JOINS.get(type(a)) if type(a) is type(b) else None
    if rule is None and (a.plain, b.plain) != (a, b):
        return join(a.plain, b.plain)
    return rule(a, b) if rule else None
