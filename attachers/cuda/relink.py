"""Programs built in parts (`-rdc=true`): the driver gets linked machine code, the PTX lies in the file.

All parts of the file are woven and linked anew. What comes out must have every kernel that the image had.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from attachers.cuda.assemble import nvjitlink, tools
from attachers.cuda.assemble.cubin import ELF_MAGIC, usage_of
from attachers.cuda.assemble.options import is_relocatable, replayed
from attachers.cuda.assemble.result import Tool, Usage
from attachers.cuda.choosing import best_ptx, wanted
from attachers.cuda.extra import EXTRA
from attachers.cuda.fatbin import ELF, MAGIC_BYTES, Entry, ImageProblem, parse
from attachers.cuda.making import target_of
from attachers.cuda.ptx import reader
from attachers.cuda.ptx.probe import KernelProbe
from attachers.cuda.ptx.weave import weave
from attachers.cuda.swapped import Action, Report, Swap
from runtime.errors import Problem


def parts_of(images: Sequence[bytes]) -> list[bytes]:
    """Give those images of a file that are made to be linked with others."""
    return [image for image in images if image[:4] == MAGIC_BYTES and _is_part(image)]


def _is_part(image: bytes) -> bool:
    try:
        return any(is_relocatable(entry.options) for entry in parse(image).entries)
    except Problem:
        return False


def relink(
    image: bytes, parts: Sequence[bytes], device: tuple[int, int], probes: Sequence[KernelProbe]
) -> Swap:
    """Weave the parts of a file and link them.

    Args:
        image: what the driver would get, or a part of it.
        parts: every part of the file that the image comes from.
        device: architecture and driver version.
        probes: what is woven in.

    Raises:
        Problem: a part has no PTX for this device, or the parts cannot be linked.
    """
    began = time.monotonic()
    arch, driver = device
    texts = [_text(index, part, arch) for index, part in enumerate(parts)]
    if not any(wanted(text.image(), probes) for text in texts):
        raise ImageProblem("the parts of its file have no such kernels")
    modules = [reader.parse(text.image().decode("latin-1")) for text in texts]
    woven = [weave(module, probes, arch) for module in modules]
    tool = _linker(max(module.version for module in modules), driver)
    target = target_of(modules[0], arch)
    images = [
        (nvjitlink.PTX, f"part{i}.ptx", one.text.encode("latin-1") + b"\0") for i, one in enumerate(woven)
    ]
    done = nvjitlink.link(images, target, replayed(texts[0].options), tool)
    before = _usage(image)
    lost = sorted(set(before) - set(done.usage))
    if lost and not _is_part(image):
        raise ImageProblem(f"'{lost[0]}' is in none of the parts of its file")
    kernels = tuple(kernel for one in woven for kernel in one.kernels)
    warnings = tuple(warning for one in woven for warning in one.warnings)
    report = Report(kernels, before, done.usage, {}, str(tool), time.monotonic() - began, warnings)
    numbers = {kernel.name: kernel.number for kernel in kernels}
    text, plain = "\n".join(one.text for one in woven), "\n".join(module.text for module in modules)
    return Swap(Action.REPLACE, done.cubin, numbers, report, "", text, plain)


def _text(index: int, part: bytes, arch: int) -> Entry:
    best = best_ptx(parse(part).entries, arch)
    if best is None:
        raise ImageProblem(f"part {index} of its file has no PTX for sm_{arch}")
    return best


def _linker(isa: tuple[int, int], driver: int) -> Tool:
    for tool in tools.found():
        fits = tool.isa >= isa and (not driver or tool.version[0] <= driver // 1000)
        if tool.name == "nvjitlink" and fits:
            return tool
    raise ImageProblem("it is linked of parts, which takes nvJitLink", hint=EXTRA)


def _usage(image: bytes) -> dict[str, Usage]:
    cubins = [image] if image[:4] == ELF_MAGIC else []
    if image[:4] == MAGIC_BYTES:
        cubins = [entry.image() for entry in parse(image).entries if entry.kind == ELF]
    return {name: usage for cubin in cubins for name, usage in usage_of(cubin).items()}
