"""Sockets as text: addresses and options."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from bpftime_cli.callview.field import Field, pointer, quoted_hex
from runtime.syscalls.flags import sets

FAMILY_UNIX, FAMILY_NETLINK = 1, 16
LEVELS = {
    "SOL_SOCKET": "socket_option", "SOL_TCP": "option_tcp", "SOL_IP": "option_ip", "SOL_IPV6": "option_ipv6",
}  # fmt: skip
TIMEOUTS = frozenset(("SO_RCVTIMEO", "SO_SNDTIMEO"))
FAMILY_BYTES = 2


def address(data: bytes, most: int) -> str:
    """Return a struct sockaddr."""
    (family,) = struct.unpack_from("<H", data)
    name = sets()["socket_family"].text(family)
    form = FAMILIES.get(family) if len(data) > FAMILY_BYTES else None
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


FAMILIES: dict[int, Callable[[bytes, int], str]] = {
    FAMILY_UNIX: _unix,
    socket.AF_INET: _inet,
    socket.AF_INET6: _inet6,
    FAMILY_NETLINK: _netlink,
}


def level_name(number: int) -> str:
    """Return the name of a level of options."""
    return sets()["socket_level"].text(number)


def option_name(f: Field) -> str:
    """Return an option's name."""
    known = sets().get(LEVELS.get(level_name(f.other(1)), ""))
    return known.text(f.word) if known else str(f.low)


def option_given(f: Field) -> str:
    """Return the value that an option is set to."""
    return _option(f) if f.word and f.data else pointer(f.word)


def option_got(f: Field) -> str:
    """Return the value that an option has."""
    return _option(f) if f.word and f.data and f.call.result >= 0 else pointer(f.word)


def _option(f: Field) -> str:
    name = option_name(Field(f.call, 2, "", f.looks))
    if name == "SO_LINGER" and len(f.data) == 8:
        return "{{l_onoff={}, l_linger={}}}".format(*struct.unpack("<ii", f.data))
    if name in TIMEOUTS and len(f.data) == 16:
        return "{{tv_sec={}, tv_usec={}}}".format(*struct.unpack("<qq", f.data))
    if len(f.data) == 4:
        return f"[{struct.unpack('<i', f.data)[0]}]"
    return quoted_hex(f.data[: f.looks.most], is_cut=len(f.data) > f.looks.most)
