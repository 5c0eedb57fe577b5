"""Probes of our own at the functions of the CUDA driver: the thread knocks, and we say what it does instead.

They are placed by the same engine as the user's probes, as ones that may decide that the function does not
run: that covers pointers which a program has got before we came. They need one copy for each address: a name
has several exported forms, and the driver hands out others by cuGetProcAddress.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

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
from runtime.symbols.ranges import ranges_of
from runtime.types import ContextKind

DRIVER = "libcuda.so"
WORDS = (OVERRIDE_FLAG, OVERRIDE_VALUE, "rsp", "func")
# push rax r9 r8 rcx rdx rsi rdi: the six arguments as an array, and the stack aligned for functions of others
PUSHES = "50 4151 4150 51 52 56 57"
POPS = "5f 5e 5a 59 4158 4159 58 c3"  # they come back as the tracer may have changed them; ret
UNKNOWN_SIZE = 16  # bytes of a function whose symbol tells none


@dataclass(frozen=True, slots=True)
class Wanted:
    """A function to hook: what runs there, and whether that may decide that the function does not run."""

    name: str
    address: int
    size: int
    image: Image
    decides: bool = True


class _Code:
    """Code in the making: hex with `R` for a 32-bit field that a symbol fills."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.relocations: list[Relocation] = []

    def add(self, text: str, *symbols: tuple[str, str]) -> _Code:
        """Append code; `symbols`: (kind, name) of its fields in order."""
        names = iter(symbols)
        for part in text.split():
            if part == "R":
                kind, symbol = next(names)
                self.relocations.append(Relocation(len(self.bytes), kind, symbol, -4))
                self.bytes += bytes(4)
            else:
                self.bytes += bytes.fromhex(part)
        return self


def _word(value: int) -> str:
    return value.to_bytes(4, "little").hex()


def image_of(number: int, function: str = "on_cuda") -> Image:
    """Return the program of a hook: it calls `function(region, arguments, number, words)` of the agent."""
    # mov rsi, rsp; lea rcx, [rsp + 64]: the words; mov edx, number; mov rdi, region; call
    calls = f"4889e6 488d4c2440 ba{_word(number)} 488b3d R e8 R"
    code = _Code().add(f"{PUSHES} {calls} {POPS}", ("got", "region"), ("plt", f"agent:{function}"))
    return Image(
        f"hook:{function}:{number}",
        f"{function}{number}",
        ContextKind.UPROBE,
        bytes(code.bytes),
        tuple(code.relocations),
        WORDS,
        False,
        False,
        0,
        False,
        False,
    )


LAUNCH = protocol.CUDA_LAUNCH.size
ROOM = 96  # bytes on the stack for what is launched


def launch_image(form: int, program: Image) -> Image:
    """Return a program that runs another with what is launched: its address and size, as `run` does.

    `form`: as `on_launch` takes it, with the bit of the probe. The other's words lie behind our own.
    """
    count = len(program.words)
    whole = count + count % 2  # the stack stays aligned
    behind = ROOM + 64  # of the stack pointer: where the words begin
    code = _Code().add(f"{PUSHES} 4883ec60 488d742460 ba{_word(form)} 488d8c24{_word(behind)} 4989e0")
    code.add("488b3d R e8 R 4885c0", ("got", "region"), ("plt", "agent:on_launch"))
    inner = _Code().add("4883ec08" if whole > count else "")
    for pushed in range(count):
        at = behind + 8 * (len(WORDS) + count - 1 - pushed) + 8 * (pushed + whole - count)
        inner.add(f"ffb424{_word(at)}")
    inner.add(f"488dbc24{_word(8 * whole)} be{_word(LAUNCH)}")
    rest = 5 + 7  # call rel32; add rsp, imm32
    code.add(f"0f84{_word(len(inner.bytes) + rest)}")
    code.bytes += inner.bytes
    end = f"4881c4{_word(8 * whole)} 4883c460 {POPS}"
    start = (
        len(code.bytes) + 5 + len(bytes.fromhex(end.replace(" ", ""))) + program.align - 1
    ) & -program.align
    code.add(f"e8 R {end}", ("pc32", f"self:{start}"))
    code.bytes += b"\xcc" * (start - len(code.bytes)) + program.code
    moved = [_moved(one, start) for one in program.relocations]
    return replace(
        program,
        sha256=f"launch:{form}:{program.sha256}",
        context=ContextKind.UPROBE,
        code=bytes(code.bytes),
        relocations=(*code.relocations, *moved),
        words=(*WORDS, *program.words),
    )


def _moved(one: Relocation, start: int) -> Relocation:
    own, _, offset = one.symbol.partition(":")
    symbol = f"self:{int(offset) + start}" if own == "self" else one.symbol
    return replace(one, offset=one.offset + start, symbol=symbol)


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


def size_of(module: Module, address: int) -> int:
    """Return the bytes of a function that has no symbol, 0 where its unwind entries tell none."""
    found = ranges_of(module.elf).containing(address - module.bias)
    return found[1] - (address - module.bias) if found else 0


def place(target: Target, session: Session, wanted: Iterable[Wanted]) -> dict[str, str]:
    """Hook functions that have no hook of ours; returns those that cannot be hooked, with the reason.

    Raises:
        TargetProblem: the process cannot be reached.
        AttachProblem: it cannot be patched at all.
    """
    owner = session.region.id
    unique = {(one.address, one.image.sha256): one for one in wanted}.values()
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
    size, when = one.size or UNKNOWN_SIZE, When.OVERRIDE if one.decides else When.ENTRY
    return Probe(one.name, module, one.address, size, one.address, when, one.image, 0, link, owner)
