"""A few x86-64 instructions as bytes: all that thunks are made of. Source: Intel SDM vol. 2."""

from __future__ import annotations

import struct

from runtime.errors import AttachProblem

NUMBERS = {
    name: i for i, name in enumerate("rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split())
}
JUMP = 5  # bytes of e9 rel32
WORD = 8  # bytes that are stored, and fetched, at once when aligned
NOPS = (b"", b"\x90", b"\x66\x90", b"\x0f\x1f\x00", b"\x0f\x1f\x40\x00")
NO_JUMP = b"\x0f\x1f\x44\x00\x00"  # nop dword [rax + rax + 0]


class Code:
    """Machine code being written for `base`, an address in the target."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.bytes = bytearray()

    @property
    def here(self) -> int:
        """Return the address of the next instruction."""
        return self.base + len(self.bytes)

    def raw(self, data: bytes) -> None:
        """Append bytes as they are."""
        self.bytes += data

    def push(self, register: str) -> None:
        """Append `push register`."""
        number = NUMBERS[register]
        self.bytes += (b"\x41" if number > 7 else b"") + bytes([0x50 | number & 7])

    def pop(self, register: str) -> None:
        """Append `pop register`."""
        number = NUMBERS[register]
        self.bytes += (b"\x41" if number > 7 else b"") + bytes([0x58 | number & 7])

    def push_constant(self, value: int) -> None:
        """Append a push of a 64-bit constant; uses r11 when it does not fit a sign-extended imm32."""
        signed = value - (1 << 64) if value >> 63 else value
        if -(1 << 31) <= signed < 1 << 31:
            self.bytes += b"\x68" + struct.pack("<i", signed)
        else:
            self.bytes += b"\x49\xbb" + struct.pack("<Q", value)
            self.push("r11")

    def push_stack(self, offset: int) -> None:
        """Append `push [rsp + offset]`."""
        self.bytes += b"\xff\xb4\x24" + struct.pack("<i", offset)

    def push_stack_address(self, offset: int) -> None:
        """Append `lea r11, [rsp + offset]; push r11`."""
        self.bytes += b"\x4c\x8d\x9c\x24" + struct.pack("<i", offset)
        self.push("r11")

    def load_stack(self, register: str, offset: int) -> None:
        """Append `mov register, [rsp + offset]`."""
        number = NUMBERS[register]
        self.bytes += bytes([0x48 | (number > 7) << 2, 0x8B, 0x84 | (number & 7) << 3, 0x24]) + struct.pack(
            "<i", offset
        )

    def store_stack(self, register: str, offset: int) -> None:
        """Append `mov [rsp + offset], register`."""
        number = NUMBERS[register]
        head = bytes([0x48 | (number > 7) << 2, 0x89, 0x84 | (number & 7) << 3, 0x24])
        self.bytes += head + struct.pack("<i", offset)

    def move_stack_pointer(self, offset: int) -> None:
        """Append `lea rsp, [rsp + offset]`, nothing for 0: flags stay as they are."""
        if not offset:
            return
        if -128 <= offset < 128:
            self.bytes += b"\x48\x8d\x64\x24" + struct.pack("<b", offset)
        else:
            self.bytes += b"\x48\x8d\xa4\x24" + struct.pack("<i", offset)

    def call(self, target: int) -> None:
        """Append `call target`."""
        self.bytes += b"\xe8" + self._relative(target, 5)

    def far_call(self, target: int) -> None:
        """Append a call of any address; r11 is lost."""
        self.bytes += b"\x49\xbb" + struct.pack("<Q", target) + b"\x41\xff\xd3"

    def jump(self, target: int) -> None:
        """Append `jmp target`."""
        self.bytes += b"\xe9" + self._relative(target, 5)

    def jump_aligned(self, target: int = 0) -> int:
        """Append a jump that can be changed live: it lies in one aligned word. Returns its address.

        `target` 0: what is appended next. That is a no-op of the jump's size: a processor foresees only a few
        branches in one cache line.
        """
        word = self.here % WORD
        if word + JUMP > WORD:
            self.bytes += NOPS[WORD - word]
        if target:
            self.jump(target)
        else:
            self.bytes += NO_JUMP
        return self.here - JUMP

    def set_jump(self, at: int) -> None:
        """Let the jump with a 32-bit displacement that ends at `at`, an index of `bytes`, lead to here."""
        distance = len(self.bytes) - at
        self.bytes[at - 4 : at] = struct.pack("<i", distance)

    def _relative(self, target: int, size: int) -> bytes:
        return relative(target, self.here + size)


def relative(target: int, end: int) -> bytes:
    """Return the rel32 from the end of an instruction to `target`.

    Raises:
        AttachProblem: it is more than 2 GiB away.
    """
    distance = target - end
    if not -(1 << 31) <= distance < 1 << 31:
        raise AttachProblem(f"no thunk within 2 GiB of {target:#x}", errno=34)
    return struct.pack("<i", distance)
