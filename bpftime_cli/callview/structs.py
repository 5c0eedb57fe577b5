"""Structures of files and the system as text, in strace's short form (layouts of x86-64, kernel headers)."""

from __future__ import annotations

import os
import stat
import struct

from runtime.syscalls.flags import sets

INFINITY = (1 << 64) - 1
KINDS = {
    stat.S_IFREG: "S_IFREG", stat.S_IFDIR: "S_IFDIR", stat.S_IFCHR: "S_IFCHR", stat.S_IFBLK: "S_IFBLK",
    stat.S_IFIFO: "S_IFIFO", stat.S_IFLNK: "S_IFLNK", stat.S_IFSOCK: "S_IFSOCK",
}  # fmt: skip
DEVICES = frozenset((stat.S_IFCHR, stat.S_IFBLK))
SPECIAL_BITS = {stat.S_ISUID: "S_ISUID", stat.S_ISGID: "S_ISGID", stat.S_ISVTX: "S_ISVTX"}


def octal(value: int, digits: int = 3) -> str:
    """Return a number in octal, with a 0 before `digits` digits at least."""
    return f"0{value:0{digits}o}"


def file_mode(mode: int) -> str:
    """Return the kind and the permissions of a file."""
    kind = KINDS.get(stat.S_IFMT(mode), octal(stat.S_IFMT(mode), 1) if stat.S_IFMT(mode) else "")
    special = [name for bit, name in SPECIAL_BITS.items() if mode & bit]
    return "|".join([*filter(None, [kind]), *special, octal(mode & 0o777)])


def _file(mode: int, device: tuple[int, int], size: int, names: str) -> str:
    shown = f"{names}_mode={file_mode(mode)}"
    if stat.S_IFMT(mode) in DEVICES and names == "st":
        return f"{shown}, st_rdev=makedev({device[0]:#x}, {device[1]:#x}), ..."
    return f"{shown}, {names}_size={size}, ..."


def stat_text(data: bytes, _: int) -> str:
    """Return a struct stat."""
    (mode,) = struct.unpack_from("<I", data, 24)
    device, size = struct.unpack_from("<Qq", data, 40)
    return f"{{{_file(mode, (os.major(device), os.minor(device)), size, 'st')}}}"


def statx_text(data: bytes, _: int) -> str:
    """Return the beginning of a struct statx (linux/stat.h)."""
    mask, _block, attributes = struct.unpack_from("<IIQ", data)
    (mode,) = struct.unpack_from("<H", data, 28)
    (size,) = struct.unpack_from("<Q", data, 40)
    known, flags = sets()["statx"].text(mask), sets()["stat_attribute"].text(attributes)
    return f"{{stx_mask={known}, stx_attributes={flags}, {_file(mode, (0, 0), size, 'stx')}}}"


def statfs_text(data: bytes, _: int) -> str:
    """Return a struct statfs (statfs(2))."""
    kind, *numbers = struct.unpack_from("<7q", data)
    first, second = struct.unpack_from("<2I", data, 56)
    longest, fragment, flags = struct.unpack_from("<3q", data, 64)
    names = ("f_bsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree")
    counts = ", ".join(f"{name}={value}" for name, value in zip(names, numbers, strict=True))
    tail = f"f_namelen={longest}, f_frsize={fragment}, f_flags={sets()['mounted'].text(flags)}"
    name = sets()["file_system"].text(kind)
    return f"{{f_type={name}, {counts}, f_fsid={{val=[{_word(first)}, {_word(second)}]}}, {tail}}}"


def _word(value: int) -> str:
    return f"{value:#x}" if value else "0"


def lock(data: bytes, _: int) -> str:
    """Return a struct flock (fcntl(2))."""
    kind, whence, start, length = struct.unpack_from("<hh4xqq", data)
    texts = sets()["lock"].text(kind), sets()["whence"].text(whence)
    return f"{{l_type={texts[0]}, l_whence={texts[1]}, l_start={start}, l_len={length}}}"


def rlimit(data: bytes, _: int) -> str:
    """Return a struct rlimit64."""
    now, most = (
        "RLIM64_INFINITY" if value == INFINITY else _size(value) for value in struct.unpack_from("<QQ", data)
    )
    return f"{{rlim_cur={now}, rlim_max={most}}}"


def _size(value: int) -> str:
    return f"{value // 1024}*1024" if value > 1024 and value % 1024 == 0 else str(value)


def uname(data: bytes, _: int) -> str:
    """Return a struct utsname."""
    system, node = (data[at : at + 65].partition(b"\0")[0].decode("utf-8", "replace") for at in (0, 65))
    return f'{{sysname="{system}", nodename="{node}", ...}}'


def system(data: bytes, _: int) -> str:
    """Return a struct sysinfo (sysinfo(2))."""
    uptime, *loads = struct.unpack_from("<4Q", data)
    *memory, tasks = struct.unpack_from("<6QH", data, 32)
    high, free, unit = struct.unpack_from("<QQI", data, 88)
    names = ("totalram", "freeram", "sharedram", "bufferram", "totalswap", "freeswap")
    sizes = ", ".join(f"{name}={value}" for name, value in zip(names, memory, strict=True))
    tail = f"procs={tasks}, totalhigh={high}, freehigh={free}, mem_unit={unit}"
    return f"{{uptime={uptime}, loads=[{', '.join(map(str, loads))}], {sizes}, {tail}}}"


def pair(data: bytes, _: int) -> str:
    """Return two descriptors."""
    return "[{}, {}]".format(*struct.unpack_from("<ii", data))


def number(data: bytes, _: int) -> str:
    """Return a number that lies in memory."""
    return f"[{struct.unpack_from('<i', data)[0]}]"


def processors(data: bytes, _: int) -> str:
    """Return a set of processors (sched_setaffinity(2))."""
    bits = int.from_bytes(data, "little")
    return f"[{' '.join(str(n) for n in range(8 * len(data)) if bits >> n & 1)}]"


def open_how(data: bytes, _: int) -> str:
    """Return a struct open_how (openat2(2))."""
    flags, mode, resolve = struct.unpack_from("<3Q", data)
    names = sets()["open"].text(flags), sets()["resolve"].text(resolve)
    made = f", mode={octal(mode)}" if mode else ""
    return f"{{flags={names[0]}{made}, resolve={names[1]}}}"
