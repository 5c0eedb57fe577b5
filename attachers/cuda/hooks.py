"""Probes of our own at the functions of the CUDA driver: the thread knocks, and we say what it does instead.

They are placed by the same engine as the user's probes, as ones that may decide that the function does not
run: that covers pointers which a program has got before we came. They need one copy for each address: a name
has several exported forms, and the driver hands out others by cuGetProcAddress.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attachers.hooks import is_placed
from attachers.patch.plan import HOOK_LINK, Probe, When
from attachers.patch.thunk import OVERRIDE_FLAG, OVERRIDE_VALUE
from attachers.target import Target
from attachers.uprobe import FunctionAttacher
from runtime.agent import protocol
from runtime.jit.image import Image, Relocation
from runtime.shm.session import Session
from runtime.symbols.elf import FUNC, Symbol
from runtime.symbols.modules import Module
from runtime.types import ContextKind

DRIVER = "libcuda.so"
WORDS = (OVERRIDE_FLAG, OVERRIDE_VALUE, "rsp", "func")
# push rax r9 r8 rcx rdx rsi rdi: the six arguments as an array, and the stack aligned for functions of others
PUSHES = "50 4151 4150 51 52 56 57"
POPS = "5f 5e 5a 59 4158 4159 58 c3"  # they come back as the tracer may have changed them; ret
UNKNOWN_SIZE = 16  # bytes of a function whose symbol tells none


@dataclass(frozen=True, slots=True)
class Wanted:
    """A function to hook: `number` is what its knock says; `quiet`: not for arguments that are known."""

    name: str
    number: int
    address: int
    size: int
    quiet: bool = False
    returns: bool = True


def _image(number: int) -> Image:
    """Return the program of a hook: it calls `on_cuda(region, arguments, number, words)` of the agent."""
    # mov rsi, rsp; lea rcx, [rsp + 64]: the words; mov edx, number; mov rdi, region; call
    calls = f"4889e6 488d4c2440 ba{number.to_bytes(4, 'little').hex()} 488b3d R e8 R"
    code, relocations = bytearray(), []
    symbols = iter((("got", "region"), ("plt", "agent:on_cuda")))
    for part in f"{PUSHES} {calls} {POPS}".split():
        if part == "R":
            kind, symbol = next(symbols)
            relocations.append(Relocation(len(code), kind, symbol, -4))
            code += bytes(4)
        else:
            code += bytes.fromhex(part)
    return Image(
        f"hook:cuda{number}",
        f"cuda{number}",
        ContextKind.UPROBE,
        bytes(code),
        tuple(relocations),
        WORDS,
        False,
        False,
        0,
        False,
        False,
    )


def driver_of(target: Target) -> Module | None:
    """Return the CUDA driver's library, None where the process has not loaded it."""
    return next((m for m in target.modules if m.path.rpartition("/")[2].startswith(DRIVER)), None)


def exported(module: Module) -> dict[str, Symbol]:
    """Return the functions of a library by name."""
    found: dict[str, Symbol] = {}
    for symbol in module.elf.functions:
        if symbol.kind == FUNC:
            found.setdefault(symbol.name, symbol)
    return found


def place(target: Target, session: Session, wanted: Iterable[Wanted]) -> dict[str, str]:
    """Hook functions that are not hooked yet; returns those that cannot be, with the reason.

    Raises:
        TargetProblem: the process cannot be reached.
        AttachProblem: it cannot be patched at all.
    """
    owner = session.region.id
    unique = {one.address: one for one in wanted}.values()
    fresh = [one for one in unique if not is_placed(target, owner, one.address, one.size or UNKNOWN_SIZE)]
    probes = [p for n, one in enumerate(fresh) if (p := _probe(target, owner, one, HOOK_LINK + 1 + n))]
    if not probes:
        return {}
    attacher = FunctionAttacher(target, session)
    plan = attacher.plan(probes)
    attacher.apply(plan)
    by_link = {p.link: p.name for p in probes}
    return {by_link[link]: str(problem) for link, problem in plan.refused.items()}


def _probe(target: Target, owner: bytes, one: Wanted, link: int) -> Probe | None:
    module = target.module_of(one.address)
    if module is None:
        return None
    image = _image(one.number | (protocol.CUDA_ANY if one.quiet else 0))
    size = one.size or UNKNOWN_SIZE
    when = When.OVERRIDE if one.returns else When.ENTRY
    return Probe(one.name, module, one.address, size, one.address, when, image, 0, link, owner)
