"""Loads, stores and atomics."""

from __future__ import annotations

from attachers.cuda.ptx.syntax import SIZES, VECTORS
from attachers.cuda.ptx.tokens import split
from tests.tools.ptxrun import numbers as n
from tests.tools.ptxrun.memory import Fault


def _shape(modifiers):
    type_ = next(word for word in reversed(modifiers) if word in SIZES)
    lanes = next((VECTORS[word] for word in modifiers if word in VECTORS), 1)
    return type_, SIZES[type_], lanes


def _place(operands):
    return next(index for index, text in enumerate(operands) if text.startswith("["))


def _elements(text):
    return split(text[1:-1]) if text.startswith("{") else (text,)


def load(b, item, modifiers):
    type_, size, lanes = _shape(modifiers)
    operands = b.operands(item)
    names = _elements(operands[0])
    if len(names) != lanes:
        raise Fault(f"registers of vectors: {operands[0]}")
    targets = [b.destination(name) for name in names]
    where, slot, *rest = b.address(operands[1])
    offset = rest[-1] if rest else 0
    widths = [(1 << b.width_of(name)) - 1 for name in names]
    is_signed, bits, total = type_.startswith("s"), size * 8, size * lanes

    def put(R, l, data):
        for index, target in enumerate(targets):
            value = int.from_bytes(data[index * size : (index + 1) * size], "little")
            R[target][l] = (n.signed(value, bits) if is_signed else value) & widths[index]

    if where == "kernel":
        at = slot + offset

        def from_kernel(R, L, warp):
            data = warp.block.launch.params[at : at + total]
            for l in L:
                put(R, l, data)

        return "run", from_kernel, None
    if where == "param":

        def from_param(R, L, warp):
            for l in L:
                put(R, l, warp.frame.params[slot][l][offset : offset + total])

        return "run", from_param, None

    def from_memory(R, L, warp):
        A = R[slot]
        for l in L:
            view, at = warp.at(A[l] + offset, total, l)
            put(R, l, view[at : at + total])

    def one(R, L, warp):
        A, D, mask = R[slot], R[targets[0]], widths[0]
        for l in L:
            view, at = warp.at(A[l] + offset, total, l)
            D[l] = int.from_bytes(view[at : at + size], "little") & mask

    return "run", one if lanes == 1 and not is_signed else from_memory, None


def store(b, item, modifiers):
    type_, size, lanes = _shape(modifiers)
    operands = b.operands(item)
    where, slot, *rest = b.address(operands[0])
    offset = rest[-1] if rest else 0
    sources = [b.source(name, type_) for name in _elements(operands[1])]
    if len(sources) != lanes:
        raise Fault(f"registers of vectors: {operands[1]}")
    mask, total = (1 << size * 8) - 1, size * lanes

    def data(R, l):
        return b"".join((R[s][l] & mask).to_bytes(size, "little") for s in sources)

    if where == "param":

        def to_param(R, L, warp):
            for l in L:
                warp.frame.params[slot][l][offset : offset + total] = data(R, l)

        return "run", to_param, None

    def to_memory(R, L, warp):
        A = R[slot]
        for l in L:
            view, at = warp.at(A[l] + offset, total, l)
            view[at : at + total] = data(R, l)

    return "run", to_memory, None


def _signed(bits):
    return lambda value: n.signed(value, bits)


def operation(modifiers, type_):
    """Give the function (old, operand, second) → new of an atomic."""
    bits = SIZES[type_] * 8
    mask = (1 << bits) - 1
    if type_ in n.FLOATS:
        unpack, pack = n.FLOATS[type_]
        floats = {"add": lambda a, b: a + b, "min": n.least, "max": n.most}
        name = next((word for word in modifiers if word in floats), "")
        if name:
            return lambda old, x, y: pack(floats[name](unpack(old), unpack(x)))
    value = _signed(bits) if type_.startswith("s") else lambda x: x
    table = {
        "add": lambda old, x, y: (old + x) & mask,
        "exch": lambda old, x, y: x,
        "and": lambda old, x, y: old & x,
        "or": lambda old, x, y: old | x,
        "xor": lambda old, x, y: old ^ x,
        "min": lambda old, x, y: min(value(old), value(x)) & mask,
        "max": lambda old, x, y: max(value(old), value(x)) & mask,
        "inc": lambda old, x, y: 0 if old >= x else old + 1,
        "dec": lambda old, x, y: x if not old or old > x else old - 1,
        "cas": lambda old, x, y: y if old == x else old,
    }
    name = next((word for word in modifiers if word in table), "")
    if not name:
        raise Fault("unknown atomic")
    return table[name]


def atomic(b, item, modifiers):
    type_, size, lanes = _shape(modifiers)
    operands = list(b.operands(item))
    place = _place(operands)
    names = _elements(operands[0]) if place else ()
    targets = [b.destination(name) for name in names]
    where, slot, *rest = b.address(operands[place])
    offset = rest[-1] if rest else 0
    if where != "slot":
        raise Fault("an atomic on a parameter")
    half = {"f16x2": "f16", "bf16x2": "bf16"}.get(type_, type_)
    parts = 2 if half != type_ else 1
    compute = operation(modifiers, half)
    bits = SIZES[half] * 8
    mask = (1 << size * 8) - 1
    given = [[b.source(name, type_) for name in _elements(text)] for text in operands[place + 1 : place + 3]]
    given = given if len(given) > 1 else [*given, given[0]]

    def change(old, x, y):
        out = 0
        for part in range(parts):
            cut = (1 << bits) - 1
            new = compute(*(v >> part * bits & cut for v in (old, x, y)))
            out |= (new & cut) << part * bits
        return out

    def run(R, L, warp):
        for l in L:
            for index in range(lanes):
                view, at = warp.at(R[slot][l] + offset + index * size, size, l)
                old = int.from_bytes(view[at : at + size], "little")
                x, y = (R[row[index]][l] & mask for row in given)
                view[at : at + size] = change(old, x, y).to_bytes(size, "little")
                if targets:
                    R[targets[index]][l] = old

    return "run", run, None


def copy_async(b, item, modifiers):
    """`cp.async` of 4, 8 or 16 bytes, done at once; its groups need no waiting."""
    if modifiers[:1] != ["async"] or "bulk" in modifiers or "mbarrier" in modifiers:
        raise Fault(f"unknown instruction {item.opcode}")
    if "ca" not in modifiers and "cg" not in modifiers:
        return "run", lambda R, L, warp: None, None
    operands = b.operands(item)
    (_, to, to_offset), (_, origin, from_offset) = b.address(operands[0]), b.address(operands[1])
    size = b.source(operands[2], "u32")
    filled = b.source(operands[3], "u32") if len(operands) > 3 else size

    def run(R, L, warp):
        for l in L:
            count, have = R[size][l], R[filled][l]
            view, at = warp.at(R[origin][l] + from_offset, count, l)
            data = bytes(view[at : at + min(count, have)]).ljust(count, b"\0")
            view, at = warp.at(R[to][l] + to_offset, count, l)
            view[at : at + count] = data

    return "run", run, None
