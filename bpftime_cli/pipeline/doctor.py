"""`doctor`: what works on this machine, what does not and why, and what to do about it."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from bpftime_cli.console import Console
from bpftime_cli.pipeline.callscheck import findings_of_calls
from bpftime_cli.pipeline.cudacheck import findings_of_cuda
from bpftime_cli.pipeline.finding import Finding
from bpftime_cli.pipeline.selftest import counts_calls
from bpftime_cli.render.json import quoted
from runtime.errors import Problem

LIBRARIES = (
    ("llvmlite", True),
    ("capstone", True),
    ("typer", True),
    ("rich", True),
    ("frida", False),
    ("pyelftools", False),
)
IMPORTS = {"pyelftools": "elftools"}
CAP_SYS_PTRACE = 19  # linux/capability.h
ANSWER = "b7000000 2a000000 95000000 00000000"  # r0 = 42; exit


def doctor(pids: tuple[int, ...], form: str, console: Console) -> int:
    """Print every check; returns 1 when one failed."""
    failed = False
    for finding in _findings(pids):
        failed |= finding.level == "FAIL"
        console.data(_line(finding, form).encode("utf-8", "surrogateescape"))
        console.out.flush()
    return int(failed)


def _line(finding: Finding, form: str) -> str:
    if form == "json":
        names = ("level", "check", "detail", "do")
        values = (finding.level, finding.check, finding.detail, finding.cure)
        return "{" + ", ".join(f'"{n}": {quoted(v)}' for n, v in zip(names, values, strict=True)) + "}\n"
    cure = f"      do: {finding.cure}\n" if finding.cure else ""
    return f"{finding.level:<4}  {finding.check:<16}  {finding.detail}\n{cure}"


def _findings(pids: tuple[int, ...]) -> Iterator[Finding]:
    for check in CHECKS:
        try:
            yield from check()
        except (Problem, OSError, ValueError) as error:
            yield Finding(
                "warn", check.__name__.strip("_"), f"could not be looked at: {error}", "report this"
            )
    if pids:
        from bpftime_cli.pipeline.targetcheck import findings_of  # lazy: only with -p

        for pid in pids:
            yield from findings_of(pid)


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    yield Finding("ok" if good else "FAIL", "python", version, "" if good else "install Python 3.11 or later")


def _architecture() -> Iterator[Finding]:
    machine = platform.machine()
    good = machine == "x86_64" and sys.maxsize > 1 << 32
    yield Finding(
        "ok" if good else "FAIL", "architecture", machine, "" if good else "bpftime runs on 64-bit x86 Linux"
    )
    yield Finding("ok", "kernel", platform.release())


def _cpu() -> Iterator[Finding]:
    flags: set[str] = set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            flags = set(line.split(":", 1)[1].split())
            break
    found = [
        name for name in ("ibt", "user_shstk", "constant_tsc", "nonstop_tsc", "fsgsbase") if name in flags
    ]
    yield Finding("ok", "cpu", ", ".join(found) or "no special features")
    if "x86_Thread_features:\tshstk" in Path("/proc/self/status").read_text():
        yield Finding(
            "warn",
            "shadow stack",
            "in use: return-address swaps cannot work",
            "do not use --allow-return-swap",
        )


def _agent() -> Iterator[Finding]:
    from runtime.agent import build

    try:
        path = build.library()
    except build.NoCompiler as error:
        yield Finding("FAIL", "agent", str(error), "apt install gcc, or install a wheel that has the agent")
        return
    own = build.source_hash() if (build.FOLDER / "agent.c").exists() else ""
    fits = not own or own.encode() in path.read_bytes()
    yield Finding(
        "ok" if fits else "FAIL",
        "agent",
        f"{path} ({path.stat().st_size >> 10} KiB{f', build {own}' if own else ''})",
        "" if fits else f"rebuild it: remove {path} and run again",
    )


def _end_to_end() -> Iterator[Finding]:
    start = time.monotonic()
    try:
        counted = counts_calls()
    except Problem as error:
        yield Finding(
            "FAIL", "self test", f"probing the program true: {error}", error.hint or "see the checks above"
        )
        return
    took = (time.monotonic() - start) * 1000
    good = counted > 0
    yield Finding(
        "ok" if good else "FAIL",
        "self test",
        f"launched true with a probe: {counted} calls counted in {took:.0f} ms",
        "" if good else "the agent was loaded but nothing was counted; report this",
    )


def _rights() -> Iterator[Finding]:
    status = Path("/proc/self/status").read_text()
    capable = bool(int(_field(status, "CapEff"), 16) >> CAP_SYS_PTRACE & 1)
    no_new = _field(status, "NoNewPrivs") == "1"
    yield Finding(
        "ok",
        "rights",
        ("may trace any process" if capable else "own processes only")
        + (", no new privileges" if no_new else ""),
    )
    yama = Path("/proc/sys/kernel/yama/ptrace_scope")
    scope = yama.read_text().strip() if yama.exists() else "0"
    words = {
        "0": "running processes of this user can be attached to",
        "1": "only our own children can be attached to",
        "2": "attaching needs CAP_SYS_PTRACE",
        "3": "attaching is forbidden",
    }
    good = scope == "0" or (capable and scope in ("1", "2"))
    yield Finding(
        "ok" if good else "warn",
        "ptrace_scope",
        f"{scope}: {words.get(scope, 'unknown')}",
        "" if good else "launch programs with -- COMMAND, or: sudo sysctl kernel.yama.ptrace_scope=0",
    )


def _field(status: str, name: str) -> str:
    return next(
        (line.split(":", 1)[1].strip() for line in status.splitlines() if line.startswith(f"{name}:")), "0"
    )


def _visiting() -> Iterator[Finding]:
    from bpftime_cli.pipeline.selftest import visits_child

    try:
        visits_child()
    except Problem as error:
        yield Finding(
            "warn", "attach by PID", str(error), error.hint or "launch programs with -- COMMAND instead"
        )
        return
    yield Finding("ok", "attach by PID", "a running child was visited and left as it was")


def _memory() -> Iterator[Finding]:
    import os

    from runtime.shm.folder import base_folder

    base = base_folder()
    place = base if base.exists() else base.parent
    space = os.statvfs(place)
    free = space.f_bavail * space.f_frsize >> 20
    good = free >= 64
    yield Finding(
        "ok" if good else "warn",
        "sessions",
        f"{base}: {free} MiB free",
        "" if good else "named sessions need 64 MiB: set XDG_RUNTIME_DIR, or use --session-size",
    )
    fd = os.memfd_create("bpftime.doctor")
    os.close(fd)
    yield Finding("ok", "memfd", "can be made")
    cache = _cache_folder()
    yield Finding(
        "ok" if cache else "warn",
        "cache",
        cache or "no folder that can be written",
        "" if cache else "set BPFTIME_CACHE to a folder of your own: programs are compiled each time",
    )


def _cache_folder() -> str:
    from runtime.jit.cache import folder

    found = folder("image")
    return str(found.parent) if found else ""


def _security() -> Iterator[Finding]:
    enforce = Path("/sys/fs/selinux/enforce")
    if enforce.exists() and enforce.read_text().strip() == "1":
        yield Finding(
            "warn",
            "selinux",
            "enforcing: changing code in a process may be refused (execmem, execmod)",
            "see audit.log for avc: denied; allow execmod for the target's domain",
        )


def _libraries() -> Iterator[Finding]:
    import importlib

    for name, needed in LIBRARIES:
        start = time.perf_counter()
        try:
            importlib.import_module(IMPORTS.get(name, name))
            version = metadata.version(name)
        except (ImportError, metadata.PackageNotFoundError) as error:
            yield Finding("FAIL" if needed else "warn", name, str(error), f"pip install {name}")
            continue
        yield Finding("ok", name, f"{version}, imported in {(time.perf_counter() - start) * 1000:.0f} ms")


def _compile() -> Iterator[Finding]:
    from runtime.ebpf.hexprog import from_hex
    from runtime.jit.once import Run, run_once

    start = time.monotonic()
    found = run_once(Run("doctor", from_hex(ANSWER).programs[0])).r0
    took = (time.monotonic() - start) * 1000
    good = found == 42
    yield Finding(
        "ok" if good else "FAIL",
        "compiler",
        f"a program was verified, compiled and run in {took:.0f} ms",
        "" if good else f"it gave {found:#x} instead of 0x2a; reinstall llvmlite",
    )


def _compiler() -> Iterator[Finding]:
    from bpftime_cli.pipeline.csource import compiler

    try:
        words = compiler()
    except Problem as error:
        yield Finding("warn", "C for eBPF", f"{error} (only needed for .bpf.c files)", error.hint)
        return
    yield Finding("ok", "C for eBPF", words[0])


def _optional() -> Iterator[Finding]:
    vmlinux = Path("/sys/kernel/btf/vmlinux")
    yield Finding("ok", "kernel types", str(vmlinux) if vmlinux.exists() else "none (optional)")
    yield from findings_of_cuda()


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _architecture,
    _cpu,
    _agent,
    _libraries,
    _compile,
    _end_to_end,
    _rights,
    _visiting,
    _memory,
    _security,
    findings_of_calls,
    _compiler,
    _optional,
)
