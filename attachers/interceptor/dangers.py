"""What a program does that a replaced return address does not survive, as far as its files tell.

Interceptor keeps the true return addresses on a stack of its own, one a thread. An exception finds no way
through such a frame, and a coroutine that is left and entered again gets another one's address: both end it.
"""

from __future__ import annotations

import re

from attachers.target import Target

_UNWINDERS = re.compile(r"/(libstdc\+\+|libc\+\+abi|libunwind|libgcc_s)\.so")
_LIBC = re.compile(r"/(libc\.so|libc-|ld-|libpthread)")
# Names in a symbol table, or in Go's table of functions.
_SWITCHES = (b"\0swapcontext\0", b"\0setcontext\0", b"\0jump_fcontext\0", b"\0runtime.gogo\0")


def may_unwind(target: Target) -> bool:
    """Return whether exceptions may pass through functions of this process."""
    return any(_UNWINDERS.search(module.path) for module in target.modules)


def danger_of_swaps(target: Target) -> str:
    """Return what would end the process under replaced return addresses, empty where nothing is known to."""
    if may_unwind(target):
        return "an exception"
    for module in target.modules:
        if not _LIBC.search(module.path) and any(module.elf.data.find(name) >= 0 for name in _SWITCHES):
            return "a switch of coroutines"
    return ""
