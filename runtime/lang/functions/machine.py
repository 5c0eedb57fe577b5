"""Registers, byte order and kinds of addresses: reg, bswap, uptr, kptr, is_err."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import tree
from runtime.lang.functions.row import Function
from runtime.lang.suggest import near
from runtime.lang.types import BOOL, UINT64, UNKNOWN, Int, Type

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator

REGISTERS = {
    "r15": 0, "r14": 8, "r13": 16, "r12": 24, "bp": 32, "bx": 40, "r11": 48, "r10": 56, "r9": 64, "r8": 72,
    "ax": 80, "cx": 88, "dx": 96, "si": 104, "di": 112, "orig_rax": 120, "orig_ax": 120,
    "ip": 128, "pc": 128, "cs": 136, "flags": 144, "sp": 152, "ss": 160,
}  # fmt: skip


def _check_reg(c: Checker, call: tree.Call) -> Type:
    name = c.text(call.args[0], "reg()")
    if not c.body.provider.has_registers:
        return c.fail(call.at, f'reg can not be used with "{c.body.provider.name}" probes')
    if name is not None and name.decode("latin-1") not in REGISTERS:
        shown = name.decode("utf-8", "replace")
        c.fail(
            call.args[0].at,
            f"'{shown}' is not a valid register on this architecture (x86_64)",
            near(shown, REGISTERS),
        )
    return UINT64


def _lower_reg(g: Generator, call: tree.Call) -> None:
    name = call.args[0]
    assert isinstance(name, tree.String)
    g.code.load(0, g.context(REGISTERS[name.value.decode("latin-1")]), 8)


def _check_same(c: Checker, call: tree.Call) -> Type:
    return c.value(call.args[0])


def _lower_same(g: Generator, call: tree.Call) -> None:
    g.word(call.args[0])


def _check_bswap(c: Checker, call: tree.Call) -> Type:
    kind = c.integer(call.args[0], "bswap()")
    return Int(kind.bytes, False) if isinstance(kind, Int) else UNKNOWN


def _lower_bswap(g: Generator, call: tree.Call) -> None:
    kind = call.type
    g.word(call.args[0], kind)
    if kind.size > 1:
        g.code.swap(0, 8 * kind.size)


def _check_is_err(c: Checker, call: tree.Call) -> Type:
    c.value(call.args[0])
    return BOOL


def _lower_is_err(g: Generator, call: tree.Call) -> None:
    no = g.code.label()
    g.word(call.args[0])
    g.code.alu_constant("+", 0, 4095)
    g.code.jump_if_constant(">=", 0, 4095, no)
    g.code.one_unless(no)


ROWS = (
    Function("reg", 1, 1, _check_reg, _lower_reg),
    Function("uptr", 1, 1, _check_same, _lower_same),
    Function("kptr", 1, 1, _check_same, _lower_same),
    Function("bswap", 1, 1, _check_bswap, _lower_bswap),
    Function("is_err", 1, 1, _check_is_err, _lower_is_err),
)
