"""Arguments of system calls as text, a function for each kind (`runtime/syscalls/kinds.py`)."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from functools import cache

from bpftime_cli.callview import messages, polling, signals, sockets, structs, times
from bpftime_cli.callview.call import Call
from bpftime_cli.callview.field import (
    AT_FDCWD,
    BAD_ADDRESS,
    Field,
    Form,
    Looks,
    descriptor,
    pointer,
    quoted,
    quoted_hex,
    shown,
)
from bpftime_cli.callview.oddities import (
    clone_flags,
    clone_structure,
    fcntl_argument,
    futex_command,
    futex_time,
    futex_value,
    ioctl_argument,
    prctl_argument,
)
from runtime.syscalls.flags import names_of, sets
from runtime.syscalls.kinds import kinds_of

CUT = b"..."


def texts_of(call: Call, looks: Looks) -> list[str]:
    """Return all arguments as texts."""
    return [
        form(Field(call, index, detail, looks)) for index, (form, detail) in enumerate(_forms(call.number))
    ]


@cache
def _forms(number: int) -> tuple[tuple[Form, str], ...]:
    return tuple(form_of(kind) for kind in kinds_of(number))


def form_of(kind: str) -> tuple[Form, str]:
    """Return what makes the text of a kind of argument, and what the kind says behind its colon."""
    word, _, detail = kind.partition(":")
    return KINDS.get(word, _hex), detail


def _hex(f: Field) -> str:
    return f"{f.word:#x}" if f.word else "0"


def _int(f: Field) -> str:
    return str(f.low)


def _uint(f: Field) -> str:
    return str(f.word)


def _unsigned(f: Field) -> str:
    return str(f.word & 0xFFFFFFFF)


def _offset(f: Field) -> str:
    return str((f.word ^ 1 << 63) - (1 << 63))


def _pointer(f: Field) -> str:
    return pointer(f.word)


def _unused(_: Field) -> str:
    return ""


def _device(f: Field) -> str:
    """Return the device of a file that is to be one; for others it does not count."""
    if f.other(int(f.detail)) & 0o170000 not in structs.DEVICES:
        return ""
    return f"makedev({os.major(f.word):#x}, {os.minor(f.word):#x})"


def _mode(f: Field) -> str:
    return structs.octal(f.word & 0o177777, 1) if f.word & 0o177777 else "000"


def _file_mode(f: Field) -> str:
    return structs.file_mode(f.word & 0o177777)


def _descriptor(f: Field) -> str:
    return descriptor(f.call.pid, f.low, f.looks)


def _directory(f: Field) -> str:
    if f.low != AT_FDCWD:
        return _descriptor(f)
    path = f.looks.path_of(f.call.pid, AT_FDCWD)
    return f"AT_FDCWD<{path}>" if path else "AT_FDCWD"


def _path(f: Field) -> str:
    if not f.word:
        return "NULL"
    is_cut = f.data.endswith(CUT)
    return quoted(f.data.removesuffix(CUT) if is_cut else f.data, is_cut=is_cut)


def _flags(f: Field) -> str:
    return names_of(f.detail, f.word & 0xFFFFFFFF if not f.word >> 32 or f.low < 0 else f.word)


def _signal(f: Field) -> str:
    return signals.signal_name(f.low) if f.low > 0 else str(f.low)


def _in(f: Field) -> str:
    total = f.call.arguments[int(f.detail)]
    if not f.word or (not f.data and total):
        return pointer(f.word)
    return shown(f.data, total, f.looks)


def _out(f: Field) -> str:
    if not f.word or f.call.result < 0 or (not f.data and f.call.result > 0):
        return pointer(f.word)
    return shown(f.data, f.call.result, f.looks)


def _cwd(f: Field) -> str:
    return quoted(f.data.partition(b"\0")[0]) if f.data and f.call.result > 0 else pointer(f.word)


def _out_hex(f: Field) -> str:
    if not f.data or f.call.result < 0:
        return pointer(f.word)
    return quoted_hex(f.data[: f.looks.most], is_cut=f.call.result > f.looks.most)


def _words(f: Field) -> str:
    if not f.word or not isinstance(f.copy, tuple):
        return pointer(f.word)
    words = [word for word in f.copy if isinstance(word, bytes)]
    end = next((number for number, word in enumerate(words) if not word), len(words))
    texts = ", ".join(_one_word(word, f.looks.most) for word in words[:end])
    return f"[{texts}{', ...' if end == len(words) else ''}]"


def _one_word(word: bytes, most: int) -> str:
    text = word.removesuffix(CUT) if len(word) > most + len(CUT) else word
    return quoted(text[:most], is_cut=len(text) > most)


def _counted(one: str, many: str) -> Form:
    """Return the form of an address that a number of things lie at."""

    def text(f: Field) -> str:
        if not f.word or not isinstance(f.copy, int) or f.call.result == BAD_ADDRESS:
            return pointer(f.word)
        return f"{pointer(f.word)} /* {f.copy} {one if f.copy == 1 else many} */"

    return text


def _struct(form: Callable[[bytes, int], str], size: int) -> Form:
    """Return the form of a structure that a call reads; `size`: bytes that it takes at least."""

    def text(f: Field) -> str:
        return form(f.before, f.looks.most) if f.word and len(f.before) >= size else pointer(f.word)

    return text


def _written(form: Callable[[bytes, int], str], size: int, *, least: int = 0) -> Form:
    """Return the form of one that a call writes, where its result is `least` or more."""

    def text(f: Field) -> str:
        is_there = f.word and len(f.data) >= size and f.call.result >= least
        return form(f.data, f.looks.most) if is_there else pointer(f.word)

    return text


def _numbers(f: Field) -> str:
    """Show the numbers that a call has given, as many as it returned."""
    if not f.word or f.call.result < 0 or len(f.data) < 4 * min(1, f.call.result):
        return pointer(f.word)
    found = [str(number) for (number,) in struct.iter_unpack("<I", f.data[: len(f.data) // 4 * 4])]
    return f"[{', '.join(found)}{', ...' if len(found) < f.call.result else ''}]"


def _rest(f: Field) -> str:
    """Show the time that was left when a sleep was interrupted."""
    is_there = f.word and len(f.data) == times.TIME and f.call.result < 0
    return times.timespec(f.data, 0) if is_there else pointer(f.word)


def _changed(code: str) -> Form:
    """Return the form of a number that a call reads and writes."""
    size = struct.calcsize(code)

    def text(f: Field) -> str:
        if not f.word or len(f.before) < size:
            return pointer(f.word)
        (old,) = struct.unpack_from(code, f.before)
        (new,) = struct.unpack_from(code, f.data) if f.call.result >= 0 and len(f.data) >= size else (old,)
        return f"[{old}]" if old == new else f"[{old} => {new}]" if size == 4 else f"[{old}] => [{new}]"

    return text


def _eight(data: bytes, _: int) -> str:
    return f"[{struct.unpack_from('<q', data)[0]}]"


def _protocol(f: Field) -> str:
    family = sets()["socket_family"].text(f.other(0))
    return sets()["ip_protocol"].text(f.word & 0xFFFFFFFF) if family in ("AF_INET", "AF_INET6") else _int(f)


KINDS: dict[str, Form] = {
    "hex": _hex, "hexoff": _hex, "int": _int, "uint": _uint, "uint4": _unsigned, "off": _offset,
    "ptr": _pointer, "unused": _unused, "device": _device, "mode": _mode, "filemode": _file_mode,
    "fd": _descriptor, "dirfd": _directory,
    "path": _path, "flags": _flags, "enum": _flags, "sig": _signal, "in": _in, "out": _out,
    "outhex": _out_hex, "ocwd": _cwd, "argv": _words, "environment": _counted("var", "vars"),
    "entries": _counted("entries", "entries"),
    "protocol": _protocol, "rest": _rest, "length": _changed("<i"), "offset": _changed("<q"),
    "ioffset": _struct(_eight, 8), "int4": _struct(structs.number, 4), "oint": _written(structs.number, 4),
    "pair": _written(structs.pair, 8), "pair4": _written(structs.pair, 8), "onumbers": _numbers,
    # signals and children
    "sigset": _struct(signals.set_text, 8), "osigset": _written(signals.set_text, 8),
    "sigaction": _struct(signals.action, 32), "osigaction": _written(signals.action, 32),
    "stack": _struct(signals.stack, 24), "ostack": _written(signals.stack, 24),
    "osiginfo": _written(signals.info, 48), "ostatus": _written(signals.status, 4, least=1),
    # files and the system
    "ostat": _written(structs.stat_text, 144), "ostatx": _written(structs.statx_text, 48),
    "ostatfs": _written(structs.statfs_text, 120), "openhow": _struct(structs.open_how, 24),
    "rlimit": _struct(structs.rlimit, 16), "orlimit": _written(structs.rlimit, 16),
    "ouname": _written(structs.uname, 130), "osysinfo": _written(structs.system, 112),
    "cpus": _struct(structs.processors, 1), "ocpus": _written(structs.processors, 1, least=1),
    # times
    "timespec": _struct(times.timespec, 16), "otimespec": _written(times.timespec, 16),
    "timeval": _struct(times.timeval, 16), "otimeval": _written(times.timeval, 16),
    "itimerval": _struct(times.itimerval, 32), "oitimerval": _written(times.itimerval, 32),
    "itimerspec": _struct(times.itimerspec, 32), "oitimerspec": _written(times.itimerspec, 32),
    "left": _struct(times.timespec, 16), "leftval": _struct(times.timeval, 16),
    "utimes": _struct(times.file_times, 32), "orusage": _written(times.usage, 32),
    "otms": _written(times.ticks, 32),
    # sockets and waiting for them
    "sockaddr": _struct(sockets.address, 2), "osockaddr": _written(sockets.address, 2),
    "option": sockets.option_name, "optval": sockets.option_given, "ooptval": sockets.option_got,
    "vector": messages.given, "ovector": messages.filled,
    "message": messages.sent, "omessage": messages.received,
    "epoll": _struct(polling.epoll_event, 12), "oepoll": polling.epoll_events, "pollfds": polling.polled,
    "fds": polling.selected,
    # what means another thing for each command
    "clone": clone_flags, "cloneargs": clone_structure, "futexop": futex_command, "futextime": futex_time,
    "futexvalue": futex_value,
    "fcntlarg": fcntl_argument, "ioctlarg": ioctl_argument, "prctlarg": prctl_argument,
}  # fmt: skip
