"""How long it takes until probes are armed, for one and for thousands, and what they leave in the process's memory."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.row import Row
from tests.tools.session import Script
from tests.tools.target import build
from tests.tools.tracing import BPFTIME, Running, Tracer, environment

RUNS = 5
MANY = 2000
COUNT = "uprobe:libc.so.6:malloc { @ = count(); }"
PYTHON = (
    sys.executable,
    "-c",
    "import sys, zlib, hashlib, ssl; print('ready', flush=True); sys.stdin.readline()",
)


def _seconds(argv: list[str], cache: str | None) -> float:
    """Seconds from the start of the command until it says that its probes are armed."""
    env = environment(**({"XDG_CACHE_HOME": cache} if cache else {}))
    start = time.perf_counter()
    with Tracer(tuple(argv), env=env) as tracer:
        armed = time.perf_counter() - start
        tracer.process.send_signal(2)
        tracer.process.wait()
    return armed


def _first_probe() -> Iterator[Row]:
    launch = ["-q", "-e", COUNT, "--", "sleep", "0.05"]
    python = _python()
    for name, how in (("launch", launch), ("-p", None)):
        with Running(build("loop"), "1", "1") as target:
            argv = how or ["-q", "-e", COUNT, "-p", str(target.pid)]
            with tempfile.TemporaryDirectory() as folder:
                cold = _seconds(argv, folder)
            warm = min(_seconds(argv, None) for _ in range(RUNS))
        yield Row(f"first probe armed, {name}, warm", warm * 1000, "ms", "python -c pass", warm / python, 300)
        yield Row(
            f"first probe armed, {name}, empty cache", cold * 1000, "ms", "python -c pass", cold / python
        )


def _python() -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        times.append(time.perf_counter() - start)
    return min(times)


def memory(pid: int) -> dict[str, int]:
    """Private dirty KiB of a process: our mappings, text that became private, and all together."""
    found = {"ours": 0, "text": 0, "all": 0, "shared": 0}
    name, rights = "", ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = re.match(r"[0-9a-f]+-[0-9a-f]+ (\S+) \S+ \S+ \S+\s*(.*)", line)
        if head:
            rights, name = head[1], head[2]
        elif line.startswith("Private_Dirty:"):
            size = int(line.split()[1])
            found["all"] += size
            if "bpftime" in name:
                found["ours"] += size
            elif "x" in rights and name.startswith("/"):
                found["text"] += size
    return found


def _library(pid: int) -> str:
    with open(f"/proc/{pid}/maps") as maps:
        text = maps.read()
    names = [n for n in ("libpython3", "libcrypto.so") if n in text]
    return re.search(rf"{re.escape(names[0])}\S*", text)[0] if names else "libc.so.6"


def _many() -> Iterator[Row]:
    with Running(*PYTHON) as target:
        library = _library(target.pid)
        before = memory(target.pid)
        script = Script(f"uprobe:{library}:* {{ @ = count(); }}")
        attacher = script.open(target.pid)
        image = script.programs.image(script.script.probes[0].program, attacher.target.build_kind)
        one = Script(COUNT)
        one.open(target.pid)
        one.arm()
        single = memory(target.pid)
        yield Row("memory added by one probe", single["all"] - before["all"], "KiB", goal=200)
        from attachers.base import UPROBE
        from attachers.uprobe import Hook

        plans, arms, disarms, sites = [], [], [], 0
        for _ in range(RUNS):
            attacher.target.refresh()
            start = time.perf_counter()
            plan = attacher.plan(attacher.resolve(Hook(1, image, library, "*", UPROBE))[:MANY])
            planned = time.perf_counter()
            attacher.apply(plan)
            armed = time.perf_counter()
            full = memory(target.pid)
            sites = len(plan.sites)
            begin = time.perf_counter()
            script.disarm()
            disarms.append(time.perf_counter() - begin)
            plans.append(planned - start)
            arms.append(armed - planned)
        both = [p + a for p, a in zip(plans, arms, strict=True)]
        yield Row(f"attach to {sites} functions of {library[:14]}, first", both[0] * 1000, "ms")
        yield Row("  the same again", min(both) * 1000, "ms", "its detach", min(both) / min(disarms), 300)
        yield Row("  of which planning", min(plans) * 1000, "ms", "attach", min(plans) / min(both))
        yield Row("  of which writing", min(arms) * 1000, "ms", "attach", min(arms) / min(both))
        yield Row("detach", min(disarms) * 1000, "ms", "its attach", min(disarms) / min(both), 300)
        yield Row(
            "memory added by these: our own",
            full["ours"] + full["all"] - full["text"] - single["all"] + single["text"] - single["ours"],
            "KiB",
        )
        yield Row("memory added by these: text made private", full["text"] - before["text"], "KiB")


def _command() -> Iterator[Row]:
    with Running(*PYTHON) as target:
        library = _library(target.pid)
        argv = ["-q", "--no-warnings", "-e", f"uprobe:{library}:* {{ @ = count(); }}", "-p", str(target.pid)]
        times = []
        for _ in range(2):
            start = time.perf_counter()
            done = subprocess.run(
                [*BPFTIME, "trace", "--dry-run", *argv], env=environment(), capture_output=True, check=False
            )
            times.append(time.perf_counter() - start)
        yield Row(
            f"command: all of {library[:14]}, in and out",
            min(times) * 1000,
            "ms",
            skipped="" if done.returncode == 0 else f"status {done.returncode}",
        )


def rows() -> Iterator[Row]:
    """The first probe, then two thousand."""
    yield from _first_probe()
    yield from _many()
    yield from _command()
