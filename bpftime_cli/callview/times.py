"""Times, timers and what was used, as text (layouts of x86-64 and aarch64: two 64-bit words a time)."""

from __future__ import annotations

import os
import struct
import time

TIME = 16  # bytes of a timespec
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2  # linux/stat.h


def _pair(data: bytes, at: int, unit: str) -> str:
    seconds, rest = struct.unpack_from("<qq", data, at)
    return f"{{tv_sec={seconds}, tv_{unit}={rest}}}"


def timespec(data: bytes, _: int) -> str:
    """Return a struct timespec."""
    return _pair(data, 0, "nsec")


def timeval(data: bytes, _: int) -> str:
    """Return a struct timeval."""
    return _pair(data, 0, "usec")


def itimerval(data: bytes, _: int) -> str:
    """Return a struct itimerval (setitimer(2))."""
    return f"{{it_interval={_pair(data, 0, 'usec')}, it_value={_pair(data, 16, 'usec')}}}"


def itimerspec(data: bytes, _: int) -> str:
    """Return a struct itimerspec (timerfd_settime(2))."""
    return f"{{it_interval={_pair(data, 0, 'nsec')}, it_value={_pair(data, 16, 'nsec')}}}"


def file_times(data: bytes, _: int) -> str:
    """Return the two times of utimensat(2), each with its date."""
    return f"[{_file_time(data, 0)}, {_file_time(data, 16)}]"


def _file_time(data: bytes, at: int) -> str:
    seconds, rest = struct.unpack_from("<qq", data, at)
    if rest in (UTIME_NOW, UTIME_OMIT):
        return "UTIME_NOW" if rest == UTIME_NOW else "UTIME_OMIT"
    part = f".{rest:09d}" if rest else ""
    try:
        date = time.strftime(f"%Y-%m-%dT%H:%M:%S{part}%z", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return _pair(data, at, "nsec")
    return f"{_pair(data, at, 'nsec')} /* {date} */"


def usage(data: bytes, _: int) -> str:
    """Return the beginning of a struct rusage (getrusage(2))."""
    return f"{{ru_utime={_pair(data, 0, 'usec')}, ru_stime={_pair(data, 16, 'usec')}, ...}}"


def ticks(data: bytes, _: int) -> str:
    """Return a struct tms (times(2)), with what its ticks are in seconds."""
    names = ("tms_utime", "tms_stime", "tms_cutime", "tms_cstime")
    values = struct.unpack_from("<4q", data)
    return f"{{{', '.join(f'{n}={in_seconds(v)}' for n, v in zip(names, values, strict=True))}}}"


def in_seconds(count: int) -> str:
    """Return a number of the clock's ticks, and what they are in seconds."""
    return f"{count} /* {count / os.sysconf('SC_CLK_TCK'):.2f} s */" if count else "0"
