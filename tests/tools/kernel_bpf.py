"""The kernel's own eBPF through bpf(2), as the reference that compiled programs are compared with."""

from __future__ import annotations

import ctypes
import errno
import os

SYS_BPF = 321
PROG_LOAD, PROG_TEST_RUN = 5, 10
SOCKET_FILTER = 1
LOG_BYTES = 1 << 16


class _Load(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log", ctypes.c_uint64),
        ("rest", ctypes.c_uint64 * 12),
    )


class _Test(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("size_in", ctypes.c_uint32),
        ("size_out", ctypes.c_uint32),
        ("data_in", ctypes.c_uint64),
        ("data_out", ctypes.c_uint64),
        ("repeat", ctypes.c_uint32),
        ("duration", ctypes.c_uint32),
        ("rest", ctypes.c_uint64 * 8),
    )


class Rejected(Exception):
    """The kernel's verifier does not accept the program."""


def _bpf(command: int, attributes: ctypes.Structure) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(SYS_BPF, command, ctypes.byref(attributes), ctypes.sizeof(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def run(code: bytes, packet: bytes = bytes(64)) -> int:
    """Load a program and run it on a packet; give the low 32 bits of r0."""
    text = ctypes.create_string_buffer(code, len(code))
    license_text = ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(LOG_BYTES)
    load = _Load(type=SOCKET_FILTER, count=len(code) // 8, log_level=1, log_size=LOG_BYTES)
    load.insns, load.license, load.log = (ctypes.addressof(b) for b in (text, license_text, log))
    try:
        fd = _bpf(PROG_LOAD, load)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EACCES, errno.E2BIG):
            raise Rejected(log.value.decode(errors="replace")[-2000:]) from error
        raise
    try:
        data = ctypes.create_string_buffer(packet, len(packet))
        test = _Test(fd=fd, size_in=len(packet), data_in=ctypes.addressof(data), repeat=1)
        _bpf(PROG_TEST_RUN, test)
        return test.retval
    finally:
        os.close(fd)


def reason_missing() -> str:
    """Say why the kernel cannot be asked, "" where it can."""
    try:
        run(bytes.fromhex("b7000000070000009500000000000000"))
    except (OSError, Rejected) as error:
        return f"bpf(2) is not available: {error}"
    return ""
