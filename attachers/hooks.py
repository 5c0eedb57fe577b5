"""Probes of our own: where a process loads libraries, and where it becomes another program.

They are placed like the user's, as one link of the session, so they leave with it. Their programs are a few
instructions that call the agent, which knocks at the session's desk (`runtime/agent/desk.c`).

The loader calls an empty function before and after each change of what is loaded, for debuggers to break
at: `r_debug.r_brk` of <link.h>, `_dl_debug_state` in glibc and musl. Nothing of a new library has run then.
"""

from __future__ import annotations

from functools import lru_cache

from attachers.patch.chain import chain
from attachers.patch.plan import HOOK_LINK, Probe, When
from attachers.target import Target
from attachers.uprobe import FunctionAttacher
from runtime.agent import protocol
from runtime.agent.protocol import SiteState
from runtime.errors import ObjectProblem
from runtime.jit.image import Image, Relocation
from runtime.shm.session import Session
from runtime.symbols.elf import FUNC, ElfFile, Symbol
from runtime.symbols.modules import Module
from runtime.types import ContextKind

LOADERS = ("ld-linux", "ld-musl", "libc.so", "ld.so", "ld-")
BREAK = "_dl_debug_state"
DEBUG = ("_r_debug", "_dl_debug_addr")
# name → how its arguments name the program; see `on_exec` in desk.c
EXECS = {"execve": 0, "execveat": 1, "fexecve": 2}


def raw_image(name: str, code: str, relocations: tuple[tuple[str, str], ...]) -> Image:
    """Assemble `code`, hex with `R` for a 32-bit field that the relocations fill in order."""
    out, places = bytearray(), []
    for part in code.split():
        if part == "R":
            places.append(len(out))
            out += bytes(4)
        else:
            out += bytes.fromhex(part)
    fields = tuple(
        Relocation(at, kind, symbol, -4) for at, (kind, symbol) in zip(places, relocations, strict=True)
    )
    return Image(
        f"hook:{name}", name, ContextKind.UPROBE, bytes(out), fields, (), False, False, 0, False, False
    )


def _load_image() -> Image:
    # push rdi; mov rdi, region; call on_load; pop rdi; ret
    return raw_image("load", "57 488b3d R e8 R 5f c3", (("got", "region"), ("plt", "agent:on_load")))


def _exec_image(which: int) -> Image:
    return raw_image(
        f"exec{which}",
        "57 56 52"  # push rdi; push rsi; push rdx
        " 4150 51 52 56 57"  # push r8; push rcx; push rdx; push rsi; push rdi: the five arguments as an array
        f" 4889e6 ba{which:02x}000000 488b3d R e8 R"  # mov rsi, rsp; mov edx, which; mov rdi, region; call
        " 4883c428 5a 5e 5f c3",  # add rsp, 40; pop rdx; pop rsi; pop rdi; ret
        (("got", "region"), ("plt", "agent:on_exec")),
    )


def watch_loads(target: Target, session: Session, wait_ms: int, *, starting: bool) -> bool:
    """Let the process tell us of libraries that come and go; returns False where it has no loader.

    `wait_ms`: how long a thread that loads one waits for us. `starting`: the loader has not run yet.

    Raises:
        AttachProblem: the loader's function cannot be probed.
        TargetProblem: the process cannot be reached.
    """
    found = _loader(target)
    if found is None:
        return False
    module, function = found
    debug, slot = _debug_of(module)
    if not debug and not slot:
        return False
    values = {"debug": debug, "debug_slot": slot, "wait_ms": wait_ms, "started": 0 if starting else 1}
    for name, value in values.items():
        _set(target, name, value)
    _place(target, session, [(module, function, _load_image())])
    return True


def watch_unloads(target: Target) -> None:
    """Let the process tell us also before it unloads: there are probes in libraries that came later."""
    _set(target, "watches", 1)


def _set(target: Target, name: str, value: int) -> None:
    field = protocol.HOOKS.fields[name]
    target.memory.write(
        target.state + protocol.STATE_HOOKS + field.offset, value.to_bytes(field.size, "little")
    )


def watch_execs(target: Target, session: Session) -> None:
    """Let the process tell us when it, or a child it forks, becomes another program.

    Raises:
        TargetProblem: the process cannot be reached.
    """
    _place(
        target,
        session,
        [
            (module, function, _exec_image(EXECS[function.name]))
            for module in target.modules
            for function in _named(module.elf, tuple(EXECS))
        ],
    )


def is_hook(link: int) -> bool:
    """Return whether a link is one of ours and none of the user's."""
    return link >= HOOK_LINK


def _loader(target: Target) -> tuple[Module, Symbol] | None:
    for module in target.modules:
        if module.path.rpartition("/")[2].startswith(LOADERS):
            function = next(iter(_named(module.elf, (BREAK,))), None)
            if function is not None:
                return module, function
    return None


@lru_cache(maxsize=64)
def _named(elf: ElfFile, names: tuple[str, ...]) -> tuple[Symbol, ...]:
    """Return one function for each address that bears one of these names."""
    try:
        found = {s.value: s for s in elf.functions if s.name in names and s.kind == FUNC}
    except ObjectProblem:
        return ()
    return tuple(found.values())


@lru_cache(maxsize=8)
def _data(elf: ElfFile) -> tuple[Symbol, ...]:
    return tuple(s for s in elf.symbols() if s.name in DEBUG)


def _debug_of(module: Module) -> tuple[int, int]:
    """Return the address of the loader's `struct r_debug`, or of a pointer to it (musl), 0 for none."""
    for symbol in _data(module.elf):
        if symbol.name == "_r_debug":
            return module.bias + symbol.value, 0
        if symbol.name == "_dl_debug_addr":
            return 0, module.bias + symbol.value
    return 0, 0


def _place(target: Target, session: Session, wanted: list[tuple[Module, Symbol, Image]]) -> None:
    attacher = FunctionAttacher(target, session)
    probes = [
        Probe(
            function.name,
            module,
            module.bias + function.value,
            function.size or 1,
            module.bias + function.value,
            When.ENTRY,
            image,
            0,
            HOOK_LINK,
            session.region.id,
        )
        for module, function, image in wanted
        if not is_placed(target, session.region.id, module.bias + function.value, function.size or 1)
    ]
    if probes:
        attacher.apply(attacher.plan(probes))


def is_placed(target: Target, session: bytes, start: int, size: int) -> bool:
    """Return whether a function has a probe of our own."""
    return any(
        node.session == session and is_hook(node.link)
        for site in target.sites
        if site.state == SiteState.ARMED and start <= site.at < start + size
        for node in chain(target, site)
    )
