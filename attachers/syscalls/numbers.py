"""Tests of a call's number in machine code, for places where it is known only when the call is made."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from attachers.patch.assemble import Code
from runtime.syscalls.table import NUMBERS

FEW = 4  # numbers that are compared one by one; more are looked up in a table
JE, JNE, JAE, JNC = b"\x0f\x84", b"\x0f\x85", b"\x0f\x83", b"\x0f\x83"


@dataclass(slots=True)
class Test:
    """A test that has been written: where its jumps end, where its table's address is taken (0: nowhere)."""

    numbers: frozenset[int] | None
    skips: list[int] = field(default_factory=list)
    table: int = 0

    def lead_here(self, code: Code) -> None:
        """Let all other numbers go on from here."""
        for end in self.skips:
            code.set_jump(end)

    def put_table(self, code: Code) -> None:
        """Append the table, where there is one."""
        if self.table:
            code.set_jump(self.table)
            code.raw(bitmap_of(self.numbers))


def bitmap_of(numbers: frozenset[int] | None) -> bytes:
    """Return a bit for each number below the limit, eight a byte, low ones first; None is all."""
    bits = sum(1 << n for n in numbers) if numbers is not None else (1 << NUMBERS) - 1
    return bits.to_bytes(NUMBERS // 8, "little")


def emit_test(code: Code, numbers: frozenset[int] | None) -> Test:
    """Append: go on here if eax is one of the numbers, else where the test is told to lead later.

    Changes rcx, r11 and the flags. None: nothing to test.
    """
    test = Test(numbers)
    if numbers is None:
        return test
    if len(numbers) > FEW:
        return _look_up(code, test)
    matches = []
    *others, last = sorted(numbers)
    for number in others:
        code.raw(b"\x3d" + struct.pack("<I", number) + JE + bytes(4))  # cmp eax, number; je
        matches.append(len(code.bytes))
    code.raw(b"\x3d" + struct.pack("<I", last) + JNE + bytes(4))
    test.skips.append(len(code.bytes))
    for end in matches:
        code.set_jump(end)
    return test


def _look_up(code: Code, test: Test) -> Test:
    code.raw(b"\x3d" + struct.pack("<I", NUMBERS) + JAE + bytes(4))  # cmp eax, 512; jae
    test.skips.append(len(code.bytes))
    code.raw(b"\x4c\x8d\x1d" + bytes(4))  # lea r11, [rip + table]
    test.table = len(code.bytes)
    code.raw(b"\x89\xc1\xc1\xe9\x06")  # mov ecx, eax; shr ecx, 6
    code.raw(b"\x4d\x8b\x1c\xcb")  # mov r11, [r11 + rcx * 8]
    code.raw(b"\x49\x0f\xa3\xc3")  # bt r11, rax: by the low six bits
    code.raw(JNC + bytes(4))
    test.skips.append(len(code.bytes))
    return test
