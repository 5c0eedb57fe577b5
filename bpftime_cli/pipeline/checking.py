"""`check` and `run`: verify a file without loading it, run one program or thousands on given memory."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bpftime_cli import scripts
from bpftime_cli.console import Console
from bpftime_cli.pipeline.debuginfo import ScriptDebug
from bpftime_cli.pipeline.headers import Headers, surroundings
from bpftime_cli.pipeline.objects import LoadedPrograms, read_object
from bpftime_cli.render.json import quoted
from runtime.btf import Btf
from runtime.ebpf.hexprog import from_hex
from runtime.ebpf.object import Program
from runtime.elf import load
from runtime.elf.sections import read as read_elf
from runtime.errors import Problem, Unsupported, UsageProblem
from runtime.jit.once import Outcome, Run, run_batch, run_once
from runtime.types import ContextKind
from runtime.verify import verify

MAX_REPEAT = 1 << 32


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification says about one program; `reason` is empty for `accept`."""

    section: str
    name: str
    verdict: str
    reason: str = ""
    problem: Problem | None = None
    is_loaded: bool = True


def check(file: str, params: tuple[str, ...], form: str, console: Console, headers: Headers) -> int:
    """Print a verdict for each program; returns 1 when the file would be refused.

    `params`: those of a script; one that is not given stands for anything in the name of a probe.

    Raises:
        Problem: the file cannot be read as an object or a script.
    """
    verdicts = [
        _verdict(program, programs)
        for programs in [_programs_of(file, params, headers)]
        for program in programs.object.programs
    ]
    if form == "json":
        rows = ", ".join(
            f'{{"section": {quoted(v.section)}, "name": {quoted(v.name)}, "verdict": "{v.verdict}", '
            f'"reason": {quoted(v.reason)}}}'
            for v in verdicts
        )
        console.data(f'{{"programs": [{rows}]}}\n'.encode("utf-8", "surrogateescape"))
    else:
        console.table(
            ("VERDICT", "SECTION", "NAME", "REASON"),
            [(v.verdict, v.section, v.name, v.reason) for v in verdicts],
        )
    console.out.flush()
    refused = [v for v in verdicts if v.problem is not None and v.is_loaded]
    for verdict in refused:
        if verdict.problem is not None:
            console.problem(verdict.problem)
    return 1 if refused else 0


def _programs_of(file: str, params: tuple[str, ...], headers: Headers) -> LoadedPrograms:
    ready = None if Path(file).exists() else scripts.find(file)
    if ready or file.endswith(scripts.SUFFIX):
        from runtime.lang import Options, compile_script  # lazy: only for scripts

        try:
            text = (ready or Path(file)).read_text(errors="surrogateescape")
        except (OSError, ValueError) as error:
            raise Problem(
                f"failed to open file '{file}': {getattr(error, 'strerror', None) or 'not a file name'}",
                hint="give a script or an object",
            ) from None
        options = Options(
            params=params,
            environment=dict(os.environ),
            unsafe=True,
            around=surroundings(headers, os.environ),
            debug=ScriptDebug(),
            anything=True,
        )
        return LoadedPrograms(compile_script(text, file, options).object)
    return LoadedPrograms(load(read_object(file), file))


def _verdict(program: Program, programs: LoadedPrograms) -> Verdict:
    try:
        verify(program, programs.maps, programs.object.btf)
    except Unsupported as problem:
        return _refused(program, "unsupported", problem)
    except Problem as problem:
        return _refused(program, "reject", problem)
    return Verdict(program.section, program.name, "accept")


def _refused(program: Program, verdict: str, problem: Problem) -> Verdict:
    place = f"{problem.span}: " if problem.span is not None else ""
    told = Problem(
        f"program '{program.section}:{program.name}' refused: {problem}", span=problem.span, hint=problem.hint
    )
    return Verdict(program.section, program.name, verdict, f"{place}{problem}", told, program.autoload)


# --- run


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What `run` was asked: a file and a program in it, or `hex` (a file, or -); `memory` as hex digits."""

    file: str = ""
    program: str = ""
    hex: str = ""
    btf: str = ""
    memory: str = ""


def run(request: RunRequest, console: Console) -> int:
    """Run one program once and print r0 in hex.

    Raises:
        Problem: it is refused, crashes or does not end.
    """
    memory = _memory(request.memory)
    if request.hex:
        one = Run("", from_hex(_text_of(request.hex)).programs[0], memory)
    else:
        one = _of_file(request, memory)
    outcome = run_once(one)
    console.data(f"{outcome.r0:x}\n".encode())
    console.out.flush()
    return 0


def _memory(text: str) -> bytes:
    digits = "".join(text.split())
    digits = digits[2:] if digits[:2] in ("0x", "0X") else digits
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise Problem(f"memory is not hex: '{text[:40]}'", hint="two digits a byte, such as 01020a") from None


def _text_of(name: str) -> str:
    if name == "-":
        return sys.stdin.buffer.read().decode("latin-1")
    try:
        return Path(name).read_text(encoding="latin-1")
    except (OSError, ValueError) as error:
        raise Problem(
            f"failed to open file '{name}': {getattr(error, 'strerror', None) or 'not a file name'}",
            hint="--hex takes a file with hex digits, or - for standard input",
        ) from None


def _of_file(request: RunRequest, memory: bytes) -> Run:
    targets = (_read_btf(request.btf),) if request.btf else ()
    programs = LoadedPrograms(load(read_object(request.file), request.file, targets))
    every = programs.object.programs
    if not request.program and len(every) > 1:
        raise UsageProblem("which program?", hint=f"--program takes {', '.join(p.name for p in every)}")
    program = programs.program(request.program) if request.program else every[0]
    return Run(
        program.name, replace(program, context=ContextKind.MEMORY), memory, tuple(programs.maps.values())
    )


def _read_btf(name: str) -> Btf:
    """Return the types of a file: raw BTF, or an ELF file that has a .BTF section."""
    try:
        data = Path(name).read_bytes()
    except (OSError, ValueError) as error:
        raise Problem(
            f"failed to open file '{name}': {getattr(error, 'strerror', None) or 'not a file name'}",
            hint="--btf takes raw BTF or an ELF file with BTF",
        ) from None
    if not data.startswith(b"\x7fELF"):
        return Btf(data, name)
    section = read_elf(data, name).section(".BTF")
    if section is None:
        raise Problem(f"{name} has no BTF", hint="compile it with -g, or give raw BTF")
    return Btf(section.data, name)


def batch(console: Console) -> int:
    """Run one program for each line of standard input; an answer a line, in order, whatever the lines are."""
    for outcome in run_batch(map(_line, _lines())):
        console.data(_answer(outcome))
        console.out.flush()
    return 0


def _lines() -> Iterator[bytes]:
    while line := sys.stdin.buffer.readline():
        if line.strip():
            yield line


def _line(raw: bytes) -> Run | Outcome:
    name = ""
    try:
        entry: Any = json.loads(raw)
        if not isinstance(entry, dict):
            return Outcome("", error="the line is no JSON object")
        name = str(entry.get("name", ""))
        program, memory, repeat = entry.get("prog"), entry.get("mem") or "", entry.get("repeat", 1)
        if not isinstance(program, str) or not isinstance(memory, str):
            return Outcome(name, error="'prog' and 'mem' are strings of hex digits")
        if not isinstance(repeat, int) or isinstance(repeat, bool) or not 0 < repeat <= MAX_REPEAT:
            return Outcome(name, error="'repeat' is a number from 1 on")
        return Run(name, from_hex(program).programs[0], _memory(memory), repeat=repeat)
    except (ValueError, RecursionError) as error:
        return Outcome(name, error=f"the line is no JSON object: {error}")
    except Problem as problem:
        return Outcome(name, error=str(problem))


def _answer(outcome: Outcome) -> bytes:
    if outcome.error:
        return json.dumps({"name": outcome.name, "error": outcome.error}).encode() + b"\n"
    return json.dumps({"name": outcome.name, "r0": f"{outcome.r0:x}"}).encode() + b"\n"
