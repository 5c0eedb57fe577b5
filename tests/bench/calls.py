"""What a probe adds to one call: ours, Frida's and the kernel's, on the same function of the same process."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.bench.row import Row
from tests.tools.target import build
from tests.tools.tracing import Running, Tracer, counts, read_until

RUNS = 21
OURS = (
    ("count() at an entry", "uprobe:bench:step { @ = count(); }", 4.0),
    ("count() at a return", "uretprobe:bench:step { @ = count(); }", 5.0),
    ("count() at both", "uprobe:bench:step { @ = count(); } uretprobe:bench:step { @r = count(); }", 0.0),
    ("sum(arg1)", "uprobe:bench:step { @ = sum(arg1); }", 0.0),
    ("count() keyed by an argument", "uprobe:bench:step { @[arg0 & 63] = count(); }", 0.0),
    ("count() keyed by the thread", "uprobe:bench:step { @[tid] = count(); }", 0.0),
    ("hist(arg0)", "uprobe:bench:step { @ = hist(arg0); }", 0.0),
    ("a predicate that is false", "uprobe:bench:step /arg1 == 9/ { @ = count(); }", 0.0),
    ("a latency histogram by thread",
     "uprobe:bench:step { @s[tid] = nsecs; } uretprobe:bench:step { @ = hist(nsecs - @s[tid]); delete(@s[tid]); }", 35.0),
    ("a latency histogram in one go", "uretprobe:bench:step { @ = hist(elapsed_call); }", 35.0),
)  # fmt: skip
CHANGED = (
    ("override(), not decided", "uprobe:bench:step /arg1 == 9/ { override(1); }", 5.0),
    ("override(), decided: the call does not run", "uprobe:bench:step { override(1); }", 5.0),
    ("setret() at a return", "uretprobe:bench:step { setret(retval + 1); }", 0.0),
    ("count() inside the function", "uprobe:bench:step+4 { @ = count(); }", 20.0),
)
FRAMES = 14  # with run, step and what calls main: twenty
BATCH = 5_000_000
SCRIPT_JS = "let n = 0; Interceptor.attach(ptr('%s'), { onEnter() { n += 1; } });"
SCRIPT_C = """
const m = new CModule('#include <gum/guminterceptor.h>\\nextern volatile long n;\\nvoid onEnter(GumInvocationContext *c) { n++; }\\nvoid onLeave(GumInvocationContext *c) { }', { n: Memory.alloc(8) });
Interceptor.attach(ptr('%s'), m);
"""


class Loop:
    """The running target and how long its calls take."""

    def __init__(self, target: Running) -> None:
        self.target = target

    def best(self, calls: int) -> float:
        """Nanoseconds a call, the minimum of several runs."""
        return min(self.once(calls) for _ in range(RUNS)) / calls

    def once(self, calls: int) -> int:
        self.target.process.stdin.write(b"%d\n" % calls)
        self.target.process.stdin.flush()
        return counts(read_until(self.target.process.stdout, b"done\n"))["ns"]


def address(pid: int) -> str:
    """The function's address in the process."""
    listing = subprocess.run(["nm", str(build("bench"))], capture_output=True, text=True, check=True).stdout
    value = next(int(line.split()[0], 16) for line in listing.splitlines() if line.endswith(" step"))
    with open(f"/proc/{pid}/maps") as maps:
        base = next(line for line in maps if line.endswith(f"{build('bench')}\n"))
    return hex(int(base.split("-")[0], 16) + value)


@contextmanager
def frida(pid: int, text: str) -> Iterator[None]:
    import frida as package

    session = package.attach(pid)
    script = session.create_script(text % address(pid))
    script.load()
    yield
    script.unload()
    session.detach()


@contextmanager
def kernel(pid: int, provider: str) -> Iterator[None]:
    program = f"{provider}:{build('bench')}:step {{ @ = count(); }}"
    process = subprocess.Popen(
        ["bpftrace", "-e", program, "-p", str(pid)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    read_until(process.stdout, b"Attaching 1 probe")
    loop = os.times().elapsed
    while not _has_uprobe(pid) and os.times().elapsed - loop < 5:
        os.sched_yield()
    yield
    process.send_signal(2)
    process.communicate()


def _has_uprobe(pid: int) -> bool:
    at = int(address(pid), 16)
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        return any(os.pread(memory.fileno(), 1, at + i) == b"\xcc" for i in range(4))


def _others(pid: int) -> Iterator[tuple[str, AbstractContextManager[None] | str]]:
    try:
        import frida as package  # noqa: F401

        yield "Frida's Interceptor, JavaScript onEnter", frida(pid, SCRIPT_JS)
        yield "Frida's Interceptor, native onEnter", frida(pid, SCRIPT_C)
    except ImportError:
        yield "Frida's Interceptor", "no package frida"
    usable = shutil.which("bpftrace") and os.geteuid() == 0
    for provider in ("uprobe", "uretprobe"):
        reason = "needs root and bpftrace"
        yield f"the kernel's {provider}, count()", kernel(pid, provider) if usable else reason


def rows() -> Iterator[Row]:
    """Ours first, then the others."""
    with Running(build("bench")) as target:
        loop = Loop(target)
        bare = loop.best(20_000_000)
        yield Row("a bare call and its loop", bare, "ns")
        first = 0.0
        for name, program, goal in OURS:
            row = _added(loop, bare, f"+ {name}", program, goal)
            first = first or row.value
            yield row
        for name, program, goal in CHANGED:
            yield _added(loop, bare, f"+ {name}", program, goal, "--unsafe")
        after = loop.best(20_000_000)
        yield Row("a bare call after all were taken out", after, "ns", "the bare call", after / bare)
        for name, context in _others(target.pid):
            if isinstance(context, str):
                yield Row(f"+ {name}", 0, "ns", skipped=context)
                continue
            try:
                with context:
                    added = loop.best(20_000) - bare
            except (AssertionError, OSError, StopIteration) as error:
                yield Row(f"+ {name}", 0, "ns", skipped=str(error))
                continue
            yield Row(f"+ {name}", added, "ns", "our count() at an entry", added / first)
    yield from _elsewhere()


def _added(
    loop: Loop, bare: float, name: str, program: str, goal: float, *options: str, calls: int = BATCH
) -> Row:
    """What a script adds to a call."""
    with Tracer(("-q", *options, "-p", str(loop.target.pid), "-e", program)) as tracer:
        added = loop.best(calls) - bare
        tracer.end()
    return Row(name, added, "ns", "the bare call", added / bare, goal)


def _elsewhere() -> Iterator[Row]:
    """Markers, and stacks of twenty frames: in programs made for them."""
    with Running(build("bench", "-DMARKED")) as target:
        loop = Loop(target)
        bare = loop.best(20_000_000)
        for name, program in (
            ("count() at a marker", "usdt:bench:bench:stepped { @ = count(); }"),
            ("sum(arg1) at a marker", "usdt:bench:bench:stepped { @ = sum(arg1); }"),
        ):
            yield _added(loop, bare, f"+ {name}", program, 4.0)
    with Running(build("bench", f"-DDEPTH={FRAMES}", "-fomit-frame-pointer")) as target:
        loop = Loop(target)
        bare = loop.best(20_000_000)
        for name, program, goal in (
            ("a stack of 20 frames as a value", "uprobe:bench:step { @ = ustack(20); }", 2000.0),
            ("count() by a stack of 20 frames", "uprobe:bench:step { @[ustack(20)] = count(); }", 2000.0),
        ):
            yield _added(loop, bare, f"+ {name}", program, goal, calls=100_000)
