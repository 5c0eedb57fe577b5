"""The state of a program at one point: registers, call frames with their stacks, open ring records.

Frames are immutable and shared between states. A stack slot is `offset → (size, value)`; offsets are
negative, relative to the frame pointer. `Frame.init` is a bit mask: bit `offset + 512` is set when that byte
was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from runtime.ebpf.insn import AND, RSH
from runtime.verify.arithmetic import alu
from runtime.verify.number import bits, const, join, low32, widen
from runtime.verify.value import (
    ANY,
    MAYBE_MEMORY,
    MEMORY,
    PID_TGID,
    SCALAR,
    TID,
    Origin,
    Region,
    RegionKind,
    Value,
    copies_of,
)

STACK_BYTES = 512
Slot = tuple[int, Value]
Register = Value | None
Change = Callable[[Value], Register]


@dataclass(frozen=True, slots=True)
class Frame:
    """One call: its stack, where it returns to, and the caller's r6-r9.

    `entry`: first pc of the function. `call`: pc of the call (-1 for the program itself). `callback`:
    arguments that each run of a callback starts with, () for ordinary calls. `refs`: open records at the
    call, which a callback must leave as they are.
    """

    entry: int
    call: int = -1
    init: int = 0
    slots: dict[int, Slot] = field(default_factory=dict)
    saved: tuple[Register, ...] = ()
    callback: tuple[Register, ...] = ()
    refs: frozenset[Origin] = frozenset()


@dataclass(slots=True)
class State:
    """What holds at one point of one path. `lock`: a spin lock is held. `trail`: branches taken so far."""

    regs: list[Register]
    frames: tuple[Frame, ...]
    refs: frozenset[Origin] = frozenset()
    lock: bool = False
    trail: Trail | None = None

    @property
    def depth(self) -> int:
        """Number of calls that are open: 0 in the program itself."""
        return len(self.frames) - 1

    def copy(self) -> State:
        """A state that can be changed without changing this one."""
        return State(self.regs.copy(), self.frames, self.refs, self.lock, self.trail)

    def calls(self) -> tuple[int, ...]:
        """The pcs of all open calls, outermost first."""
        return tuple(frame.call for frame in self.frames[1:])

    def set_frame(self, index: int, frame: Frame) -> None:
        """Replace one frame."""
        self.frames = (*self.frames[:index], frame, *self.frames[index + 1 :])

    def rewrite(self, change: Change) -> None:
        """Pass every value that is held anywhere through `change`; None makes it unreadable."""
        self.regs = [value and change(value) for value in self.regs]
        self.frames = tuple(_rewritten(frame, change) for frame in self.frames)


class Trail:
    """A path as a linked list of pcs, newest first."""

    __slots__ = ("before", "pc")

    def __init__(self, pc: int, before: Trail | None) -> None:
        self.pc = pc
        self.before = before

    def pcs(self, most: int) -> list[int]:
        """Up to `most` newest pcs, oldest first."""
        out: list[int] = []
        at: Trail | None = self
        while at is not None and len(out) < most:
            out.append(at.pc)
            at = at.before
        return out[::-1]


def _rewritten(frame: Frame, change: Change) -> Frame:
    slots: dict[int, Slot] = {}
    changed = False
    for offset, (size, value) in frame.slots.items():
        now = change(value)
        changed |= now is not value
        if now is not None:
            slots[offset] = (size, now)
    saved = tuple(value and change(value) for value in frame.saved)
    callback = tuple(value and change(value) for value in frame.callback)
    if not changed and saved == frame.saved and callback == frame.callback:
        return frame
    return replace(frame, slots=slots, saved=saved, callback=callback)


# --- the stack of one frame


def bytes_mask(offset: int, size: int) -> int:
    """Bits of `Frame.init` for `size` bytes at `offset`."""
    return ((1 << size) - 1) << (offset + STACK_BYTES)


def store(frame: Frame, offset: int, size: int, value: Register) -> Frame:
    """Write `size` bytes at a constant offset; None leaves them set but unknown."""
    slots = _without(frame.slots, offset, offset + size)
    if value is not None and (size == 8 or value[0] == SCALAR):
        slots[offset] = (size, _truncated(value, size))
    return replace(frame, slots=slots, init=frame.init | bytes_mask(offset, size))


def clobber(frame: Frame, start: int, end: int, written: bool) -> Frame:
    """Forget what bytes [start, end) hold; `written`: all of them are set afterwards."""
    init = frame.init | bytes_mask(start, end - start) if written else frame.init
    return replace(frame, slots=_without(frame.slots, start, end), init=init)


def load(frame: Frame, offset: int, size: int) -> Value:
    """Read `size` bytes, all of which were written, at a constant offset."""
    slot = frame.slots.get(offset)
    if slot is not None and slot[0] == size:
        return slot[1]
    for at in range(offset, offset - 8, -1):
        slot = frame.slots.get(at)
        if slot is None:
            continue
        held, value = slot
        if value[0] == SCALAR and at + held >= offset + size:
            shifted = alu(RSH, 64, value[2], const(8 * (offset - at)))
            return (SCALAR, 0, alu(AND, 64, shifted, const((1 << 8 * size) - 1)))
        break
    return ANY if size == 8 else (SCALAR, 0, bits(8 * size))


def _truncated(value: Value, size: int) -> Value:
    if size == 8 or value[2][1] < 1 << 8 * size:
        return value
    if size == 4 and copies_of(value) == PID_TGID:
        return (SCALAR, TID, low32(value[2]))
    return (SCALAR, 0, low32(value[2]) if size == 4 else alu(AND, 64, value[2], const((1 << 8 * size) - 1)))


def _without(slots: dict[int, Slot], start: int, end: int) -> dict[int, Slot]:
    return {at: slot for at, slot in slots.items() if at >= end or at + slot[0] <= start}


# --- joining


def shape(state: State) -> tuple[object, ...]:
    """What must be equal for two states to be joined: kinds and bases of pointers, open records."""
    out: list[object] = [state.refs, state.lock]
    out.extend(value and _class_of(value) for value in state.regs)
    for frame in state.frames:
        out.extend(value and _class_of(value) for value in frame.saved)
        out.extend(
            (at, _class_of(slot[1])) for at, slot in sorted(frame.slots.items()) if slot[1][0] != SCALAR
        )
        out.append(None)
    return tuple(out)


def _class_of(value: Value) -> object:
    tag, ident, _ = value
    if tag == SCALAR:
        return SCALAR
    if tag == MEMORY and isinstance(ident, Region) and ident.kind is not RegionKind.RECORD:
        return (tag, ident.kind, ident.map, ident.size, ident.writable)
    return (tag, ident)


class Joiner:
    """Joins states with the same frames; `steps` not None widens numbers that grew."""

    def __init__(self, steps: tuple[int, ...] | None) -> None:
        self.steps = steps
        self.pairs: dict[tuple[int, int], int] = {}

    def states(self, old: State, new: State) -> State:
        """The smallest state that holds both; values that differ in kind become unreadable."""
        regs = [self._register(a, b) for a, b in zip(old.regs, new.regs, strict=True)]
        frames = tuple(self._frame(a, b) for a, b in zip(old.frames, new.frames, strict=True))
        return canonical(State(regs, frames, old.refs, old.lock, old.trail))

    def _frame(self, old: Frame, new: Frame) -> Frame:
        if old is new:
            return old
        slots: dict[int, Slot] = {}
        for at, (size, value) in old.slots.items():
            other = new.slots.get(at)
            if other is not None and other[0] == size:
                both = self._register(value, other[1])
                if both is not None:
                    slots[at] = (size, both)
        saved = tuple(self._register(a, b) for a, b in zip(old.saved, new.saved, strict=True))
        callback = tuple(self._register(a, b) for a, b in zip(old.callback, new.callback, strict=True))
        return Frame(old.entry, old.call, old.init & new.init, slots, saved, callback, old.refs)

    def _register(self, a: Register, b: Register) -> Register:
        if a is None or b is None:
            return None
        if a == b:
            return a
        if a[0] != b[0]:
            return self._mixed(a, b)
        number = a[2] if a[2] == b[2] else join(a[2], b[2])
        if self.steps is not None and number != a[2]:
            number = widen(a[2], number, self.steps)
        if a[0] == SCALAR:
            return (SCALAR, self._copies(copies_of(a), copies_of(b)), number)
        ident = _same_base(a, b)
        return None if ident is None else (a[0], ident, number)

    def _mixed(self, a: Value, b: Value) -> Register:
        tags = {a[0], b[0]}
        if tags == {MEMORY, MAYBE_MEMORY} and a[1] == b[1] and a[2] == b[2]:
            return (max(tags), a[1], a[2])
        return None

    def _copies(self, a: int, b: int) -> int:
        """A new ident for values that are copies of each other on both sides."""
        if a == b and a < 0:
            return a
        if a <= 0 or b <= 0:
            return 0
        return self.pairs.setdefault((a, b), _FRESH_PAIR + len(self.pairs))


_FRESH_PAIR = 1 << 60  # above any ident in use, until `canonical` renumbers


def _same_base(a: Value, b: Value) -> int | str | Region | None:
    if a[1] == b[1]:
        return a[1]
    x, y = a[1], b[1]
    if a[0] != MEMORY or not isinstance(x, Region) or not isinstance(y, Region):
        return None
    if RegionKind.RECORD in (x.kind, y.kind):
        return None
    orphan = x._replace(origin=None)
    return orphan if orphan == y._replace(origin=None) else None


def canonical(state: State) -> State:
    """Number groups of copies in order of appearance, from 1, so that equal states compare equal."""
    counts: dict[int, int] = {}
    for value in _scalars(state):
        counts[value] = counts.get(value, 0) + 1
    if not counts:
        return state
    names: dict[int, int] = {}
    for ident, count in counts.items():
        names[ident] = 0 if count == 1 else len(names) + 1
    if all(ident == name for ident, name in names.items()):
        return state

    def rename(value: Value) -> Register:
        ident = copies_of(value)
        if ident > 0 and names[ident] != ident:
            return (SCALAR, names[ident], value[2])
        return value

    state.rewrite(rename)
    return state


def _scalars(state: State) -> Iterator[int]:
    """Positive idents of all scalars, in a fixed order of places."""
    for value in state.regs:
        if value is not None and (ident := copies_of(value)) > 0:
            yield ident
    for frame in state.frames:
        held = [slot[1] for _, slot in sorted(frame.slots.items())]
        for value in (*frame.saved, *frame.callback, *held):
            if value is not None and (ident := copies_of(value)) > 0:
                yield ident


def same(a: State, b: State) -> bool:
    """True when two joined states say the same."""
    return a.regs == b.regs and a.frames == b.frames
