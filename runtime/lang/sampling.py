"""Attach points of programs that run now and then: what is counted, and after how much of it they run.

Source of the numbers: linux/perf_event.h, linux/hw_breakpoint.h.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import Unserved
from runtime.lang.source import At, Source
from runtime.lang.suggest import near

HARDWARE, SOFTWARE, BREAKPOINT = 0, 1, 5  # PERF_TYPE_*
LENGTHS = (1, 2, 4, 8)
MODES = {"w": 2, "rw": 3, "wr": 3, "x": 4}  # HW_BREAKPOINT_*: this processor has no others
MILLION = 10**6
PROVIDERS = ("profile", "software", "hardware", "watchpoint")


@dataclass(frozen=True, slots=True)
class Counted:
    """What is counted, as perf_event_open names it; the program runs after `period` of them.

    A watched place in memory has an `address`, and `length` bytes.
    """

    type: int
    config: int
    period: int
    address: int = 0
    length: int = 0


SOFTWARE_EVENTS = {
    "alignment-faults": Counted(SOFTWARE, 7, 1),
    "bpf-output": Counted(SOFTWARE, 10, 1),
    "context-switches": Counted(SOFTWARE, 3, 1000),
    "cs": Counted(SOFTWARE, 3, 1000),
    "cpu-clock": Counted(SOFTWARE, 0, MILLION),
    "cpu": Counted(SOFTWARE, 0, MILLION),
    "cpu-migrations": Counted(SOFTWARE, 4, 1),
    "dummy": Counted(SOFTWARE, 9, 1),
    "emulation-faults": Counted(SOFTWARE, 8, 1),
    "major-faults": Counted(SOFTWARE, 6, 1),
    "minor-faults": Counted(SOFTWARE, 5, 100),
    "page-faults": Counted(SOFTWARE, 2, 100),
    "faults": Counted(SOFTWARE, 2, 100),
    "task-clock": Counted(SOFTWARE, 1, MILLION),  # in nanoseconds: a smaller one is nothing but its own cost
}
HARDWARE_EVENTS = {
    "backend-stalls": Counted(HARDWARE, 8, MILLION),
    "branch-instructions": Counted(HARDWARE, 4, 10**5),
    "branches": Counted(HARDWARE, 4, 10**5),
    "branch-misses": Counted(HARDWARE, 5, 10**5),
    "bus-cycles": Counted(HARDWARE, 6, 10**5),
    "cache-misses": Counted(HARDWARE, 3, MILLION),
    "cache-references": Counted(HARDWARE, 2, MILLION),
    "cpu-cycles": Counted(HARDWARE, 0, MILLION),
    "cycles": Counted(HARDWARE, 0, MILLION),
    "frontend-stalls": Counted(HARDWARE, 7, MILLION),
    "instructions": Counted(HARDWARE, 1, MILLION),
    "ref-cycles": Counted(HARDWARE, 9, MILLION),
}
SWITCHES = ("context-switches", "cs")
SELF_MADE = "software:{0} cannot be served in user space: the signal that tells of a switch ends the sleep"
EVENTS = {"software": SOFTWARE_EVENTS, "hardware": HARDWARE_EVENTS}


def counted(source: Source, at: At, provider: str, parts: tuple[str, ...]) -> Counted:
    """Return what an attach point of `software`, `hardware` or `watchpoint` counts.

    Raises:
        Problem: there is no such event, or a number is wrong.
    """
    return _watched(source, at, parts) if provider == "watchpoint" else _event(source, at, provider, parts)


def _event(source: Source, at: At, provider: str, parts: tuple[str, ...]) -> Counted:
    known = EVENTS[provider]
    name = parts[0]
    if name not in known:
        raise source.problem(at, f"{name} is not a {provider} probe", near(name, known))
    if name in SWITCHES:
        raise Unserved(SELF_MADE.format(name), span=source.span(at), hint="use bpftrace as root")
    event = known[name]
    if len(parts) < 2 or not parts[1]:
        return event
    period = _number(parts[1])
    if period <= 0:
        raise source.problem(at, f"{provider} count should be a positive integer")
    return Counted(event.type, event.config, period)


def _watched(source: Source, at: At, parts: tuple[str, ...]) -> Counted:
    where, length, mode = parts
    address = _number(where)
    if address <= 0:
        raise source.problem(
            at, f"watchpoint needs an address, not '{where}'", "a number, for example watchpoint:0x601040:8:w"
        )
    if _number(length) not in LENGTHS:
        raise source.problem(at, "watchpoint length must be one of (1,2,4,8)")
    if not mode or set(mode) - set("rwx") or len(set(mode)) != len(mode):
        raise source.problem(at, "watchpoint mode must be combination of (r,w,x)")
    if mode not in MODES:
        raise source.problem(at, f"invalid watchpoint mode: {mode}", "supported modes: rw,w,x")
    if MODES[mode] == MODES["x"] and _number(length) != 8:
        raise source.problem(at, "watchpoint length must be 8 for mode x")
    return Counted(BREAKPOINT, MODES[mode], 1, address, _number(length))


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return -1
