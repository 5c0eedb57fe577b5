"""What lanes do together, calls, barriers, and values that change while a kernel runs."""

from __future__ import annotations

import time

from attachers.cuda.ptx.callees import call_of
from attachers.cuda.ptx.syntax import SIZES
from attachers.cuda.ptx.tokens import split
from tests.tools.ptxrun import numbers as n
from tests.tools.ptxrun.memory import Fault

FULL = 0xFFFFFFFF
CHANGING = {
    "%clock": lambda warp: warp.machine.ticks & FULL,
    "%clock_hi": lambda warp: warp.machine.ticks >> 32,
    "%clock64": lambda warp: warp.machine.ticks,
    "%globaltimer": lambda warp: time.time_ns(),
    "%globaltimer_lo": lambda warp: time.time_ns() & FULL,
    "%globaltimer_hi": lambda warp: time.time_ns() >> 32,
}


def mask_of(lanes):
    return sum(1 << lane for lane in lanes)


def changing(b, target, name):
    read = CHANGING[name]

    def run(R, L, warp):
        value = read(warp)
        for l in L:
            R[target][l] = value

    return "run", run, None


def activemask(b, item, modifiers):
    target = b.destination(item.operands)

    def run(R, L, warp):
        mask = mask_of(L)
        for l in L:
            R[target][l] = mask

    return "run", run, None


def leave(b, item, modifiers):
    name = item.opcode.partition(".")[0]
    return name, None, None


def trap(b, item, modifiers):
    return "trap", None, None


def call(b, item, modifiers):
    """Take a call's places apart; the warp copies parameters and enters the function."""
    found = call_of(item)
    returns = [_passed(b, name) for name in split(found.returns[1:-1].strip())]
    arguments = [_passed(b, name) for name in split(found.arguments[1:-1].strip())]
    target = found.target
    slot = b.source(target, "u64") if target.startswith("%") else None
    return "call", slot, (target, returns, arguments)


def _passed(b, name):
    """Give ("param", number) or ("slot", slot) of what a call passes."""
    variable = b.scope.variable(name)
    if variable is not None and variable.space == "param":
        return "param", b.param(variable)
    return "slot", b.source(name, "b64")


def barrier(b, item, modifiers):
    """Block barriers; those of a warp wait for their mask, those of a cluster are the block's."""
    operands = b.operands(item)
    if "warp" in modifiers:
        return "sync", lambda R, L, warp: None, b.source(operands[0], "b32")
    if "cluster" in modifiers:
        return (
            ("run", lambda R, L, warp: None, None)
            if "arrive" in modifiers
            else ("bar", None, (None, None, None))
        )
    if "red" in modifiers:
        return _reduction(b, item, modifiers, operands)
    number = b.source(operands[0], "u32") if operands[0] else b.constant(0)
    count = b.source(operands[1], "u32") if len(operands) > 1 else None
    if "arrive" in modifiers:
        raise Fault(f"unknown instruction {item.opcode}")
    return "bar", None, (number, count, None)


def _reduction(b, item, modifiers, operands):
    """`bar.red.{popc,and,or} d, a{, b}, {!}p`."""
    number = b.source(operands[1], "u32")
    count = b.source(operands[2], "u32") if len(operands) > 3 else None
    how = next(m for m in modifiers if m in ("popc", "and", "or"))
    return "bar", None, (number, count, (b.destination(operands[0]), how, b.predicate(operands[-1])))


def _mask(b, text, modifiers):
    return b.source(text, "b32") if "sync" in modifiers else None


def shuffle(b, item, modifiers):
    mode = next(m for m in modifiers if m in ("up", "down", "bfly", "idx"))
    operands = b.operands(item)
    names = [name.strip() for name in operands[0].split("|")]
    targets = [b.destination(name) for name in names]
    value, offset, clamp = (b.source(text, "b32") for text in operands[1:4])
    mask = _mask(b, operands[4] if len(operands) > 4 else "", modifiers)

    def run(R, L, warp):
        old = list(R[value])
        here = set(L)
        for l in L:
            shift, c = R[offset][l] & 31, R[clamp][l]
            segment, limit = c >> 8 & 31, c & 31
            low = l & segment
            high = low | limit & ~segment
            lane = {"up": l - shift, "down": l + shift, "bfly": l ^ shift, "idx": low | shift & ~segment}[
                mode
            ]
            good = lane >= high if mode == "up" else lane <= high
            lane = lane if good else l
            R[targets[0]][l] = old[lane] if lane in here or lane == l else 0
            if len(targets) > 1:
                R[targets[1]][l] = int(good)

    return "sync", run, mask


def vote(b, item, modifiers):
    mode = next(m for m in modifiers if m in ("all", "any", "uni", "ballot"))
    operands = b.operands(item)
    target = b.destination(operands[0])
    slot, negated = b.predicate(operands[1])
    mask = _mask(b, operands[2] if len(operands) > 2 else "", modifiers)

    def run(R, L, warp):
        truths = [R[slot][l] ^ negated for l in L]
        result = {
            "all": int(all(truths)),
            "any": int(any(truths)),
            "uni": int(len(set(truths)) == 1),
            "ballot": sum(t << l for t, l in zip(truths, L, strict=True)),
        }[mode]
        for l in L:
            R[target][l] = result

    return "sync", run, mask


def match(b, item, modifiers):
    mode, type_ = next(m for m in modifiers if m in ("any", "all")), modifiers[-1]
    operands = b.operands(item)
    targets = [b.destination(name.strip()) for name in operands[0].split("|")]
    slot, mask = b.source(operands[1], type_), b.source(operands[2], "b32")

    def run(R, L, warp):
        values = {l: R[slot][l] for l in L}
        equal = len(set(values.values())) == 1
        for l in L:
            if mode == "any":
                R[targets[0]][l] = mask_of(m for m in L if values[m] == values[l])
            else:
                R[targets[0]][l] = mask_of(L) if equal else 0
            if len(targets) > 1:
                R[targets[1]][l] = int(equal)

    return "sync", run, mask


def redux(b, item, modifiers):
    name, type_ = next(m for m in modifiers if m in ("add", "min", "max", "and", "or", "xor")), modifiers[-1]
    operands = b.operands(item)
    target, slot, mask = (
        b.destination(operands[0]),
        b.source(operands[1], type_),
        b.source(operands[2], "b32"),
    )
    bits = SIZES[type_] * 8

    def run(R, L, warp):
        values = [n.signed(R[slot][l], bits) if type_.startswith("s") else R[slot][l] for l in L]
        result = values[0]
        for value in values[1:]:
            result = {
                "add": result + value,
                "min": min(result, value),
                "max": max(result, value),
                "and": result & value,
                "or": result | value,
                "xor": result ^ value,
            }[name]
        for l in L:
            R[target][l] = result & FULL

    return "sync", run, mask


def elect(b, item, modifiers):
    operands = b.operands(item)
    names = [name.strip() for name in operands[0].split("|")]
    targets = [b.destination(name) for name in names]
    mask = b.source(operands[1], "b32")

    def run(R, L, warp):
        for l in L:
            R[targets[0]][l] = min(L)
            R[targets[-1]][l] = int(l == min(L))

    return "sync", run, mask
