"""`cuda list` and `cuda weave`: kernels of files, with no process and no device."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from attachers.cuda.attacher import kernel_probe
from attachers.cuda.data import KernelData
from attachers.cuda.files import Row, images_in, kernels_in
from attachers.cuda.images import swap
from attachers.cuda.names import any_matches, near, short_name
from attachers.cuda.ptx.probe import KernelProbe
from attachers.cuda.swapped import Action, Swap
from attachers.cuda.swapping import described
from bpftime_cli.console import Console
from bpftime_cli.pipeline.cuda import PROVIDERS, data_of
from bpftime_cli.pipeline.headers import Headers, surroundings
from bpftime_cli.pipeline.objects import LoadedPrograms, read_object
from runtime.elf import load
from runtime.errors import Problem, UsageProblem
from runtime.lang import Options, compile_script
from runtime.nvptx.compile import bodies
from runtime.types import DEVICE_KINDS, ContextKind

CONTEXTS = {"cuda": ContextKind.CUDA, "cudaret": ContextKind.CUDA_RETURN, "cudamem": ContextKind.CUDA_MEMORY}
MODEL_S = {"kprobe": "cuda", "kretprobe": "cudaret"}  # section names of the model for programs named cuda__…
_ARCH = re.compile(r"(?:sm_|compute_)?(\d{2,3})[af]?\Z")
_OBJECTS = (".o", ".c")


@dataclass(frozen=True, slots=True)
class Request:
    """What `weave` was asked. `arch` empty: the PTX's own; `image` −1: the only one with such kernels."""

    file: str
    probes: tuple[str, ...]
    output: str
    arch: str
    assembler: str
    image: int


@dataclass(frozen=True, slots=True)
class _Device:
    arch: int
    driver: int = 0


@dataclass(frozen=True, slots=True)
class _Attach:
    """One probe before it is compiled: which program goes where."""

    programs: LoadedPrograms
    program: str
    provider: str
    data: KernelData


# --- list


def list_kernels(file: str, form: str, console: Console) -> int:
    """Print the kernels of a file.

    Raises:
        Problem: the file cannot be read, or holds no CUDA code.
    """
    rows = [row for index, image in enumerate(_images(file)) for row in kernels_in(index, image)]
    if form == "json":
        console.data(json.dumps({"kernels": [_json(row) for row in rows if row.name]}).encode() + b"\n")
    else:
        console.table(
            ("IMAGE", "KERNEL", "PTX", "CODE", "REGISTERS", "MEMORY"),
            [_cells(row) for row in rows if row.name],
        )
    console.out.flush()
    console.warn(f"image {row.image}: {row.problem}" for row in rows if row.problem)
    return 0


def _cells(row: Row) -> tuple[str, ...]:
    registers = ",".join(str(usage.registers) for _, usage in row.code)
    return (
        *(str(row.image), short_name(row.name), ",".join(row.ptx) or "-"),
        *(",".join(arch for arch, _ in row.code) or "-", registers or "-"),
        str(row.sites) if row.sites >= 0 else "-",
    )


def _json(row: Row) -> dict[str, object]:
    code = {arch: {"registers": u.registers, "stack": u.stack, "shared": u.shared} for arch, u in row.code}
    sites = row.sites if row.sites >= 0 else None
    shown = {"image": row.image, "name": row.name, "demangled": short_name(row.name)}
    return {**shown, "ptx": list(row.ptx), "code": code, "memory": sites}


def _images(file: str) -> list[bytes]:
    try:
        found = images_in(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or "not a file name"
        raise Problem(
            f"failed to open file '{file}': {text}", hint="give PTX, a fatbin, a cubin or a program"
        ) from None
    if not found:
        raise Problem(f"'{file}' holds no CUDA code", hint="give PTX, a fatbin, a cubin or a program")
    return found


# --- weave


def weave(request: Request, console: Console) -> int:
    """Weave probes into an image of a file and write what comes out.

    Raises:
        Problem: a file cannot be read, a probe is wrong, no kernel is meant, or the image cannot be woven.
    """
    if not request.probes:
        raise UsageProblem("weave needs --probe", hint="--probe 'cuda:KERNEL { @ = count(); }'")
    images = _images(request.file)
    probes = compiled_probes(*request.probes)
    index = _chosen(images, probes, request)
    arch = _arch(request.arch) or _own_arch(images[index], index)
    kind = Path(request.output).suffix if request.output else ""
    assembler = request.assembler if kind in (".cubin", ".fatbin") else "driver"
    whole = kind == ".fatbin"
    done = swap(images[index], _Device(arch), probes, assembler, container=whole, parts=lambda: images)
    if done.action is Action.PASS:
        raise Problem(done.reason or f"no kernel of {request.file} for sm_{arch} is meant")
    if kind == ".cubin" and done.action is Action.PTX:
        raise Problem("there is no assembler here for this PTX", hint="pip install 'bpftime[cuda]'")
    _told(done, probes, console)
    _write(done, kind, request.output, console)
    return 0


def compiled_probes(*texts: str) -> list[KernelProbe]:
    """Compile scripts, files of scripts and objects to probes of kernels.

    Raises:
        Problem: a file cannot be read, a program is refused, or there is none for kernels.
    """
    return _compiled([attach for text in texts for attach in _attaches(text)])


def _attaches(text: str) -> Iterator[_Attach]:
    """Read one `--probe`: an object, a file with a script, or the script itself."""
    if text.endswith(_OBJECTS) and Path(text).exists():
        programs = LoadedPrograms(load(read_object(text), text))
        yield from _of_object(programs)
        return
    is_file = "{" not in text and Path(text).exists()
    source, name = (Path(text).read_text(errors="surrogateescape"), text) if is_file else (text, "stdin")
    around = surroundings(Headers((), ()), os.environ)
    options = Options(environment=dict(os.environ), unsafe=True, around=around)
    script = compile_script(source, name, options)
    programs = LoadedPrograms(script.object)
    for probe in script.probes:
        if probe.provider not in PROVIDERS:
            raise Problem(f"{probe.provider} is no probe of kernels", span=probe.span, hint=_FORMS)
        data = data_of(probe.provider, probe.parts)
        yield _Attach(programs, probe.program, probe.provider, data)


_FORMS = "write cuda:KERNEL, cudaret:KERNEL or cudamem:KERNEL"


def _of_object(programs: LoadedPrograms) -> Iterator[_Attach]:
    """Yield the programs of an object that are for kernels, by their sections."""
    for program in programs.object.programs:
        prefix, _, rest = program.section.removeprefix("?").partition("/")
        is_models = program.name.startswith("cuda__")
        provider = MODEL_S.get(prefix, prefix) if is_models else prefix
        if provider in PROVIDERS and rest:
            is_text = provider != prefix  # the model's own private data
            data = KernelData.from_string(rest) if is_text else data_of(provider, tuple(rest.split(":")))
            yield _Attach(programs, program.name, "cudamem" if data.ops else provider, data)


def _compiled(attaches: Sequence[_Attach]) -> list[KernelProbe]:
    """Compile the programs of all probes.

    Raises:
        Problem: a program is refused, or there is none for kernels.
    """
    if not attaches:
        raise Problem("no program for kernels", hint=_FORMS)
    probes: list[KernelProbe] = []
    for attach in attaches:
        verified = attach.programs.verified(attach.program, CONTEXTS[attach.provider])
        order = _order(attach.programs)
        body = bodies([verified], attach.programs.maps, order)[0]
        number = len(probes)
        probes.append(kernel_probe(body, attach.data, PROVIDERS[attach.provider], number, lambda _name: 1))
    return probes


def _order(programs: LoadedPrograms) -> list[str]:
    """Give the maps that programs of devices use, in the order of their index."""
    devices = (p for p in programs.object.programs if p.context in DEVICE_KINDS)
    used = {name for program in devices for name in program.map_refs.values()}
    return [name for name in programs.maps if name in used]


def _chosen(images: Sequence[bytes], probes: Sequence[KernelProbe], request: Request) -> int:
    """Give the number of the image to weave.

    Raises:
        Problem: no image has such kernels, or several have.
    """
    if request.image >= 0:
        if request.image >= len(images):
            raise UsageProblem(f"--image: there is no image {request.image}", hint=f"there are {len(images)}")
        return request.image
    patterns = [pattern for probe in probes for pattern in probe.kernels]
    rows = [row for index, image in enumerate(images) for row in kernels_in(index, image)]
    meant = [row for row in rows if row.name and any_matches(patterns, row.name)]
    found = sorted({row.image for row in meant if row.ptx} or {row.image for row in meant})
    if len(found) == 1:
        return found[0]
    if found:
        numbers = ", ".join(map(str, found))
        raise Problem(f"images {numbers} have such kernels", hint="choose one with --image")
    problems = [row.problem for row in rows if row.problem]
    names = [name for pattern in patterns for name in near(pattern, [row.name for row in rows if row.name])]
    hint = (
        f"did you mean {', '.join(dict.fromkeys(names))}?" if names else "bpftime cuda list shows its kernels"
    )
    raise Problem(
        problems[0] if problems and len(images) == 1 else f"no kernel matches '{patterns[0]}'", hint=hint
    )


def _arch(text: str) -> int:
    if not text:
        return 0
    found = _ARCH.match(text)
    if not found:
        raise UsageProblem(f"--arch: not an architecture: '{text}'", hint="write sm_90")
    return int(found[1])


def _own_arch(image: bytes, index: int) -> int:
    """Give the newest architecture that an image has PTX for."""
    archs = [arch for row in kernels_in(index, image) for arch in row.ptx]
    numbers = [int(found[1]) for found in map(_ARCH.match, archs) if found]
    return max(numbers, default=90)


def _told(done: Swap, probes: Sequence[KernelProbe], console: Console) -> None:
    """Say what was woven, and which probes no kernel had."""
    if done.report is None:
        return
    for kernel in done.report.kernels:
        counts = (
            (len(kernel.probes), "probe"),
            (kernel.exits, "exit"),
            (len(kernel.sites), "memory operation"),
        )
        text = ", ".join(f"{count} {what}{'s' * (count != 1)}" for count, what in counts)
        console.note(f"{short_name(kernel.name)}: {text}")
    for line in described(done.report)[1:]:
        console.note(line.strip())
    console.warn(done.report.warnings)
    for probe in probes:
        if not _is_used(probe, done):
            console.warn([f"no kernel matches '{', '.join(probe.kernels)}'"])


def _is_used(probe: KernelProbe, done: Swap) -> bool:
    return any(any_matches(probe.kernels, name) for name in done.kernels)


def _write(done: Swap, kind: str, output: str, console: Console) -> None:
    data = done.image if kind in (".cubin", ".fatbin") else done.woven.encode("latin-1")
    if not output:
        console.data(data)
        console.out.flush()
        return
    try:
        Path(output).write_bytes(data)
    except OSError as error:
        raise Problem(f"cannot write '{output}': {error.strerror}") from None
