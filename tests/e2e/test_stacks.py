"""Call stacks without frame pointers: the frames that gdb shows, in every mode, past our own thunks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import BPFTIME, Running, Tracer, environment

NO_FRAMES = ("-fomit-frame-pointer", "-fno-inline")
PAGE = 0xFFF
NESTED = "import os\ndef a(n): return os.getppid() if n == 0 else sorted([n], key=lambda n: a(n - 1))\na(4)\n"
needs_gdb = pytest.mark.skipif(not shutil.which("gdb"), reason="needs gdb")


def stacks(out: str) -> list[list[str]]:
    """The function names of each printed stack, innermost first; `-` for an unknown one."""
    found = []
    for text in re.findall(r"^begin\n\n((?:        \S.*\n)*)", out, re.M):
        names = [line.strip().rpartition("+")[0] or "-" for line in text.splitlines()]
        found.append(names)
    return found


# Frames that gdb makes up, for what was compiled in place or only jumped on, are left out.
GDB = """
set pagination off
set confirm off
set debuginfod enabled off
set breakpoint pending on
set backtrace past-main on
handle SIGUSR1 nostop noprint pass
break FUNCTION
commands
silent
python
frame, found = gdb.newest_frame(), []
while frame:
    if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
        found.append("%x" % frame.pc())
    frame = frame.older()
print("STACK " + " ".join(found))
end
continue
end
run
"""


def by_gdb(function: str, *argv: str) -> list[list[int]]:
    """Stacks at each stop of gdb at a breakpoint: addresses in their pages, which loading leaves alone."""
    with tempfile.NamedTemporaryFile("w", suffix=".gdb") as script:
        script.write(GDB.replace("FUNCTION", function))
        script.flush()
        done = subprocess.run(
            ["gdb", "-q", "-batch", "-x", script.name, "--args", *argv],
            input="\n\n", capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    lines = re.findall(r"^STACK (.*)", done.stdout, re.M)
    return [[int(word, 16) & PAGE for word in line.split()][1:] for line in lines]


def by_us(
    probe: str, *argv: str, mode: str = "bpftrace", options: tuple[str, ...] = (), stdin: str = "\n\n"
) -> str:
    program = f'{probe} {{ print("begin"); print(ustack({mode})); }}'
    done = subprocess.run(
        [*BPFTIME, "trace", "-q", *options, "-e", program, "--", *argv],
        input=stdin, capture_output=True, text=True, timeout=60, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def addresses(out: str) -> list[list[int]]:
    """Our raw stacks, without the innermost address, likewise."""
    texts = re.findall(r"^begin\n\n((?:[0-9a-f]+\n)*)", out, re.M)
    return [[int(line, 16) & PAGE for line in text.splitlines()][1:] for text in texts]


@needs_gdb
def test_the_frames_of_a_c_program_are_those_of_gdb() -> None:
    program = str(build("stacks", *NO_FRAMES))
    ours = addresses(by_us("uprobe:stacks:stack_here", program, mode="raw"))
    theirs = by_gdb("stack_here", program)
    assert len(ours) == 5
    assert ours == theirs


@needs_gdb
def test_the_frames_of_python_are_those_of_gdb() -> None:
    ours = addresses(by_us("uprobe:libc.so.6:getppid", sys.executable, "-S", "-c", NESTED, mode="raw"))
    theirs = by_gdb("getppid", sys.executable, "-S", "-c", NESTED)
    assert len(theirs[0]) > 20
    assert ours == theirs


@pytest.mark.parametrize("options", [(), ("--allow-return-swap",)])
def test_our_own_thunks_are_not_shown(options: tuple[str, ...]) -> None:
    """Each level's return is probed, so between the frames lie thunks or replaced return addresses."""
    probe = "uretprobe:stacks:recursion { @ = count(); } uretprobe:stacks:variable { @ = count(); } uprobe:stacks:stack_here"
    program = str(build("stacks", *NO_FRAMES))
    found = stacks(by_us(probe, program, options=options))
    assert found[0][:6] == ["stack_here", "recursion", "recursion", "recursion", "recursion", "main"]
    assert found[-2][:4] == ["stack_here", "variable", "realigned", "main"]


def test_modes_and_limits() -> None:
    program = str(build("stacks", *NO_FRAMES))
    text = 'printf("%s|%s|%s|%s|", ustack(2), ustack(perf, 2), ustack(raw, 2), ustack(build_id, 1)); exit();'
    done = subprocess.run(
        [*BPFTIME, "trace", "-q", "-e", f"uprobe:stacks:stack_here {{ {text} }}", "--", program],
        input="\n\n", capture_output=True, text=True, timeout=60, env=environment(), check=False,
    )  # fmt: skip
    plain, perf, raw, by_id = re.sub("ready\n|done\n", "", done.stdout).split("|")[:4]
    assert re.fullmatch(
        r"\n        stack_here\+0@\S+/stacks\.c:\d+\n        recursion\+\d+@\S+/stacks\.c:\d+\n", plain
    )
    assert re.fullmatch(
        rf"\n\t[0-9a-f]+ stack_here\+0 \({program}\)\n\t[0-9a-f]+ recursion\+\d+ \(.*\)\n", perf
    )
    assert re.fullmatch(r"\n[0-9a-f]+\n[0-9a-f]+\n", raw)
    assert re.fullmatch(r"\n[0-9a-f]{40} 0x[0-9a-f]+\n", by_id)


def test_stacks_are_keys() -> None:
    """The same stack is one key, also from different calls of one place."""
    with Running(build("loop"), "2", "500") as target:
        with Tracer(
            (
                *("-q", "-p", str(target.pid), "-e"),
                "config = { show_debug_info = false } uprobe:loop:step { @[ustack(2)] = count(); }",
            )
        ) as tracer:
            target.work()
            ended = tracer.end()
        assert target.end() == 0
    assert re.search(r"@\[\n        step\+0\n        \w+\+\d+\n\]: 1000\n", ended.out), ended.out


@needs_gdb
def test_lines_of_the_source_are_those_of_gdb() -> None:
    program = str(build("stacks", *NO_FRAMES))
    text = 'printf("%s|%s|", ustack(raw, 6), ustack(6)); exit();'
    with Running(program) as target:
        with Tracer(("-q", "-p", str(target.pid), "-e", f"uprobe:stacks:stack_here {{ {text} }}")) as tracer:
            target.work()
            ended = tracer.end(0)
        raw, plain = ended.out.split("|")[:2]
        maps = Path(f"/proc/{target.pid}/maps").read_text().splitlines()
        start = min(int(line.partition("-")[0], 16) for line in maps if line.endswith(program))
        target.end()
    asked = [
        f"info line *{int(address, 16) - start - (1 if number else 0):#x}"
        for number, address in enumerate(raw.split())
    ]
    words = [word for command in asked for word in ("-ex", command)]
    said = subprocess.run(
        ["gdb", "-q", "-batch", *words, program], capture_output=True, text=True, timeout=60, check=False
    ).stdout
    lines = re.findall(r"Line (\d+) of", said)
    assert len(lines) >= 3
    assert re.findall(r"stacks\.c:(\d+)$", plain, re.M)[: len(lines)] == lines
