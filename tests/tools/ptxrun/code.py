"""A function's statements → steps with numbered slots in the place of names.

A slot is a list with one value for each lane: registers, constants, special registers, addresses of locals.
"""

from __future__ import annotations

import re
from collections import ChainMap
from dataclasses import dataclass, field

from attachers.cuda.ptx.memory import whole_number
from attachers.cuda.ptx.reader import body_of
from attachers.cuda.ptx.scopes import outermost, walk
from attachers.cuda.ptx.syntax import SIZES, Block, Directive, Instruction, Label, Parameter, Variable
from attachers.cuda.ptx.tokens import split
from tests.tools.ptxrun import numbers as n
from tests.tools.ptxrun.memory import CODE, LOCAL, PARAM, Fault

LANES = range(32)
_FLOAT = re.compile(r"0([fFdD])([0-9a-fA-F]+)\Z")
_INTEGER = re.compile(r"-?\s*(?:0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)U?\Z")
_SUM = re.compile(r"([A-Za-z_$%][\w$]*)\s*\+\s*(-?\s*\w+)\Z")


@dataclass
class Step:
    """One instruction: `kind` is how the warp goes on (`run` falls through, others decide)."""

    kind: str
    run: object
    guard: int
    negated: bool
    instruction: object
    extra: object = None
    access: tuple = ()  # (name, bytes) of what a memory instruction does


@dataclass
class Code:
    """A function made ready to run."""

    function: object
    index: int
    steps: list = field(default_factory=list)
    slots: list = field(default_factory=list)  # ("reg",) ("const", value) ("sreg", name) ("local", offset)
    params: list = field(default_factory=list)  # bytes of each parameter and `.param` variable
    frame: int = 0  # bytes of local memory
    formals: dict = field(default_factory=dict)

    @property
    def name(self):
        return self.function.name


class Builder:
    """Turns one function into `Code`."""

    def __init__(self, loaded, function, index):
        self.loaded, self.function = loaded, function
        self.code = Code(function, index)
        self.registers, self.constants, self.specials, self.locals = {}, {}, {}, {}
        self.param_index = {}
        self.scope, self.label_of = None, None

    def build(self):
        from tests.tools.ptxrun.instructions import make  # imports this module

        function = self.function
        top = outermost(function)
        offset = 0
        for parameter in (*function.params, *function.returns):
            if function.is_entry:
                offset = -(-offset // parameter.align) * parameter.align
                self.code.formals[parameter.name] = offset
                offset += parameter.size
            elif parameter.space == "param":
                self.code.formals[parameter.name] = ("param", self.param(parameter))
            else:
                self.code.formals[parameter.name] = ("reg", self._register(parameter.name, top))
        if function.body is None:
            return self.code
        for item, scope, label_of in self._flatten(body_of(self.loaded.module, function), top):
            self.scope, self.label_of = scope, label_of
            guard = -1 if not item.guard else self._register(item.guard, scope)
            try:
                kind, run, extra = make(self, item)
            except (Fault, KeyError, ValueError, IndexError, TypeError) as error:
                kind, run, extra = "fault", None, f"{type(error).__name__} {error}"
            self.code.steps.append(Step(kind, run, guard, item.negated, item, extra, accesses_of(item)))
        self.code.steps.append(Step("ret", None, -1, False, None))
        return self.code

    def _flatten(self, body, top):
        """Number the instructions; each comes with the labels that its block sees."""
        flat, seen = [], {}
        at = 0

        def visit(block, own):
            nonlocal at
            for item in block.items:
                if isinstance(item, Label):
                    own[item.name] = at
                elif isinstance(item, Directive) and item.label:
                    own[item.label] = tuple(part.strip() for part in item.text.split(","))
                elif isinstance(item, Block):
                    visit(item, ChainMap({}, *own.maps))
                elif isinstance(item, Instruction):
                    seen[item.start] = own
                    at += 1

        visit(body, ChainMap({}))
        for item, scope, _ in walk(body, top):
            if isinstance(item, Instruction):
                flat.append((item, scope, seen[item.start]))
        return flat

    # --- slots

    def slot(self, kind, *value):
        self.code.slots.append((kind, *value))
        return len(self.code.slots) - 1

    def constant(self, value):
        if value not in self.constants:
            self.constants[value] = self.slot("const", value)
        return self.constants[value]

    def _register(self, name, scope):
        found = scope.register(name)
        if not found:
            raise Fault(f"no register {name}")
        key = (id(found[2]), name)
        if key not in self.registers:
            self.registers[key] = (self.slot("reg"), found[2])  # the scope is kept, so its id stays its own
        return self.registers[key][0]

    def width_of(self, name):
        found = self.scope.register(name)
        return SIZES[found[0]] * 8 if found else 64

    def destination(self, text):
        return self.slot("reg") if text == "_" else self._register(text, self.scope)

    def param(self, variable):
        """Give the number of a function's parameter or a `.param` variable."""
        key = id(variable)
        if key not in self.param_index:
            self.code.params.append(variable.size)
            self.param_index[key] = (len(self.code.params) - 1, variable)
        return self.param_index[key][0]

    def source(self, text, type_):
        """Give the slot of an operand that is read."""
        if self.scope.register(text):
            return self._register(text, self.scope)
        if text.startswith("%"):
            return self.special(text)
        return self.constant(self.value(text, type_))

    def special(self, name):
        if name not in self.specials:
            self.specials[name] = self.slot("sreg", name)
        return self.specials[name]

    def value(self, text, type_):
        """Give the bits of an immediate or of a symbol's address."""
        bits = SIZES[type_] * 8 if type_ != "pred" else 1
        found = _FLOAT.match(text)
        if found:
            raw = int(found[2], 16)
            if type_ == "f64" and found[1] in "fF":
                return n.p64(n.f32(raw))
            if type_ == "f32" and found[1] in "dD":
                return n.p32(n.f64(raw))
            return raw
        if _INTEGER.match(text):
            number = integer(text)
            return (n.FLOATS[type_][1](float(number)) if type_ in n.FLOATS else number) & ((1 << bits) - 1)
        if type_ in n.FLOATS and re.fullmatch(r"-?[\d.]+(?:[eE][+-]?\d+)?", text):
            return n.FLOATS[type_][1](float(text))
        if text == "WARP_SZ":
            return 32
        if text[0] in "-(0123456789":
            return integer(text) & ((1 << bits) - 1)
        return self.loaded.address_of(text)

    def address(self, text):
        """Take `[base+offset]` apart: ("param", index, offset), ("kernel", offset) or ("slot", slot, offset)."""
        inner = text.strip()
        inner = inner[1 : inner.rindex("]")].strip()
        found = re.match(r"([A-Za-z_$%][\w$]*)\s*(?:([+-])\s*(.+))?\Z", inner)
        if not found:
            return "slot", self.constant(integer(inner)), 0
        name, sign, rest = found.groups()
        offset = (integer(rest) if rest else 0) * (-1 if sign == "-" else 1)
        if self.scope.register(name) and not name.startswith("%clock"):
            return "slot", self._register(name, self.scope), offset
        variable = self.scope.variable(name)
        if isinstance(variable, Parameter) and self.function.is_entry:
            return "kernel", self.code.formals[name], offset
        if isinstance(variable, Parameter) or (isinstance(variable, Variable) and variable.space == "param"):
            return "param", self.param(variable), offset
        return "slot", self.source_address(name), offset

    def source_address(self, name):
        """Give the slot of a variable's address."""
        variable = self.scope.variable(name)
        if isinstance(variable, Variable) and variable.space == "local":
            key = id(variable)
            if key not in self.locals:
                at = -(-self.code.frame // variable.align) * variable.align
                self.code.frame = at + variable.size
                self.locals[key] = (self.slot("local", at), variable)
            return self.locals[key][0]
        if isinstance(variable, Variable) and variable.space == "shared":
            return self.constant(self.loaded.shared_address(variable))
        if isinstance(variable, Parameter) and self.function.is_entry:
            return self.constant(PARAM + self.code.formals[name])
        if variable is not None:
            raise Fault(f"the address of {name} is not known here")
        return self.constant(self.loaded.address_of(name))

    def symbol(self, text):
        """Give the slot for `var` or `var+8` in a move."""
        found = _SUM.match(text)
        if not found:
            return self.source_address(text)
        slot = self.source_address(found[1])
        kind, *value = self.code.slots[slot]
        offset = integer(found[2])
        return self.slot("local", value[0] + offset) if kind == "local" else self.constant(value[0] + offset)

    def predicate(self, text):
        """Give slot and whether it is negated."""
        negated = text.startswith("!")
        name = text.lstrip("! ")
        if name in ("0", "1", "-1"):
            return self.constant(int(name) & 1), negated
        return self._register(name, self.scope), negated

    def operands(self, item):
        return split(item.operands)

    def target(self, name):
        """Give the step that a label stands before."""
        return self.label_of[name]


def accesses_of(item):
    """Give names and bytes of what an instruction does to memory other than parameters."""
    name, *modifiers = item.opcode.split(".")
    if name == "cp" and modifiers[1:2] in (["ca"], ["cg"]):
        size = int(split(item.operands)[2])
        return ("ld", size), ("st", size)
    if name not in ("ld", "ldu", "st", "atom", "red") or {"param", "param::entry", "param::func"} & set(
        modifiers
    ):
        return ()
    lanes = next((int(m[1:]) for m in modifiers if m in ("v2", "v4", "v8")), 1)
    return ((name, lanes * next(SIZES[m] for m in reversed(modifiers) if m in SIZES)),)


def integer(text):
    """Read a constant, or a sum or product of such."""
    text = text.strip()
    if _INTEGER.match(text):
        negative = text.startswith("-")
        digits = text.lstrip("- ").rstrip("U")
        value = whole_number(digits)
        return -value if negative else value
    if re.fullmatch(r"[\dxXa-fA-F+\-*()<>&|~ U]+", text):
        return int(eval(re.sub(r"(?<=[\da-fA-F])U\b", "", text), {"__builtins__": {}}))
    raise Fault(f"'{text}' is no number")


__all__ = ["CODE", "LOCAL", "Builder", "Code", "Step", "integer"]
