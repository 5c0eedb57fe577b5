"""Vectors of buffers (readv(2)) and messages with their control data (sendmsg(2)) as text."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from bpftime_cli.callview.field import Field, Looks, pointer, quoted_hex, shown
from bpftime_cli.callview.sockets import address
from runtime.syscalls.flags import sets

ELEMENT = struct.Struct("<QQ")  # struct iovec: address, length
# struct msghdr: name, its length, vector, its length, control, its length, flags
HEADER = struct.Struct("<QI4xQQQQi")
CONTROL = struct.Struct("<Qii")  # struct cmsghdr: length with itself, level, type
LAST = 0x7FFFFFFF  # bytes: as many as there are


def given(f: Field) -> str:
    """Return the buffers that a call reads."""
    return _vector(f, LAST)


def filled(f: Field) -> str:
    """Return the buffers that a call has written to, as far as it has."""
    return _vector(f, f.call.result) if f.call.result >= 0 else pointer(f.word)


def _vector(f: Field, total: int) -> str:
    count = f.other(int(f.detail))
    if not f.word or not isinstance(f.copy, tuple):
        return pointer(f.word)
    vector, *parts = map(f.read, f.copy)
    return _buffers(vector, parts, (count, total), f.looks) or pointer(f.word)


def _buffers(vector: bytes, parts: Sequence[bytes], most: tuple[int, int], looks: Looks) -> str:
    """Return the buffers of a vector, "" where it could not be read. `most`: elements, and bytes of all."""
    count, left = most
    rows = []
    whole = vector[: len(vector) // ELEMENT.size * ELEMENT.size]
    for (at, length), part in zip(ELEMENT.iter_unpack(whole), parts, strict=False):
        size = min(length, left)
        left -= size
        is_known = bool(part) or (at and not size)
        rows.append(
            f"{{iov_base={shown(part[:size], size, looks) if is_known else pointer(at)}, iov_len={length}}}"
        )
    if count and not rows:
        return ""
    return f"[{', '.join(rows[:count])}{', ...' if count > len(rows) else ''}]"


def sent(f: Field) -> str:
    """Return a message that is sent."""
    return _message(f, LAST)


def received(f: Field) -> str:
    """Return a message that has come."""
    return _message(f, f.call.result) if f.call.result >= 0 else pointer(f.word)


def _message(f: Field, total: int) -> str:
    if not f.word or not isinstance(f.copy, tuple):
        return pointer(f.word)
    header, name, control, vector, *parts = map(f.read, f.copy)
    if len(header) < HEADER.size:
        return pointer(f.word)
    name_at, name_length, at, count, _, control_length, flags = HEADER.unpack_from(header)
    (before,) = struct.unpack_from("<I", f.before, 8) if len(f.before) == 12 else (name_length,)
    changed = f" => {name_length}" if before != name_length else ""
    rows = [
        f"msg_name={address(name, f.looks.most) if len(name) > 1 else pointer(name_at)}",
        f"msg_namelen={before}{changed}",
        f"msg_iov={_buffers(vector, parts, (count, total), f.looks) or pointer(at)}",
        f"msg_iovlen={count}",
        *([f"msg_control=[{', '.join(_controls(control))}]"] if control_length else []),
        f"msg_controllen={control_length}",
        f"msg_flags={sets()['message'].text(flags)}",
    ]
    return f"{{{', '.join(rows)}}}"


def _controls(data: bytes) -> list[str]:
    found, at = [], 0
    while at + CONTROL.size <= len(data):
        length, level, kind = CONTROL.unpack_from(data, at)
        if length < CONTROL.size:
            break
        found.append(_control(length, level, kind, data[at + CONTROL.size : at + length]))
        at += (length + 7) // 8 * 8
    return found


def _control(length: int, level: int, kind: int, data: bytes) -> str:
    where = sets()["socket_level"].text(level)
    name = sets()["control"].text(kind) if where == "SOL_SOCKET" else f"{kind:#x}"
    if name == "SCM_RIGHTS":
        shown_data = (
            f"[{', '.join(str(fd) for (fd,) in struct.iter_unpack('<i', data[: len(data) // 4 * 4]))}]"
        )
    elif name == "SCM_CREDENTIALS" and len(data) >= 12:
        shown_data = "{{pid={}, uid={}, gid={}}}".format(*struct.unpack_from("<iII", data))
    else:
        shown_data = quoted_hex(data)
    return f"{{cmsg_len={length}, cmsg_level={where}, cmsg_type={name}, cmsg_data={shown_data}}}"
