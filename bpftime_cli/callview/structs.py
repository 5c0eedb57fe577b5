"""Structures of system calls as text, in strace's short form (layouts of x86-64, the kernel's headers)."""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Callable

from runtime.syscalls.flags import sets

Form = Callable[[bytes, int], str]
INFINITY = (1 << 64) - 1
KINDS = {
    stat.S_IFREG: "S_IFREG", stat.S_IFDIR: "S_IFDIR", stat.S_IFCHR: "S_IFCHR", stat.S_IFBLK: "S_IFBLK",
    stat.S_IFIFO: "S_IFIFO", stat.S_IFLNK: "S_IFLNK", stat.S_IFSOCK: "S_IFSOCK",
}  # fmt: skip
HANDLERS = {0: "SIG_DFL", 1: "SIG_IGN"}
FAMILY_UNIX, FAMILY_NETLINK = 1, 16


def _stat(data: bytes, _: int) -> str:
    (mode,) = struct.unpack_from("<I", data, 24)
    device, size = struct.unpack_from("<Qq", data, 40)
    kind = KINDS.get(stat.S_IFMT(mode), f"{stat.S_IFMT(mode):#o}".replace("0o", "0"))
    shown = f"st_mode={kind}|{stat.S_IMODE(mode):#06o}".replace("0o", "0")
    shown = shown.replace("|00", "|0")
    if kind in ("S_IFCHR", "S_IFBLK"):
        return f"{{{shown}, st_rdev=makedev({os.major(device):#x}, {os.minor(device):#x}), ...}}"
    return f"{{{shown}, st_size={size}, ...}}"


def _timespec(data: bytes, _: int) -> str:
    seconds, ns = struct.unpack_from("<qq", data)
    return f"{{tv_sec={seconds}, tv_nsec={ns}}}"


def _status(data: bytes, _: int) -> str:
    from bpftime_cli.callview.values import signal_name  # they need one another

    (value,) = struct.unpack_from("<i", data)
    if os.WIFEXITED(value):
        return f"[{{WIFEXITED(s) && WEXITSTATUS(s) == {os.WEXITSTATUS(value)}}}]"
    if os.WIFSIGNALED(value):
        core = " && WCOREDUMP(s)" if value & 0x80 else ""
        return f"[{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(os.WTERMSIG(value))}{core}}}]"
    if os.WIFSTOPPED(value):
        return f"[{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal_name(os.WSTOPSIG(value))}}}]"
    return "[{WIFCONTINUED(s)}]" if value == 0xFFFF else f"[{value:#x}]"


def _sigaction(data: bytes, _: int) -> str:
    from bpftime_cli.callview.values import signal_set  # they need one another

    handler, flags, restorer, mask = struct.unpack_from("<QQQQ", data)
    names = sets()["sigaction"].text(flags & ~0x04000000)
    has_restorer = flags & 0x04000000
    if has_restorer:
        names = "SA_RESTORER" if names == "0" else f"SA_RESTORER|{names}"
    shown = HANDLERS.get(handler, f"{handler:#x}")
    tail = f", sa_restorer={restorer:#x}" if has_restorer else ""
    return f"{{sa_handler={shown}, sa_mask={signal_set(mask)}, sa_flags={names}{tail}}}"


def _rlimit(data: bytes, _: int) -> str:
    now, most = (
        "RLIM64_INFINITY" if value == INFINITY else _size(value) for value in struct.unpack_from("<QQ", data)
    )
    return f"{{rlim_cur={now}, rlim_max={most}}}"


def _size(value: int) -> str:
    return f"{value // 1024}*1024" if value and value % 1024 == 0 else str(value)


def _uname(data: bytes, _: int) -> str:
    system, node = (data[at : at + 65].partition(b"\0")[0].decode("utf-8", "replace") for at in (0, 65))
    return f'{{sysname="{system}", nodename="{node}", ...}}'


def _epoll(data: bytes, _: int) -> str:
    rows = [struct.unpack_from("<IQ", data, at) for at in range(0, len(data) - 11, 12)]
    shown = [f"{{events={sets()['epoll'].text(events)}, data={value:#x}}}" for events, value in rows]
    return shown[0] if len(data) == 12 else f"[{', '.join(shown)}]"


def _poll(data: bytes, _: int) -> str:
    rows = [struct.unpack_from("<ihh", data, at) for at in range(0, len(data) - 7, 8)]
    return f"[{', '.join(_polled(*row) for row in rows)}]"


def _polled(number: int, events: int, revents: int) -> str:
    names = sets()["poll"]
    came = f", revents={names.text(revents & 0xFFFF)}" if revents else ""
    return f"{{fd={number}, events={names.text(events & 0xFFFF)}{came}}}"


def _pair(data: bytes, _: int) -> str:
    one, two = struct.unpack_from("<ii", data)
    return f"[{one}, {two}]"


def _socket_address(data: bytes, most: int) -> str:
    (family,) = struct.unpack_from("<H", data)
    name = sets()["socket_family"].text(family)
    form = FAMILIES.get(family)
    return f"{{sa_family={name}, {form(data, most)}}}" if form else f"{{sa_family={name}}}"


def _inet(data: bytes, _: int) -> str:
    (port,) = struct.unpack_from(">H", data.ljust(16, b"\0"), 2)
    address = socket.inet_ntop(socket.AF_INET, data.ljust(16, b"\0")[4:8])
    return f'sin_port=htons({port}), sin_addr=inet_addr("{address}")'


def _inet6(data: bytes, _: int) -> str:
    padded = data.ljust(28, b"\0")
    port, flow = struct.unpack_from(">HI", padded, 2)
    address = socket.inet_ntop(socket.AF_INET6, padded[8:24])
    (scope,) = struct.unpack_from("<I", padded, 24)
    return (
        f"sin6_port=htons({port}), sin6_flowinfo=htonl({flow}),"
        f' inet_pton(AF_INET6, "{address}", &sin6_addr), sin6_scope_id={scope}'
    )


def _unix(data: bytes, _: int) -> str:
    path = data[2:]
    if path[:1] == b"\0" and len(path) > 1:
        return f'sun_path=@"{path[1:].decode("utf-8", "backslashreplace")}"'
    return f'sun_path="{path.partition(bytes(1))[0].decode("utf-8", "backslashreplace")}"'


def _netlink(data: bytes, _: int) -> str:
    pid, groups = struct.unpack_from("<II", data.ljust(12, b"\0"), 4)
    return f"nl_pid={pid}, nl_groups={groups:#010x}"


FAMILIES: dict[int, Form] = {
    FAMILY_UNIX: _unix,
    socket.AF_INET: _inet,
    socket.AF_INET6: _inet6,
    FAMILY_NETLINK: _netlink,
}
STRUCTS: dict[str, tuple[Form, int]] = {
    "stat": (_stat, 144),
    "timespec": (_timespec, 16),
    "status": (_status, 4),
    "sigaction": (_sigaction, 32),
    "rlimit": (_rlimit, 16),
    "uname": (_uname, 130),
    "epoll": (_epoll, 12),
    "pollfds": (_poll, 8),
    "pair": (_pair, 8),
    "sockaddr": (_socket_address, 2),
}  # name → text, bytes that it takes at least
