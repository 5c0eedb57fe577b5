"""An attach plan in words: for each site what moves, what is saved, and the code that will run.

It is what `--dry-run -v` prints: the plan is data, so it is told before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterator

from attachers.patch.cost import cost_of
from attachers.patch.displace import Instruction
from attachers.patch.plan import AttachPlan
from attachers.patch.spot import Spot
from attachers.patch.thunk import FRAME_BYTES, Moment


def explain(plan: AttachPlan) -> str:
    """Return the text: a block for each thunk."""
    if not plan.thunks:
        return str(plan)
    lines = [str(plan).splitlines()[0]]
    for spot, start, size in plan.thunks:
        lines += _block(plan, spot, start, size)
    lines += [f"  link {link}: refused: {problem}" for link, problem in plan.refused.items()]
    return "\n".join(lines)


def _block(plan: AttachPlan, spot: Spot, start: int, size: int) -> Iterator[str]:
    place, cost = spot.place, cost_of(spot)
    at = f"{spot.probe.name}+{place.address - spot.probe.address}"
    hole = f", by padding at {place.hole:#x}" if place.hole else ""
    yield f"  {at}: {place.kind.name.lower()} at {place.address:#x}{hole} -> thunk at {start:#x}"
    yield f"    class     {cost.name}, about {cost.ns:g} ns: {cost.why}"
    if place.walked:
        yield f"    walked    {_listed(place.walked)}"
    moved = (*place.displaced, *([place.ret] if place.ret else []))
    yield f"    displaced {_listed(moved)}"
    yield f"    saved     {', '.join(_saved(spot))}"
    for address, raw, text in _decoded(plan, start, size):
        yield f"    {address:x}: {raw:<24} {text}"


def _saved(spot: Spot) -> Iterator[str]:
    yield "r11"
    if spot.moment is Moment.INSIDE:
        yield from ("rax", "flags", "red zone of 128 bytes")
    if spot.probe.image.frame:
        yield f"all registers ({FRAME_BYTES} bytes)"
    for word in spot.probe.image.words:
        yield f"word {word}"


def _listed(instructions: tuple[Instruction, ...]) -> str:
    return "; ".join(f"{i.mnemonic} {i.operands}".strip() for i in instructions)


def _decoded(plan: AttachPlan, start: int, size: int) -> Iterator[tuple[int, str, str]]:
    """Yield address, bytes in hex and text of a thunk's instructions."""
    from runtime.jit.disasm import decode  # lazy: capstone, 15 ms

    for at, code, _ in plan.chunks:
        if at <= start < at + len(code):
            piece = code[start - at : start - at + size]
            for address, length, mnemonic, operands in decode(piece, start):
                raw = piece[address - start : address - start + length]
                yield address, raw.hex(), f"{mnemonic} {operands}".strip()
