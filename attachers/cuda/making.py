"""A chosen text → its woven image: weave, assemble, hold to the registers that launches need."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from attachers.cuda.assemble.assembling import assemble, over_limit, with_limits
from attachers.cuda.assemble.cubin import usage_of
from attachers.cuda.assemble.options import replayed
from attachers.cuda.assemble.result import Assembled, AssemblerProblem, Tool, Usage
from attachers.cuda.choosing import Text
from attachers.cuda.fatbin import ImageProblem
from attachers.cuda.ptx import reader
from attachers.cuda.ptx.probe import KernelProbe, Woven
from attachers.cuda.ptx.syntax import Module
from attachers.cuda.ptx.weave import weave
from attachers.cuda.swapped import Action, Report, Swap

# What the driver itself provides.
_SYSTEM = frozenset(("vprintf", "malloc", "free", "__assertfail"))


@dataclass(frozen=True, slots=True)
class Job:
    """How one text is made: for which device, by which assembler; `may_leave` it to the driver instead."""

    arch: int
    tool: Tool | None
    may_leave: bool


def make(text: Text, job: Job, probes: Sequence[KernelProbe]) -> Swap:
    """Weave and assemble.

    Raises:
        PtxProblem: the text cannot be followed, or a body does not fit it.
        ImageProblem: the text needs other code.
    """
    began = time.monotonic()
    original = text.ptx.decode("latin-1")
    module = reader.parse(original)
    woven = weave(module, probes, job.arch)
    if not woven.kernels:
        return Swap(Action.PASS)
    _check_complete(module)
    try:
        made = _Made.of(text, module, woven, job)
    except AssemblerProblem as problem:
        if problem.lines or not job.may_leave:
            reason = explained(problem, woven)
            return Swap(Action.PASS, reason=reason, woven=woven.text, original=original)
        made = _Made(woven.text, None, {}, {})
    numbers = {kernel.name: kernel.number for kernel in woven.kernels}
    image = made.assembled.cubin if made.assembled else made.text.encode("latin-1") + b"\0"
    report = Report(
        *(woven.kernels, made.before, made.assembled.usage if made.assembled else {}, made.limited),
        *(str(made.assembled.tool) if made.assembled else "driver", time.monotonic() - began),
        (*text.notes, *woven.warnings),
    )
    action = Action.REPLACE if made.assembled else Action.PTX
    return Swap(action, image, numbers, report, "", made.text, original)


def _check_complete(module: Module) -> None:
    defined = {function.name for function in module.functions if function.body}
    for function in module.functions:
        is_needed = function.linkage == "extern" and function.name not in defined | _SYSTEM
        if is_needed:
            raise ImageProblem(f"it calls '{function.name}', which is in other code that it is linked with")


@dataclass(frozen=True, slots=True)
class _Made:
    text: str
    assembled: Assembled | None
    before: dict[str, Usage]
    limited: dict[str, int]

    @classmethod
    def of(cls, text: Text, module: Module, woven: Woven, job: Job) -> _Made:
        """Assemble the woven text, and the original beside it where nothing else tells what it takes."""
        tool = job.tool
        if tool is None:
            return cls(woven.text, None, usage_of(text.cubin), {})
        target, options = target_of(module, job.arch), replayed(text.options)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(assemble, woven.text, target, options, tool)
            plain = None if text.cubin else pool.submit(assemble, module.text, target, options, tool)
            assembled = first.result()
            before = usage_of(text.cubin) if plain is None else plain.result().usage
        limits = over_limit(module, before, assembled.usage)
        limits = {name: limit for name, limit in limits.items() if name in {k.name for k in woven.kernels}}
        if not limits:
            return cls(woven.text, assembled, before, {})
        limited = with_limits(reader.parse(woven.text), limits)
        return cls(limited, assemble(limited, target, options, tool), before, limits)


def target_of(module: Module, arch: int) -> str:
    """Name the architecture to assemble for; text for one device or family only stays so."""
    name = module.targets[0]
    return f"sm_{arch}{name[-1]}" if name[-1:] in ("a", "f") else f"sm_{arch}"


def explained(problem: AssemblerProblem, woven: Woven) -> str:
    """Say what the assembler refuses: its words, three lines around it, and whose line it is."""
    lines = woven.text.split("\n")
    out = [f"{problem}" + (f" ({problem.hint})" if problem.hint else "")]
    for number in problem.lines[:1]:
        whose = next(
            (what for first, last, what in woven.inserts if first <= number <= last), "the kernel's own"
        )
        out.append(f"line {number} of the woven text is in: {whose}")
        around = range(max(1, number - 1), min(len(lines), number + 1) + 1)
        out += [f"{at:6}: {lines[at - 1]}" for at in around]
    return "\n".join(out)
