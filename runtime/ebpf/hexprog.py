"""A program given as hex digits, as `run --hex` takes it: two digits a byte, white space ignored."""

from __future__ import annotations

from runtime.ebpf.object import Object, Program
from runtime.errors import ObjectProblem
from runtime.types import ContextKind


def from_hex(text: str, context: ContextKind = ContextKind.MEMORY, name: str = "main") -> Object:
    """Make an object of one program; with the MEMORY context r1 = address or 0, r2 = length in bytes.

    Raises:
        ObjectProblem: other characters than hex digits, an odd number of them, or not whole instructions.
    """
    digits = "".join(text.split())
    digits = digits[2:] if digits[:2] in ("0x", "0X") else digits
    if len(digits) % 16:
        raise ObjectProblem(f"program has {len(digits)} hex digits; each instruction takes 16")
    try:
        code = bytes.fromhex(digits)
    except ValueError:
        bad = next(index for index, char in enumerate(digits) if char not in "0123456789abcdefABCDEF")
        raise ObjectProblem(f"{digits[bad]!r} at digit {bad} is not a hex digit") from None
    if not code:
        raise ObjectProblem("program is empty")
    program = Program(name, "", context, "", code)
    return Object("", "hex", "GPL", (program,), ())
