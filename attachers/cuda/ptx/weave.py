"""Probes into PTX: the same text with blocks pasted at entries, exits and memory instructions.

Scopes protect both sides: what a block declares hides what is outside, so neither the kernel's registers nor
its labels meet those of a probe. A body that would be pasted more than `MOST_COPIES` times into one kernel,
or make it more than `MOST_LINES` longer, becomes a function that is called: hundreds of copies cost the
kernel its registers, and large ones its instruction cache. Functions that a kernel calls are copied for it
where they hold something to watch, since others may call them too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from attachers.cuda.names import any_matches
from attachers.cuda.ptx import memory
from attachers.cuda.ptx.callees import calls_in, definitions, reached
from attachers.cuda.ptx.edits import Edits, Pieces
from attachers.cuda.ptx.paste import CARRIED, Paster, inputs_of
from attachers.cuda.ptx.probe import KernelProbe, KernelReport, Place, Woven
from attachers.cuda.ptx.reader import body_of
from attachers.cuda.ptx.scopes import outermost, walk
from attachers.cuda.ptx.syntax import Function, Instruction, Module, PtxProblem
from attachers.cuda.ptx.versions import raised
from attachers.cuda.ptx.wearing import ENDS, Tally, Wearer, carried_name
from runtime.nvptx.body import CONTEXT

CONTEXT_BYTES = 256
CONSTANT_BANK = 65536  # bytes of `.const` in one module
MOST_COPIES = 32
MOST_LINES = 1000  # of PTX, about so many instructions
_OURS = re.compile(r"__bpftime_|%bt[a-z]\w*|\$BTS?\d*\b")
_LINKAGE = re.compile(r"\.(?:visible|weak)\s+")


def weave(module: Module, probes: Sequence[KernelProbe], arch: int = 0) -> Woven:
    """Weave probes into the kernels that they mean; a text without such kernels comes back as it is.

    `arch`: the device's, 90 for sm_90; up to it `.target` may be raised where a body needs that.

    Raises:
        PtxProblem: the text cannot be followed, or a body does not fit it.
    """
    chosen = {
        kernel.name: [p for p in probes if any_matches(p.kernels, kernel.name)] for kernel in module.kernels
    }
    meant = {id(probe) for found in chosen.values() for probe in found}
    used = [probe for probe in probes if id(probe) in meant]
    if not used:
        return Woven(module.text, (), (), "const")
    _check(module, used)
    space = context_space(module)
    weaver = _Weaver(module, Paster(space), known=definitions(module))
    raised(module, used, arch, weaver.edits, weaver.warnings)
    for kernel in module.kernels:
        if chosen[kernel.name]:
            weaver.kernel(kernel, chosen[kernel.name])
    functions = "".join(weaver.paster.function(p) for p in used if p.number in weaver.ever_called)
    declared = f"\n.weak .{space} .align 8 .b8 {CONTEXT}[{CONTEXT_BYTES}];\n{functions}"
    weaver.edits.insert(module.declare_at, declared, "declarations of the probes")
    pieces = weaver.edits.applied(module.text)
    return Woven(pieces.text(), tuple(weaver.reports), tuple(weaver.warnings), space, pieces.lines())


def _check(module: Module, probes: Sequence[KernelProbe]) -> None:
    if module.address_size != 64:
        raise PtxProblem("32-bit PTX cannot be probed")
    found = _OURS.search(module.text)
    if found:
        raise PtxProblem(f"'{found[0]}' is a name of ours: is this text woven already?")
    for probe in probes:
        if not 0 <= probe.number < 64:
            raise PtxProblem(f"a probe's number is 0 to 63, not {probe.number}")
        if probe.body.unsafe_exit and probe.place is not Place.ENTRY:
            raise PtxProblem(f"{probe.body.name}: a thread can be ended at a kernel's entry only")


def context_space(module: Module) -> str:
    """Give where the context stands: in the constant bank unless the module has filled it."""
    constants = sum(v.size + v.align for v in module.variables if v.space == "const")
    return "const" if constants + CONTEXT_BYTES <= CONSTANT_BANK else "global"


def _is_called(probe: KernelProbe, copies: int) -> bool:
    """Return whether a body becomes a function; local memory of copies would not overlap."""
    lines = copies * probe.body.text.count("\n")
    return copies > MOST_COPIES or lines > MOST_LINES or (probe.body.local > 0 and copies > 1)


@dataclass(slots=True)
class _Weaver:
    """One module on its way."""

    module: Module
    paster: Paster
    edits: Edits = field(default_factory=Edits)
    reports: list[KernelReport] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    ever_called: set[int] = field(default_factory=set)
    sites: int = 0
    known: dict[str, Function] = field(default_factory=dict)

    def kernel(self, kernel: Function, probes: list[KernelProbe]) -> None:
        """Weave one kernel and the copies of the functions it calls."""
        functions, through_pointers = reached(self.module, kernel, self.known)
        watched = self._watched(functions, probes)
        number = probes[0].kernel_number(kernel.name)
        tally = Tally(self.sites)
        wide = [p for p in probes if p.place is not Place.ENTRY]
        asked = (inputs_of(wide) & CARRIED if watched else set()) | (inputs_of(probes) & {"%bte"})
        carried = tuple(sorted(asked))
        copies = {name: f"{name}$bt{len(self.reports)}" for name in watched}
        self.paster.called = self._called(kernel, functions, watched, probes)
        self.ever_called |= self.paster.called
        wearer = Wearer(kernel, number, kernel, probes, carried, copies, self.paster, tally)
        if copies:
            prototypes = "".join(
                f"{self._copy_header(functions[n], c, carried)};\n" for n, c in copies.items()
            )
            first = min(kernel.start, *(functions[name].start for name in copies))
            self.edits.insert(first, prototypes, "copies of functions")
        wearer.wear(body_of(self.module, kernel), self.edits)
        for name, copy in copies.items():
            self._copy(replace(wearer, function=functions[name]), copy)
        if through_pointers and wide:
            tally.miss("calls through pointers")
        self._warn(kernel, functions, probes)
        self.sites = tally.next_site
        self.reports.append(
            KernelReport(
                *(kernel.name, number, tuple(p.number for p in probes)),
                *(tally.exits, tuple(tally.sites), tuple(sorted(self.paster.called))),
                *(tally.uncovered, tally.traps),
            )
        )

    def _watched(self, functions: dict[str, Function], probes: list[KernelProbe]) -> list[str]:
        """Give the functions that hold something to watch, and those that call such."""
        callers: dict[str, list[str]] = {}
        for name, function in functions.items():
            for call in calls_in(self.module, function):
                callers.setdefault(call.target, []).append(name)
        waiting = [name for name, function in functions.items() if self._places(function, probes)]
        found = set(waiting)
        while waiting:
            more = [name for name in callers.get(waiting.pop(), ()) if name not in found]
            found.update(more)
            waiting += more
        return sorted(found)

    def _places(self, function: Function, probes: list[KernelProbe]) -> dict[int, int]:
        """Count the places of each probe in a function."""
        ends = ENDS if function.is_entry else ("exit",)
        count: dict[int, int] = {}
        for item, _, _ in walk(body_of(self.module, function), outermost(function)):
            if not isinstance(item, Instruction):
                continue
            accesses = memory.accesses_of(item)
            is_end = item.opcode.partition(".")[0] in ends
            for probe in probes:
                hits = int(is_end and probe.place is Place.RETURN)
                if probe.place is Place.MEMORY:
                    hits = sum(a.op in probe.ops and a.space in probe.spaces for a in accesses)
                if hits:
                    count[probe.number] = count.get(probe.number, 0) + hits
        return count

    def _called(
        self, kernel: Function, functions: dict[str, Function], watched: list[str], probes: list[KernelProbe]
    ) -> set[int]:
        """Give the probes with so many places in this kernel that their body becomes a function."""
        total: dict[int, int] = {}
        for function in (kernel, *(functions[name] for name in watched)):
            for number, count in self._places(function, probes).items():
                total[number] = total.get(number, 0) + count
        return {probe.number for probe in probes if _is_called(probe, total.get(probe.number, 0))}

    def _copy_header(self, function: Function, name: str, carried: tuple[str, ...]) -> str:
        """Give a function's header with another name and parameters for what is carried."""
        text = self.module.text
        extra = ", ".join(f".param .b64 {carried_name(c)}" for c in carried)
        behind = function.name_at + len(function.name)
        front = _LINKAGE.sub("", text[function.start : function.name_at]) + name
        if not extra:
            return front + text[behind : function.header_end]
        if function.params_at is None:
            return f"{front}({extra}){text[behind : function.header_end]}"
        close = function.params_at[1]
        comma = ", " if function.params else ""
        return f"{front}{text[behind:close]}{comma}{extra}{text[close : function.header_end]}"

    def _copy(self, wearer: Wearer, name: str) -> None:
        """Put a copy of a function, probed, behind the function."""
        function = wearer.function
        body = body_of(self.module, function)
        own = Edits()
        wearer.wear(body, own)
        pieces: Pieces = own.applied(self.module.text, body.start, body.end)
        header = self._copy_header(function, name, wearer.carried)
        self.edits.insert(body.end, f"\n{header}\n{pieces.text()}\n", f"copy of {function.name}")

    def _warn(self, kernel: Function, functions: dict[str, Function], probes: list[KernelProbe]) -> None:
        if not any(p.body.unsafe_exit for p in probes):
            return
        for function in (kernel, *functions.values()):
            for item, _, _ in walk(body_of(self.module, function), outermost(function)):
                if isinstance(item, Instruction) and item.opcode.partition(".")[0] in ("bar", "barrier"):
                    self.warnings.append(
                        f"{kernel.name} has barriers: threads that a probe ends no longer arrive at them"
                    )
                    return
