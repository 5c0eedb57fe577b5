"""Run images in this process: for `run`, for BEGIN, END and interval probes, and for tests.

The agent's library is loaded by ctypes, so helpers are the same machine code as in a target. Code is written
into a private mapping and made executable after that; nothing is ever writable and executable at once.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from functools import cache
from typing import TYPE_CHECKING

from runtime.agent import build
from runtime.errors import Bug
from runtime.jit.link import link, link_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from runtime.jit.image import Image

# `struct agent` of runtime/agent/agent.h
RSEQ_OFFSET, TID_OFFSET = 16, 20
AT_SYSINFO_EHDR = 33  # elf.h: where the vDSO is
GLIBC_TID = 720  # of the thread id in glibc's thread block
PROCESS_LIVE = 1
MASK64 = (1 << 64) - 1


class LocalAgent:
    """The agent's library in this process; `address(name)` of any of its functions."""

    def __init__(self) -> None:
        path = str(build.library())
        self.library = ctypes.CDLL(path)
        self.symbols = build.symbols()
        # By a symbol: other mappings of the file may be its readers'.
        visit = ctypes.cast(self.library.agent_visit, ctypes.c_void_p).value or 0
        self.base = visit - self.symbols["agent_visit"]
        self.page = ctypes.create_string_buffer(64)
        self.rseq_offset = _libc_integer("__rseq_offset") if _libc_integer("__rseq_size") else 0
        self.tid_offset = _tid_offset()
        getauxval = ctypes.CDLL(None).getauxval
        getauxval.restype = ctypes.c_uint64
        self.function("clock_init", 1)(getauxval(AT_SYSINFO_EHDR))
        self.refresh()

    def refresh(self) -> None:
        """Write this process's numbers; again after a fork."""
        pid = os.getpid()
        ctypes.c_uint32.from_buffer(self.page, 0).value = PROCESS_LIVE
        ctypes.c_uint32.from_buffer(self.page, 4).value = pid
        agent = self.address("agent")
        ctypes.c_int32.from_address(agent + RSEQ_OFFSET).value = self.rseq_offset
        ctypes.c_int32.from_address(agent + TID_OFFSET).value = self.tid_offset

    def address(self, name: str) -> int:
        """Give the address of a function or variable.

        Raises:
            Bug: the library has no such symbol.
        """
        if name not in self.symbols:
            raise Bug(f"the agent has no symbol '{name}'")
        return self.base + self.symbols[name]

    def function(self, name: str, arguments: int) -> Callable[..., int]:
        """Give a function with u64 arguments and an s64 result as a Python callable."""
        prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_uint64] * arguments)
        return prototype(self.address(name))

    @property
    def build_kind(self) -> str:
        """Say which build of an image this process can run."""
        return "rseq" if self.rseq_offset and self.tid_offset else "plain"


def _libc_integer(name: str) -> int:
    try:
        return ctypes.c_ssize_t.in_dll(ctypes.CDLL(None), name).value if "size" not in name else 1
    except ValueError:
        return 0


def _tid_offset() -> int:
    thread = ctypes.CDLL(None).pthread_self
    thread.restype = ctypes.c_uint64
    known = ctypes.c_uint32.from_address(thread() + GLIBC_TID).value
    return GLIBC_TID if known == ctypes.CDLL(None).gettid() else 0


@cache
def agent() -> LocalAgent:
    """Load the agent's library once."""
    return LocalAgent()


# push rbx rbp r12 r13; again: rdi = r12, rsi = r13; call rbx; until rbp is 0; pop them
REPEAT = bytes.fromhex(
    "5355415441554883ec084889fb4889f54989d44989cd4c89e74c89eeffd348ffcd75f34883c408415d415c5d5bc3"
)


@cache
def _repeater() -> Callable[..., int]:
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    page[: len(REPEAT)] = REPEAT
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC)
    call = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * 4)(address)

    def repeater(*arguments: int) -> int:
        result: int = call(*arguments)
        return result if len(page) else 0  # the page lives as long as this function

    return repeater


class LocalProgram:
    """An image that is linked in this process and can be called.

    `symbols` gives the addresses of `map:`, `head:`, `ring:`, `progs:` symbols and of `region`.
    """

    def __init__(self, image: Image, symbols: Mapping[str, int]) -> None:
        self.image = image
        self.symbols = symbols
        size = -(-link_size(image) // mmap.PAGESIZE) * mmap.PAGESIZE
        self.memory = mmap.mmap(-1, size, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.memory[: link_size(image)] = link(image, self.address, self._resolve)
        if ctypes.CDLL(None).mprotect(ctypes.c_void_p(self.address), size, mmap.PROT_READ | mmap.PROT_EXEC):
            raise Bug("a page of code cannot be made executable")
        result = ctypes.c_uint64 if image.returns else None
        # Words lie where a C call puts its seventh argument and those behind it.
        self._count = 6 + len(image.words)
        self._call = ctypes.CFUNCTYPE(result, *[ctypes.c_uint64] * self._count)(self.address)

    def _resolve(self, symbol: str) -> int:
        local = agent()
        if symbol.startswith("agent:"):
            return local.address(symbol[6:])
        constants = {
            "process": ctypes.addressof(local.page),
            "rseq_offset": local.rseq_offset,
            "tid_offset": local.tid_offset,
            "unwind": 0,  # no tables of this process
        }
        if symbol in constants:
            return constants[symbol]
        if symbol not in self.symbols:
            raise Bug(f"{self.image.name}: nothing is known about symbol '{symbol}'")
        return self.symbols[symbol]

    def __call__(self, *arguments: int) -> int:
        """Call the program; give r0, or 0 where the image has no result."""
        words = [argument & MASK64 for argument in arguments]
        return self._call(*words, *[0] * (self._count - len(words))) or 0

    def repeat(self, count: int, *arguments: int) -> tuple[int, float]:
        """Call the program `count` times with up to two arguments; give the last r0 and ns a call."""
        import time  # lazy: only measurements need it

        first, second = (*arguments, 0, 0)[:2]
        start = time.perf_counter_ns()
        result = _repeater()(self.address, count, first, second)
        return result, (time.perf_counter_ns() - start) / count

    def __enter__(self) -> LocalProgram:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the code; nobody may be inside it."""
        ctypes.CDLL(None).mprotect(
            ctypes.c_void_p(self.address), len(self.memory), mmap.PROT_READ | mmap.PROT_WRITE
        )
