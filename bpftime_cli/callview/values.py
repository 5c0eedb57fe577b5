"""Arguments of system calls as text, a function for each kind (`runtime/syscalls/kinds.py`)."""

from __future__ import annotations

import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass

from bpftime_cli.callview.call import Call
from bpftime_cli.callview.structs import STRUCTS
from runtime.events import Value
from runtime.syscalls.flags import sets

AT_FDCWD = -100
ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
CUT = b"..."
SIGNAL_BITS = 64


@dataclass(frozen=True, slots=True)
class Looks:
    """How arguments look: `most` bytes of a text; `path_of` names a descriptor of a process, "" for none."""

    most: int = 32
    path_of: Callable[[int, int], str] = lambda _pid, _fd: ""


@dataclass(slots=True)  # not frozen: one is made for each of millions
class Field:
    """One argument to show: its number, what its kind says behind the colon, what was copied."""

    call: Call
    index: int
    detail: str
    copy: Value
    looks: Looks

    @property
    def word(self) -> int:
        """Return the argument's 64 bits."""
        return self.call.arguments[self.index]

    @property
    def low(self) -> int:
        """Return its low 32 bits as a signed number."""
        return ((self.word & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def text_of_argument(call: Call, index: int, kind: str, looks: Looks) -> str:
    """Return one argument as text."""
    word, _, detail = kind.partition(":")
    form = KINDS.get(word, _hex)
    return form(Field(call, index, detail, call.copies.get(index), looks))


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


def pointer(word: int) -> str:
    """Return an address."""
    return f"{word:#x}" if word else "NULL"


def descriptor(pid: int, number: int, looks: Looks) -> str:
    """Return a descriptor, with what it is where that is wanted and known."""
    path = looks.path_of(pid, number) if number >= 0 else ""
    return f"{number}<{path}>" if path else str(number)


def _hex(f: Field) -> str:
    return f"{f.word:#x}" if f.word else "0"


def _int(f: Field) -> str:
    return str(f.low)


def _uint(f: Field) -> str:
    return str(f.word)


def _offset(f: Field) -> str:
    return str((f.word ^ 1 << 63) - (1 << 63))


def _pointer(f: Field) -> str:
    return pointer(f.word)


def _mode(f: Field) -> str:
    return f"{f.word & 0o177777:#o}".replace("0o", "0") if f.word & 0o177777 else "000"


def _descriptor(f: Field) -> str:
    return descriptor(f.call.pid, f.low, f.looks)


def _directory(f: Field) -> str:
    if f.low != AT_FDCWD:
        return _descriptor(f)
    path = f.looks.path_of(f.call.pid, AT_FDCWD)
    return f"AT_FDCWD<{path}>" if path else "AT_FDCWD"


def _path(f: Field) -> str:
    text = f.copy if isinstance(f.copy, bytes) else b""
    if not f.word:
        return "NULL"
    is_cut = text.endswith(CUT)
    return quoted(text.removesuffix(CUT) if is_cut else text, is_cut=is_cut)


def _flags(f: Field) -> str:
    known = sets().get(f.detail)
    value = f.word & 0xFFFFFFFF if not f.word >> 32 or f.low < 0 else f.word
    return known.text(value) if known else _hex(f)


def _futex(f: Field) -> str:
    known = sets()["futex"]
    name = known.text(f.word & 0x7F)
    rest = known.text(f.word & ~0xFF & 0xFFFFFFFF) if f.word & ~0xFF & 0xFFFFFFFF else ""
    return "|".join(filter(None, (name + ("_PRIVATE" if f.word & 0x80 else ""), rest)))


def _clone(f: Field) -> str:
    number = f.word & 0xFF
    names = sets()["clone"].text(f.word & ~0xFF)
    parts = [names] if f.word & ~0xFF else []
    return "|".join([*parts, *([signal_name(number)] if number else [])]) or "0"


def signal_name(number: int) -> str:
    """Return a signal's name; real-time ones count from the kernel's first (32), as strace has them."""
    try:
        return signal.Signals(number).name if number < 32 else f"SIGRT_{number - 32}"
    except ValueError:
        return str(number)


def _signal(f: Field) -> str:
    return signal_name(f.low) if f.low > 0 else str(f.low)


def _in(f: Field) -> str:
    total = f.call.arguments[int(f.detail)]
    data = f.copy if isinstance(f.copy, bytes) else b""
    if not f.word or (not data and total):
        return pointer(f.word)
    return quoted(data[: f.looks.most], is_cut=total > min(len(data), f.looks.most))


def _out(f: Field) -> str:
    data = f.copy if isinstance(f.copy, bytes) else b""
    if not f.word or f.call.result < 0 or (not data and f.call.result > 0):
        return pointer(f.word)
    return quoted(data[: f.looks.most], is_cut=f.call.result > min(len(data), f.looks.most))


def _cwd(f: Field) -> str:
    data = f.copy if isinstance(f.copy, bytes) else b""
    return quoted(data.partition(b"\0")[0]) if data and f.call.result > 0 else pointer(f.word)


def _out_hex(f: Field) -> str:
    data = f.copy if isinstance(f.copy, bytes) else b""
    if not data or f.call.result < 0:
        return pointer(f.word)
    shown = "".join(f"\\x{byte:02x}" for byte in data[: f.looks.most])
    return f'"{shown}"' + ("..." if f.call.result > f.looks.most else "")


def _words(f: Field) -> str:
    if not f.word or not isinstance(f.copy, tuple):
        return pointer(f.word)
    words = [word for word in f.copy if isinstance(word, bytes)]
    end = next((number for number, word in enumerate(words) if not word), len(words))
    shown = ", ".join(quoted(word) for word in words[:end])
    return f"[{shown}{', ...' if end == len(words) else ''}]"


def _signal_set(f: Field) -> str:
    data = f.copy if isinstance(f.copy, bytes) else b""
    if not f.word or len(data) < 8 or (f.detail == "after" and f.call.result < 0):
        return pointer(f.word)
    return signal_set(struct.unpack_from("<Q", data)[0])


def signal_set(bits: int) -> str:
    """Return a set of signals, or what it lacks where that is shorter."""
    numbers = [n for n in range(1, SIGNAL_BITS + 1) if bits >> (n - 1) & 1]
    if len(numbers) <= SIGNAL_BITS // 2:
        return f"[{_signals(numbers)}]"
    return f"~[{_signals([n for n in range(1, SIGNAL_BITS + 1) if n not in set(numbers)])}]"


def _signals(numbers: list[int]) -> str:
    return " ".join(signal_name(n).removeprefix("SIG") for n in numbers)


def _struct(name: str, *, after: bool) -> Callable[[Field], str]:
    form, size = STRUCTS[name]

    def text(f: Field) -> str:
        data = f.copy if isinstance(f.copy, bytes) else b""
        if not f.word or len(data) < size or (after and f.call.result < 0):
            return pointer(f.word)
        return form(data, f.looks.most)

    return text


def _bytes(f: Field) -> str:
    return pointer(f.word)


def _socket_address(f: Field) -> str:
    data = f.copy if isinstance(f.copy, bytes) else b""
    if not f.word or len(data) < 2 or (f.detail == "after" and f.call.result < 0):
        return pointer(f.word)
    return STRUCTS["sockaddr"][0](data, f.looks.most)


def _status(f: Field) -> str:
    has_one = f.call.result > 0
    return _struct("status", after=True)(f) if has_one else pointer(f.word)


def _protocol(f: Field) -> str:
    family = sets()["socket_family"].text(f.call.arguments[0] & 0xFFFFFFFF)
    return sets()["ip_protocol"].text(f.word & 0xFFFFFFFF) if family in ("AF_INET", "AF_INET6") else _int(f)


def _fcntl_argument(f: Field) -> str:
    command = sets()["fcntl"].text(f.call.arguments[1])
    if command in ("F_GETFD", "F_GETFL", "F_GETOWN", "F_GETSIG", "F_GETPIPE_SZ", "F_GET_SEALS", "F_GETLEASE"):
        return ""
    if command == "F_SETFD":
        return "FD_CLOEXEC" if f.word & 1 else "0"
    if command == "F_SETFL":
        return sets()["open"].text(f.word)
    return _int(f) if command.startswith("F_DUPFD") else _hex(f)


def _option(f: Field) -> str:
    is_socket = sets()["socket_level"].text(f.call.arguments[1]) == "SOL_SOCKET"
    return sets()["socket_option"].text(f.word) if is_socket else _int(f)


KINDS: dict[str, Callable[[Field], str]] = {
    "hex": _hex, "hexoff": _hex, "int": _int, "uint": _uint, "off": _offset, "ptr": _pointer, "mode": _mode,
    "fd": _descriptor, "dirfd": _directory, "path": _path, "flags": _flags, "enum": _flags, "sig": _signal,
    "in": _in, "out": _out, "outhex": _out_hex, "ocwd": _cwd, "argv": _words, "sigset": _signal_set,
    "osigset": _signal_set, "bytes": _bytes, "sockaddr": _socket_address, "osockaddr": _socket_address,
    "ostatus": _status, "protocol": _protocol, "clone": _clone, "futexop": _futex,
    "fcntlarg": _fcntl_argument, "option": _option,
    **{kind: _struct(kind, after=False) for kind in ("timespec", "sigaction", "rlimit", "epoll")},
    **{
        f"o{kind}": _struct(kind, after=True)
        for kind in ("stat", "timespec", "sigaction", "rlimit", "uname", "epoll")
    },
    **dict.fromkeys(("pair", "pair4"), _struct("pair", after=True)),
    "pollfds": _struct("pollfds", after=True),
}  # fmt: skip
