"""Instructions → what a warp does for them. `make` gives kind, function `(R, L, warp)` and extra data.

Kinds: `run` falls through; `sync` waits for the lanes of its mask; `bra brx call ret exit bar` choose the next place.
"""

from __future__ import annotations

from attachers.cuda.ptx.syntax import SIZES
from attachers.cuda.ptx.tokens import split
from tests.tools.ptxrun import alu, memops, warpops
from tests.tools.ptxrun import numbers as n
from tests.tools.ptxrun.memory import Fault

NOTHING = (
    *("membar", "fence", "nanosleep", "pmevent", "prefetch", "prefetchu", "discard", "applypriority"),
    *("griddepcontrol", "setmaxnreg", "createpolicy", "alloca", "brkpt"),
)


def make(b, item):
    """Make one instruction ready."""
    name, *modifiers = item.opcode.split(".")
    handler = HANDLERS.get(name)
    if handler:
        return handler(b, item, modifiers)
    if name in NOTHING:
        return "run", lambda R, L, warp: None, None
    return arithmetic(b, item, name, modifiers)


def types_of(modifiers):
    return [word for word in modifiers if word in SIZES]


def arithmetic(b, item, name, modifiers):
    type_ = (types_of(modifiers) or [""])[-1]
    if not type_:
        raise Fault(f"unknown instruction {item.opcode}")
    if type_ in ("f16x2", "bf16x2", "f32x2"):
        return packed(b, item, name, type_)
    table = alu.FLOAT if type_ in n.FLOATS else alu.INTEGER
    expression = table.get(name)
    if expression is None:
        raise Fault(f"unknown instruction {item.opcode}")
    operands = b.operands(item)
    if name in ("sqrt", "rcp") or type_ in n.FLOATS:
        expression = finish(expression, modifiers)
    return "run", lanewise(b, expression, type_, operands, modifiers, name), None


def finish(expression, modifiers):
    """Apply `.sat` and `.relu` to a float's result."""
    if not expression.startswith("P("):
        return expression
    if "sat" in modifiers:
        return f"P(least(most(({expression[2:-1]}), 0.0), 1.0))"
    return f"P(most(({expression[2:-1]}), 0.0))" if "relu" in modifiers else expression


SOURCE_TYPES = {  # operands whose type is not the instruction's: (index behind the target → type)
    "shl": {1: "u32"},
    "shr": {1: "u32"},
    "bfe": {1: "u32", 2: "u32"},
    "bfi": {2: "u32", 3: "u32"},
    "selp": {2: "pred"},
    "slct": {2: "s32"},
    "prmt": {2: "u32"},
    "lop3": {3: "u32"},
}


def lanewise(b, expression, type_, operands, modifiers=(), name="", kind=""):
    target = b.destination(operands[0].partition("|")[0])
    special = SOURCE_TYPES.get(name, {})
    slots = tuple(
        b.predicate(text)[0]
        if type_ == "pred" and not text.startswith("!")
        else b.source(text, special.get(i, type_))
        for i, text in enumerate(operands[1:])
    )
    if not kind and name == "testp":
        kind = modifiers[0]
    env = alu.environment(type_, modifiers, kind)
    return alu.maker(expression, len(slots))(target, slots, env)


def packed(b, item, name, type_):
    """Two halves at once."""
    half, width = {"f16x2": ("f16", 16), "bf16x2": ("bf16", 16), "f32x2": ("f32", 32)}[type_]
    unpack, pack = n.FLOATS[half]
    mask = (1 << width) - 1
    code = alu.FLOAT[name].replace("~H", f"{mask >> 1:#x}")
    names = "abcd"[: item.operands.count(",")]
    space = {**vars(n), "F": unpack, "P": pack, "H": 1 << (width - 1)}
    function = eval(f"lambda {', '.join(names)}: {code}", space)
    operands = b.operands(item)
    target, sources = (
        b.destination(operands[0]),
        [b.source(text, "b32" if width == 16 else "b64") for text in operands[1:]],
    )

    def run(R, L, warp):
        for l in L:
            values = [R[s][l] for s in sources]
            low = function(*(v & mask for v in values))
            R[target][l] = function(*(v >> width & mask for v in values)) << width | low

    return "run", run, None


def product(b, item, modifiers):
    """`mul mad fma`."""
    adds = not item.opcode.startswith("mul")
    type_ = types_of(modifiers)[-1]
    name = "fma" if adds else "mul"
    if type_ in ("f16x2", "bf16x2", "f32x2"):
        return packed(b, item, name, type_)
    operands = b.operands(item)
    if type_ in n.FLOATS:
        return "run", lanewise(b, finish(alu.FLOAT[name], modifiers), type_, operands, modifiers), None
    wide, high = "wide" in modifiers, "hi" in modifiers
    target = b.destination(operands[0])
    bits = SIZES[type_] * 8
    out = (1 << (2 * bits if wide else bits)) - 1
    sum_type = {16: "u32", 32: "u64"}[bits] if wide else type_
    x, y = (b.source(text, type_) for text in operands[1:3])
    z = b.source(operands[3], sum_type) if adds else b.constant(0)
    is_signed = type_.startswith("s")
    shift = bits if high else 0

    def run(R, L, warp):
        D, A, B, C = R[target], R[x], R[y], R[z]
        for l in L:
            p, q = A[l], B[l]
            if is_signed:
                p, q = n.signed(p, bits), n.signed(q, bits)
            D[l] = ((p * q >> shift) + C[l]) & out

    return "run", run, None


def carrying(b, item, modifiers):
    """`add sub addc subc madc mad` with the carry flag; plain `add` and `sub` as well."""
    name = item.opcode.partition(".")[0]
    takes, gives = name in ("addc", "subc"), "cc" in modifiers
    type_ = types_of(modifiers)[-1]
    if not takes and not gives:
        if "sat" in modifiers and type_ == "s32":
            sign = "+" if name == "add" else "-"
            code = f"max(-M // 2, min(M // 2, S(a) {sign} S(b))) & M"
            return "run", lanewise(b, code, type_, b.operands(item), modifiers), None
        return arithmetic(b, item, name, modifiers)
    target, x, y = (b.source(text, type_) for text in b.operands(item))
    flag = b.special("carry")
    bits = SIZES[type_] * 8
    mask = (1 << bits) - 1
    subtract = name.startswith("sub")

    def run(R, L, warp):
        D, A, B, C = R[target], R[x], R[y], R[flag]
        for l in L:
            carry = C[l] if takes else 0
            total = A[l] - B[l] - carry if subtract else A[l] + B[l] + carry
            if gives:
                C[l] = int(total < 0 or total > mask)
            D[l] = total & mask

    return "run", run, None


def mov(b, item, modifiers):
    type_ = types_of(modifiers)[-1]
    to, source = b.operands(item)
    if to.startswith("{"):
        return "run", _unpack(b, split(to[1:-1]), b.source(source, type_), SIZES[type_] * 8), None
    if source.startswith("{"):
        return "run", _pack(b, to, split(source[1:-1]), SIZES[type_] * 8), None
    target = b.destination(to)
    if source in warpops.CHANGING:
        return warpops.changing(b, target, source)
    try:
        slot = b.source(source, type_)
    except Fault:
        slot = b.symbol(source)

    def run(R, L, warp):
        D, A = R[target], R[slot]
        for l in L:
            D[l] = A[l]

    return "run", run, None


def _unpack(b, names, slot, bits):
    part = bits // len(names)
    mask = (1 << part) - 1
    targets = [b.destination(name) for name in names]

    def run(R, L, warp):
        for l in L:
            value = R[slot][l]
            for index, target in enumerate(targets):
                R[target][l] = value >> index * part & mask

    return run


def _pack(b, to, names, bits):
    part = bits // len(names)
    mask = (1 << part) - 1
    target, slots = b.destination(to), [b.source(name, f"b{part}") for name in names]

    def run(R, L, warp):
        for l in L:
            value = 0
            for index, slot in enumerate(slots):
                value |= (R[slot][l] & mask) << index * part
            R[target][l] = value

    return run


def cvt(b, item, modifiers):
    to, *rest = types_of(modifiers)
    origin = rest[-1]
    operands = b.operands(item)
    if to in ("f16x2", "bf16x2"):
        return "run", _pair(b, operands, to.removesuffix("x2")), None
    target, slot = b.destination(operands[0]), b.source(operands[1], origin)
    function = conversion(to, origin, modifiers)
    wide = (1 << b.width_of(operands[0])) - 1
    low = (1 << SIZES[origin] * 8) - 1

    def run(R, L, warp):
        D, A = R[target], R[slot]
        for l in L:
            D[l] = function(A[l] & low) & wide

    return "run", run, None


def _pair(b, operands, half):
    pack = n.FLOATS[half][1]
    target, high, low = b.destination(operands[0]), b.source(operands[1], "f32"), b.source(operands[2], "f32")

    def run(R, L, warp):
        for l in L:
            R[target][l] = pack(n.f32(R[high][l])) << 16 | pack(n.f32(R[low][l]))

    return run


def conversion(to, origin, modifiers):
    """Give the function bits → bits of a conversion; signed results are extended without end."""
    bits = SIZES[to] * 8
    from_float, to_float = n.FLOATS.get(origin), n.FLOATS.get(to)
    mode = next((word for word in modifiers if word in ("rni", "rzi", "rmi", "rpi")), "")
    saturated = "sat" in modifiers
    if from_float and to_float:

        def between(value):
            number = from_float[0](value)
            number = n.rounded(number, mode) if mode else number
            return to_float[1](n.least(n.most(number, 0.0), 1.0) if saturated else number)

        return between
    if from_float:
        return lambda value: n.to_integer(from_float[0](value), mode or "rzi", bits, to.startswith("s"))
    is_signed, width = origin.startswith("s"), SIZES[origin] * 8
    if to_float:
        return lambda value: to_float[1](float(n.signed(value, width) if is_signed else value))

    def whole(value):
        number = n.signed(value, width) if is_signed else value
        if saturated:
            low, high = (
                (-(1 << bits - 1), (1 << bits - 1) - 1) if to.startswith("s") else (0, (1 << bits) - 1)
            )
            number = max(low, min(high, number))
        return n.signed(number, bits) if to.startswith("s") else number & ((1 << bits) - 1)

    return whole


def setp(b, item, modifiers):
    compare, boolean = modifiers[0], next((m for m in modifiers[1:] if m in ("and", "or", "xor")), "")
    type_ = types_of(modifiers)[-1]
    if type_ in ("f16x2", "bf16x2"):
        raise Fault(f"unknown instruction {item.opcode}")
    operands = b.operands(item)
    names = [name.strip() for name in operands[0].split("|")]
    targets = [b.destination(name) for name in names]
    x, y = (b.source(text, type_) for text in operands[1:3])
    third, negated = b.predicate(operands[3]) if boolean else (0, False)
    holds = comparison(compare, type_)
    combine = {"and": lambda p, q: p & q, "or": lambda p, q: p | q, "xor": lambda p, q: p ^ q, "": None}[
        boolean
    ]

    def run(R, L, warp):
        A, B = R[x], R[y]
        for l in L:
            truth = int(holds(A[l], B[l]))
            other = 1 - truth
            if combine:
                c = R[third][l] ^ negated
                truth, other = combine(truth, c), combine(other, c)
            R[targets[0]][l] = truth
            if len(targets) > 1:
                R[targets[1]][l] = other

    return "run", run, None


def comparison(compare, type_):
    """Give the function (bits, bits) → truth."""
    code = alu.COMPARE.get(compare) or alu.UNORDERED[compare]
    if type_ in n.FLOATS:
        both = compare not in alu.UNORDERED and compare != "nan"
        code = f"x == x and y == y and ({code})" if both and compare == "ne" else code
        return eval(f"lambda a, b: (lambda x, y: {code})(F(a), F(b))", {"F": n.FLOATS[type_][0]})
    if type_.startswith("s"):
        bits = SIZES[type_] * 8
        return eval(f"lambda a, b: (lambda x, y: {code})(S(a, {bits}), S(b, {bits}))", {"S": n.signed})
    return eval(f"lambda x, y: {code}")


def set_(b, item, modifiers):
    compare, boolean = modifiers[0], next((m for m in modifiers[1:] if m in ("and", "or", "xor")), "")
    to, origin = types_of(modifiers)[-2:]
    operands = b.operands(item)
    target, x, y = b.destination(operands[0]), b.source(operands[1], origin), b.source(operands[2], origin)
    holds = comparison(compare, origin)
    true = n.FLOATS[to][1](1.0) if to in n.FLOATS else (1 << SIZES[to] * 8) - 1
    third, negated = b.predicate(operands[3]) if boolean else (0, False)

    def run(R, L, warp):
        for l in L:
            truth = bool(holds(R[x][l], R[y][l]))
            if boolean:
                c = bool(R[third][l]) ^ negated
                truth = {"and": truth and c, "or": truth or c, "xor": truth ^ c}[boolean]
            R[target][l] = true if truth else 0

    return "run", run, None


def lop3(b, item, modifiers):
    operands = b.operands(item)
    if len(operands) == 6:  # lop3.and/or.b32 d|p, a, b, c, table, q
        operands = operands[:5]
    if "|" in operands[0] or modifiers[0] in ("and", "or"):
        raise Fault(f"unknown instruction {item.opcode}")
    return "run", lanewise(b, alu.INTEGER["lop3"], "b32", operands, modifiers, "lop3"), None


def logic(b, item, modifiers):
    """`and or xor not` of predicates take `!%p`; all others are plain."""
    name = item.opcode.partition(".")[0]
    if types_of(modifiers)[-1] != "pred":
        return arithmetic(b, item, name, modifiers)
    operands = b.operands(item)
    return (
        "run",
        lanewise(b, {"not": "1 - a"}.get(name, alu.INTEGER[name]), "pred", operands, modifiers, name),
        None,
    )


def branch(b, item, modifiers):
    return "bra", None, b.target(item.operands)


def branch_indexed(b, item, modifiers):
    index, table = b.operands(item)
    names = b.target(table)
    return "brx", b.source(index, "u32"), tuple(b.target(name) for name in names)


def shf(b, item, modifiers):
    return "run", lanewise(b, alu.INTEGER["shf"], "b32", b.operands(item), modifiers, "shf"), None


def dp4a(b, item, modifiers):
    first, second = types_of(modifiers)[-2:]
    operands = b.operands(item)
    target, slots = b.destination(operands[0]), [b.source(text, "u32") for text in operands[1:]]

    def run(R, L, warp):
        for l in L:
            value = alu.dp4a(*(R[s][l] for s in slots), first.startswith("s"), second.startswith("s"))
            R[target][l] = value & 0xFFFFFFFF

    return "run", run, None


def bit_find(b, item, modifiers):
    code = alu.INTEGER["bfind"]
    type_ = types_of(modifiers)[-1]
    if "shiftamt" in modifiers:
        code = "(W - 1 - bfind(X(a), W)) & 0xffffffff if bfind(X(a), W) != 0xffffffff else 0xffffffff"
    return "run", lanewise(b, code, type_, b.operands(item), modifiers, "bfind"), None


def isspacep(b, item, modifiers):
    from tests.tools.ptxrun.memory import LOCAL, PARAM, SHARED, WINDOW

    low = {"shared": SHARED, "local": LOCAL, "param": PARAM}.get(modifiers[0], 1 << 32)
    high = low + WINDOW if low < 1 << 32 else 1 << 64
    operands = b.operands(item)
    target, slot = b.destination(operands[0]), b.source(operands[1], "u64")

    def run(R, L, warp):
        for l in L:
            R[target][l] = int(low <= R[slot][l] < high)

    return "run", run, None


def copy(b, item, modifiers):
    """`cvta` in either direction, `mapa` and `getctarank` of a block that is alone in its cluster."""
    operands = b.operands(item)
    target = b.destination(operands[0])
    slot = None
    if item.opcode.startswith("getctarank"):
        slot = b.constant(0)
    else:
        try:
            slot = b.source(operands[1], "u64")
        except Fault:
            slot = b.symbol(operands[1])

    def run(R, L, warp):
        for l in L:
            R[target][l] = R[slot][l]

    return "run", run, None


HANDLERS = {
    **{
        "mul": product,
        "mad": product,
        "fma": product,
        "mov": mov,
        "cvt": cvt,
        "setp": setp,
        "set": set_,
        "lop3": lop3,
    },
    **{"add": carrying, "sub": carrying, "addc": carrying, "subc": carrying},
    **{
        "and": logic,
        "or": logic,
        "xor": logic,
        "not": logic,
        "bra": branch,
        "brx": branch_indexed,
        "shf": shf,
    },
    **{"dp4a": dp4a, "bfind": bit_find, "isspacep": isspacep, "cvta": copy, "mapa": copy, "getctarank": copy},
    **{
        "ld": memops.load,
        "ldu": memops.load,
        "st": memops.store,
        "atom": memops.atomic,
        "red": memops.atomic,
    },
    **{"cp": memops.copy_async, "call": warpops.call, "ret": warpops.leave, "exit": warpops.leave},
    **{"trap": warpops.trap, "bar": warpops.barrier, "barrier": warpops.barrier, "shfl": warpops.shuffle},
    **{"vote": warpops.vote, "match": warpops.match, "redux": warpops.redux, "elect": warpops.elect},
    **{"activemask": warpops.activemask},
}
