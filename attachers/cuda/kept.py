"""Woven images on disk, so that a program's second start takes no compiler; form: `runtime.jit.cache`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from attachers.cuda.assemble.result import Tool, Usage
from attachers.cuda.ptx.probe import KernelProbe, KernelReport, Op, Site, Space
from attachers.cuda.swapped import Action, Report, Swap
from runtime.jit import cache as files

KIND = "cuda"


@cache
def weaver_version() -> str:
    """Name what weaves: its sources."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for file in sorted([*folder.glob("*.py"), *folder.glob("ptx/*.py"), *folder.glob("assemble/*.py")]):
        about = file.stat()
        digest.update(f"{file.name} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def key_of(
    ptx: bytes, build: tuple[str, int, Tool | None], probes: Sequence[KernelProbe], kernels: Sequence[str]
) -> str:
    """Name a woven image by all that it is made from; `build` is options, architecture and assembler."""
    parts = [
        (
            *(p.body.text, sorted(p.body.inputs), p.place.value, p.number, sorted(p.ops), sorted(p.spaces)),
            *(p.body.isa, p.body.sm, p.body.unsafe_exit, p.kernels),
            [(name, p.kernel_number(name)) for name in kernels],
        )
        for p in probes
    ]
    digest = hashlib.sha256(ptx)
    digest.update(repr((build, parts, weaver_version())).encode())
    return digest.hexdigest()


def save(key: str, swap: Swap) -> None:
    """Keep an answer that replaces an image."""
    report = swap.report
    if report is None:
        return
    woven = swap.woven.encode("latin-1")
    head = {
        **{"action": swap.action.value, "woven": len(woven), "kernels": dict(swap.kernels)},
        "reports": [asdict(kernel) for kernel in report.kernels],
        "before": {name: asdict(usage) for name, usage in report.before.items()},
        "after": {name: asdict(usage) for name, usage in report.after.items()},
        **{"limited": dict(report.limited), "assembler": report.assembler, "warnings": report.warnings},
    }
    files.write(KIND, key, head, woven + swap.image)


def load(key: str, original: str) -> Swap | None:
    """Give a kept answer; `original` is the text that it was made from."""
    found = files.read(KIND, key)
    if found is None:
        return None
    head, raw = found
    try:
        size = int(head["woven"])
        report = Report(
            tuple(_kernel(row) for row in head["reports"]),
            _usages(head["before"]),
            _usages(head["after"]),
            *(head["limited"], head["assembler"], 0.0, tuple(head["warnings"])),
        )
        woven = raw[:size].decode("latin-1")
        return Swap(Action(head["action"]), raw[size:], head["kernels"], report, "", woven, original)
    except (KeyError, TypeError, ValueError):
        return None


def _usages(rows: Mapping[str, dict[str, int]]) -> dict[str, Usage]:
    return {name: Usage(**row) for name, row in rows.items()}


def _kernel(row: dict[str, Any]) -> KernelReport:
    sites = tuple(
        Site(**{**site, "op": Op(site["op"]), "space": Space(site["space"])}) for site in row.pop("sites")
    )
    return KernelReport(sites=sites, probes=tuple(row.pop("probes")), called=tuple(row.pop("called")), **row)
