"""One kernel, or one copy of a function that it calls, with its probes pasted in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from attachers.cuda.ptx import memory
from attachers.cuda.ptx.callees import Call, call_of, rewritten
from attachers.cuda.ptx.edits import Edits
from attachers.cuda.ptx.parameters import parameter_code
from attachers.cuda.ptx.paste import OUTSIDE, Paster, Setter, declarations, inputs_of
from attachers.cuda.ptx.probe import KernelProbe, Op, Place, Site
from attachers.cuda.ptx.scopes import Scope, outermost, walk
from attachers.cuda.ptx.syntax import Block, Function, Instruction, Label, Line, Registers, Variable

ENDS = ("ret", "exit")
NEVER_FALL_THROUGH = (*ENDS, "trap", "bra", "brx")


@dataclass(slots=True)
class Tally:
    """What one kernel got so far, its copies of functions included. `next_site` counts over the module."""

    next_site: int
    exits: int = 0
    traps: int = 0
    sites: list[Site] = field(default_factory=list)
    uncovered: dict[str, int] = field(default_factory=dict)

    def miss(self, what: str, count: int = 1) -> None:
        """Count something that is not watched."""
        self.uncovered[what] = self.uncovered.get(what, 0) + count


@dataclass(frozen=True, slots=True)
class Wearer:
    """What is pasted into one function's text for one kernel. `copies`: function → name of its copy."""

    kernel: Function
    number: int
    function: Function
    probes: Sequence[KernelProbe]
    carried: tuple[str, ...]
    copies: dict[str, str]
    paster: Paster
    tally: Tally

    @property
    def is_kernel(self) -> bool:
        """Whether this is the kernel itself."""
        return self.function is self.kernel

    def at(self, place: Place) -> list[KernelProbe]:
        """Give the probes of one place, in attach order."""
        return [probe for probe in self.probes if probe.place is place]

    def wear(self, body: Block, edits: Edits) -> None:
        """Put all probes of the function into `edits`."""
        self._begin(body, edits)
        for item, scope, line in walk(body, outermost(self.function)):
            if isinstance(item, Instruction):
                self._instruction(item, scope, line, edits)
        if self.is_kernel and self.at(Place.RETURN) and falls_through(body):
            edits.insert(body.end - 1, self._returns(0) + "\n", "return probe")
            self.tally.exits += 1

    def _begin(self, body: Block, edits: Edits) -> None:
        entry = self.at(Place.ENTRY) if self.is_kernel else []
        lines = [self._carry(name) for name in self.carried if not (self.is_kernel and name != "%bte")]
        lines += [self.paster.probe(probe, lambda name: self._set(name, 0)) for probe in entry]
        if lines:
            edits.insert(first_place(body), "\n".join(lines) + "\n", "entry probe")

    def _carry(self, name: str) -> str:
        """Make a value known in the whole function: the clock at entry, or what a copy is given."""
        if self.is_kernel:
            return f".reg .b64 {name}; mov.u64 {name}, %clock64;"
        register = name if name == "%bte" else f"{name}_"
        return f".reg .b64 {register}; ld.param.b64 {register}, [{carried_name(name)}];"

    def _instruction(self, item: Instruction, scope: Scope, line: int, edits: Edits) -> None:
        name = item.opcode.partition(".")[0]
        if name in ENDS:
            self._exit(item, name, line, edits)
        elif name == "trap":
            self.tally.traps += 1
        elif name == "call":
            self._call(call_of(item), edits)
        elif self.at(Place.MEMORY):
            self._memory(item, scope, line, edits)

    def _exit(self, item: Instruction, name: str, line: int, edits: Edits) -> None:
        if not self.at(Place.RETURN) or (name == "ret" and not self.is_kernel):
            return
        self.tally.exits += 1
        probes = self._returns(line)
        if not item.guard:
            edits.insert(item.start, probes + "\n", "return probe")
            return
        end = self.paster.label()
        skip = f"{{ @{'' if item.negated else '!'}{item.guard} bra {end};"
        edits.replace(item.start, item.opcode_at, f"{skip}\n{probes}\n", "return probe")
        edits.insert(item.end, f"\n{end}:\n}}", "return probe")

    def _returns(self, line: int) -> str:
        """Give the return probes' text: the last one attached runs first."""
        probes = reversed(self.at(Place.RETURN))
        return "\n".join(self.paster.probe(probe, lambda name: self._set(name, line)) for probe in probes)

    def _call(self, call: Call | None, edits: Edits) -> None:
        if call is None or call.target not in self.copies:
            return
        carried = {name: self._carried_value(name) for name in self.carried}
        new = rewritten(call, self.copies[call.target], carried)
        edits.replace(call.instruction.start, call.instruction.end, new, "call of a probed function")

    def _carried_value(self, name: str) -> str:
        return "" if name == "%bte" else self._set(name, 0)

    def _set(self, name: str, line: int) -> str:
        """Give PTX that sets an input which any place has."""
        if name == "%btk":
            return f"mov.b32 %btk, {self.number};"
        if name == "%btl":
            return f"mov.b32 %btl, {line};"
        if name.startswith("%btp"):
            if self.is_kernel:
                return parameter_code(self.kernel, name)
            return f"mov.b64 {name}, {name}_;"
        return f"mov.b{32 if name in ('%btz', '%bto', '%bts', '%bti') else 64} {name}, 0;"

    def _memory(self, item: Instruction, scope: Scope, line: int, edits: Edits) -> None:
        missed = memory.uncovered(item)
        if missed:
            self.tally.miss(missed)
        for access in memory.accesses_of(item):
            self._watch(item, access, (scope, line), edits)

    def _watch(
        self, item: Instruction, access: memory.Access, place: tuple[Scope, int], edits: Edits
    ) -> None:
        scope, line = place
        probes = [p for p in self.at(Place.MEMORY) if access.op in p.ops and access.space in p.spaces]
        if not probes:
            return
        address = memory.address_code(access, scope)
        if address is None:
            self.tally.miss(item.opcode)
            return
        site = self._site(access, item, line)
        before, behind = data_codes(access, scope, inputs_of(probes))
        end = self.paster.label()
        outside = declarations(inputs_of(probes) & OUTSIDE | {"%bta"})
        skip = f"@{'' if item.negated else '!'}{item.guard} bra {end};\n" if item.guard else ""
        pasted = "\n".join(self.paster.probe(p, self._setter(access, site)) for p in probes)
        lead = f"{{ {outside} .reg .b16 %bth; .reg .b32 %btw; .reg .b64 %btx;\n{address} {before}\n"
        # A copy changes no register: all of its two blocks goes behind it.
        edits.insert(item.end if item.opcode.startswith("cp.") else item.start, lead, "memory probe")
        edits.insert(item.end, f"\n{skip}{behind}\n{pasted}\n{end}:\n}}", "memory probe")

    def _site(self, access: memory.Access, item: Instruction, line: int) -> Site:
        text = f"{item.opcode} {item.operands}"
        number = self.tally.next_site
        site = Site(number, access.op, access.space, access.size, line, self.function.name, text)
        self.tally.next_site += 1
        self.tally.sites.append(site)
        return site

    def _setter(self, access: memory.Access, site: Site) -> Setter:
        constants = {
            **{"%btz": access.size, "%bto": int(access.op), "%bts": int(access.space)},
            **{"%btl": site.line, "%bti": site.number},
        }

        def set_input(name: str) -> str:
            if name in constants:
                return f"mov.b32 {name}, {constants[name]};"
            return self._set(name, site.line)

        return set_input


def data_codes(access: memory.Access, scope: Scope, inputs: frozenset[str]) -> tuple[str, str]:
    """Give the PTX that sets the data registers: what goes before the instruction, what behind it."""
    atomic = access.op is Op.ATOMIC or access.op is Op.REDUCE
    elements = access.results if access.op is Op.LOAD else access.values
    wide = memory.wide_code(elements[0], scope) if elements and not atomic else None
    codes = {"%btd0": "", "%btd1": ""}
    if wide and inputs & codes.keys():
        missing = " ".join(f".reg .b64 {name};" for name in sorted(codes.keys() - inputs))
        return ("", wide) if not missing else ("", _one_half(elements[0], inputs))
    second = access.results[:1] if atomic else elements[1:2]
    size = access.element
    if "%btd0" in inputs:
        codes["%btd0"] = memory.data_code("%btd0", elements[0] if elements else "0", size, scope)
    if "%btd1" in inputs:
        codes["%btd1"] = memory.data_code("%btd1", second[0] if second else "0", size, scope)
    if atomic:
        return codes["%btd0"], codes["%btd1"]
    return "", " ".join(code for code in codes.values() if code)


def _one_half(operand: str, inputs: frozenset[str]) -> str:
    pair = "%btd0, %btx" if "%btd0" in inputs else "%btx, %btd1"
    return f"mov.b128 {{{pair}}}, {operand};"


def carried_name(name: str) -> str:
    """Name the parameter by which a copy of a function gets a value."""
    return f"{name[1:]}_in"


def first_place(body: Block) -> int:
    """Give where the first instruction may stand: behind the declarations that lead."""
    for item in body.items:
        if not isinstance(item, Registers | Variable | Line):
            return item.start
    return body.end - 1


def falls_through(block: Block) -> bool:
    """Return whether control may reach the block's closing brace."""
    for item in reversed(block.items):
        if isinstance(item, Block):
            return falls_through(item)
        if isinstance(item, Instruction):
            return bool(item.guard) or item.opcode.partition(".")[0] not in NEVER_FALL_THROUGH
        if isinstance(item, Label):
            return True
    return True
