"""Give a running process a descriptor of ours, through a socket pair that lives for one visit.

The process makes the pair, we fetch one end (pidfd_getfd(2)), send the descriptor over it (unix(7),
SCM_RIGHTS), the process receives it. All ends are closed before the thread goes on.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct

from attachers.inject.borrow import Borrowed
from runtime.errors import TargetProblem
from runtime.symbols.maps import Memory

CLOSE, RECVMSG, SOCKETPAIR, PIDFD_GETFD = 3, 47, 53, 438
UNIX, DATAGRAM_CLOEXEC, CMSG_CLOEXEC = 1, 0o2000002, 0x40000000
HEADER, VECTOR, BYTE, CONTROL = 64, 128, 192, 256  # places in the inbox


def give(thread: Borrowed, memory: Memory, inbox: int, fd: int) -> int:
    """Return the number that our descriptor `fd` has in the process; the caller closes it there.

    Raises:
        TargetProblem: the process cannot make or receive it.
    """
    if thread.syscall(SOCKETPAIR, UNIX, DATAGRAM_CLOEXEC, 0, inbox):
        raise TargetProblem(f"process {memory.pid} may not make a socket")
    theirs, ours = struct.unpack("<2i", memory.read(inbox, 8))
    try:
        _send(memory.pid, ours, fd)
        # struct msghdr: no name, one vector of one byte, room for one descriptor (recvmsg(2))
        memory.write(inbox + VECTOR, struct.pack("<2Q", inbox + BYTE, 1))
        memory.write(inbox + HEADER, struct.pack("<7Q", 0, 0, inbox + VECTOR, 1, inbox + CONTROL, 24, 0))
        if thread.syscall(RECVMSG, theirs, inbox + HEADER, CMSG_CLOEXEC) != 1:
            raise TargetProblem(f"process {memory.pid} may not receive a descriptor")
        number: int = struct.unpack("<i", memory.read(inbox + CONTROL + 16, 4))[0]
        return number
    finally:
        thread.syscall(CLOSE, theirs)
        thread.syscall(CLOSE, ours)


def _send(pid: int, number: int, fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    try:
        end = libc.syscall(PIDFD_GETFD, pidfd, number, 0)
        if end < 0:
            raise TargetProblem(f"a descriptor of {pid} cannot be fetched: {os.strerror(ctypes.get_errno())}")
        with socket.socket(fileno=end) as channel:
            socket.send_fds(channel, [b"x"], [fd])
    finally:
        os.close(pidfd)
