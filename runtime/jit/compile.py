"""Compile verified programs to images: cache, lift, LLVM, layout, checks."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from runtime.errors import Bug
from runtime.helpers.table import HELPERS, Arg
from runtime.jit import blob, cache, context, disasm, llvm
from runtime.jit.convention import FRAMELESS, Inputs
from runtime.jit.image import Image, Relocation
from runtime.jit.unit import Build, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runtime.maps.spec import MapSpec
    from runtime.verify.result import Verified

__all__ = ["Build", "compile_program", "compile_programs"]


def wants_frame(verified: Verified) -> bool:
    """Tell whether a program needs its whole context in memory.

    That is so where it reads the context at a moving offset, hands it to a helper that looks at it, or
    calls another program.
    """
    if verified.program.context in FRAMELESS:
        return False
    if context.needs_frame(verified):
        return True
    for call in verified.calls.values():
        if call.helper not in HELPERS:
            continue
        helper = HELPERS[call.helper]
        ignored = {
            n for n, kind in enumerate(helper.args, 1) if kind is Arg.CONTEXT and helper.ignores_context
        }
        if call.helper == TAIL_CALL or call.context_args - ignored:
            return True
    return False


def compile_program(
    verified: Verified,
    maps: Mapping[str, MapSpec],
    build: Build,
    *,
    returns: bool = False,
    frame: bool | None = None,
) -> Image:
    """Compile one program for one build.

    `returns`: the thunk wants r0. `frame`: force (or forbid) a full context in memory; programs that call
    each other by a program array must all have one. Images are kept on disk, except cheap ones.

    Raises:
        Unsupported: the program asks for what user space cannot serve.
    """
    kind = verified.program.context
    full = wants_frame(verified) if frame is None else frame and kind not in FRAMELESS
    unit = Unit(verified, dict(maps), build, Inputs(kind, full, build.arguments), returns)
    if build.cheap:
        return _compile(unit)
    key = cache.image_key(verified, maps, build, (returns, full, sorted(verified.custom.items())))
    image = cache.load_image(key)
    if image is None:
        image = _compile(unit)
        cache.save_image(key, image)
    return image


def compile_programs(
    programs: Iterable[Verified], maps: Mapping[str, MapSpec], build: Build, *, returns: bool = False
) -> list[Image]:
    """Compile several programs of one object; where one calls another by a program array, all get frames.

    Raises:
        Unsupported: a program asks for what user space cannot serve.
    """
    all_of_them = list(programs)
    chained = any(call.helper == TAIL_CALL for verified in all_of_them for call in verified.calls.values())
    frame = True if chained else None
    return [compile_program(one, maps, build, returns=returns, frame=frame) for one in all_of_them]


def module_text(verified: Verified, maps: Mapping[str, MapSpec], build: Build, *, optimised: bool) -> str:
    """Give the LLVM module that a program becomes, as it is lifted or as it goes to the back end.

    Raises:
        Unsupported: the program asks for what user space cannot serve.
    """
    from runtime.jit.lift import lift  # lazy: an image from the cache needs none of it

    full = wants_frame(verified)
    unit = Unit(verified, dict(maps), build, Inputs(verified.program.context, full, build.arguments), False)
    text = lift(unit)
    return llvm.optimised(text) if optimised else text


def _compile(unit: Unit) -> Image:
    from runtime.jit.lift import lift  # lazy: an image from the cache needs none of it

    name, build = unit.verified.program.name, unit.build
    laid = blob.read(llvm.compile_ir(lift(unit), cheap=build.cheap))
    if laid.symbols.get("program") != 0:
        raise Bug(f"program '{name}' has no entry")
    relocations = tuple(
        Relocation(r.offset, r.kind, unit.symbols.get(r.symbol, r.symbol), r.addend) for r in laid.relocations
    )
    if not build.cheap:
        disasm.check(name, laid.code[: laid.text], returns=unit.returns)
    return _image(unit, laid, relocations)


def _image(unit: Unit, laid: blob.Blob, relocations: tuple[Relocation, ...]) -> Image:
    used = {r.symbol for r in relocations}
    sha = hashlib.sha256(laid.code + repr(relocations).encode()).hexdigest()
    maps = {name.partition(":")[2] for name in used if name.partition(":")[0] in MAP_SYMBOLS}
    return Image(
        sha256=sha,
        name=unit.verified.program.name,
        context=unit.inputs.kind,
        code=laid.code,
        relocations=relocations,
        words=tuple(unit.inputs.words),
        returns=unit.returns,
        frame=unit.inputs.frame,
        stack=0 if unit.build.cheap else disasm.stack_bytes(laid.code[: laid.text]),
        uses_process=bool(used & {"process"} or any(name.startswith("ring:") for name in used)),
        uses_faults=bool(used & FAULT_USERS),
        maps=tuple(sorted(maps)),
    )


DELETE, TAIL_CALL = 3, 12  # helpers map_delete_elem and tail_call
MAP_SYMBOLS = frozenset(("map", "head", "ring", "progs"))
FAULT_USERS = frozenset(f"agent:load_{n}" for n in (1, 2, 4, 8)) | {
    "agent:probe_read",
    "agent:probe_read_str",
    "agent:stack_walk",
    "agent:stack_id",
}


def thread_keyed(programs: Iterable[Verified]) -> frozenset[str]:
    """Name the maps whose every access, in all these programs, has a key that is the thread's id.

    Only maps that are deleted from: entries of threads that have ended are not kept for ever. The caller sets
    `MapSpec.thread_keyed` for those that are plain hashes before anything is laid out or compiled.
    """
    programs = list(programs)
    good: dict[str, bool] = {}
    for verified in programs:
        for call in verified.calls.values():
            if call.map:
                good[call.map] = good.get(call.map, True) and call.key_is_tid
    deleted = {call.map for verified in programs for call in verified.calls.values() if call.helper == DELETE}
    return frozenset(name for name, yes in good.items() if yes and name in deleted)
