"""The session's clock: parameters in the region's header that turn the time-stamp counter into nanoseconds.

A read of the counter costs half of a call to the kernel's vDSO. It is used only where the kernel itself
trusts it as its clock source. The tracer corrects the rate about once a second; the time that programs see
never steps, so a difference of two readings is never negative.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from runtime.shm.region import Region

SHIFT = 24
LEAST = 0.005  # seconds between the two samples of a first calibration
CORRECT_EVERY = 1.0  # seconds
_CODE = bytes.fromhex("0f3148c1e2204809d0c3")  # rdtsc; shl rdx, 32; or rax, rdx; ret
_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")


@cache
def is_trusted() -> bool:
    """Return whether the kernel uses the counter itself and it runs at one rate, also in idle states."""
    try:
        if _SOURCE.read_text().strip() != "tsc":
            return False
        with Path("/proc/cpuinfo").open() as file:
            flags = next((line.split() for line in file if line.startswith("flags")), [])
    except OSError:
        return False
    return "constant_tsc" in flags and "nonstop_tsc" in flags


@cache
def _counter() -> Callable[[], int]:
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    page[: len(_CODE)] = _CODE
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC)
    call = ctypes.CFUNCTYPE(ctypes.c_uint64)(address)

    def read() -> int:
        value: int = call()
        return value if len(page) else 0  # the page lives as long as this function

    return read


def _sample() -> tuple[int, int]:
    """Return (counter, CLOCK_MONOTONIC ns) read at one moment: the closest of some tries."""
    best = (1 << 62, 0, 0)
    read = _counter()
    for _ in range(5):
        before = read()
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        after = read()
        best = min(best, (after - before, (before + after) // 2, now))
    return best[1], best[2]


class SessionClock:
    """Keeps the clock fields of one region right."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self._first = _sample()
        self._due = 0.0

    def start(self) -> None:
        """Calibrate and publish; waits some milliseconds if the session has only just begun."""
        rest = LEAST - (time.clock_gettime_ns(time.CLOCK_MONOTONIC) - self._first[1]) / 1e9
        if rest > 0:
            time.sleep(rest)
        counter, now = _sample()
        self._publish(counter, now, self._rate(counter, now))
        self._due = time.monotonic() + CORRECT_EVERY / 4

    def _rate(self, counter: int, now: int) -> float:
        """Return ns a tick, measured since the session began."""
        return (now - self._first[1]) / max(counter - self._first[0], 1)

    def correct(self) -> None:
        """Bring the rate to where the error is gone after the next period; call it now and then."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + CORRECT_EVERY
        counter, now = _sample()
        shown = self._shown(counter)
        rate = self._rate(counter, now)
        ahead = (shown - now) / (CORRECT_EVERY * 1e9)
        self._publish(counter, shown, rate * (1 - max(-0.01, min(0.01, ahead))))

    def _shown(self, counter: int) -> int:
        """Return the monotonic time that programs read at a counter value."""
        get = self.region.get
        return get("clock_mono0") + ((counter - get("clock_tsc0")) * get("clock_mult") >> SHIFT)

    def _publish(self, counter: int, mono: int, rate: float) -> None:
        put = self.region.put
        real = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - real
        tai = time.clock_gettime_ns(time.CLOCK_TAI) - real
        sequence = self.region.get("clock_seq")
        put("clock_seq", sequence | 1)
        for name, value in (
            ("clock_tsc0", counter),
            ("clock_shift", SHIFT),
            ("clock_mult", round(rate * (1 << SHIFT))),
            ("clock_mono0", mono),
            ("clock_boot0", mono + boot),
            ("clock_tai0", mono + tai),
        ):
            put(name, value)
        put("clock_seq", ((sequence | 1) + 1) & 0xFFFFFFFF)
