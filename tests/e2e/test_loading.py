"""Libraries that come and go: probes wait for them, fire in their constructors, and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import (
    BPFTIME,
    PATIENCE,
    Running,
    Tracer,
    bpftime,
    changed,
    counts,
    environment,
    text_of,
    wait_for_probes,
)

STEPS = "uprobe:plugin.so:plugin_step { @ = count(); } uretprobe:plugin.so:plugin_step { @r = count(); }"


def plugin(compiler: str = "", name: str = "plugin.so") -> str:
    if compiler and not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    return str(build("plugin", "-shared", "-fPIC", as_name=name, compiler=compiler))


def launch(
    program: str, *words: str, options: tuple[str, ...] = ()
) -> tuple[dict[str, int], dict[str, int], str]:
    """Launch a target under `trace`; its own counts, ours, and what was said."""
    argv = [*BPFTIME, "trace", "-q", "--no-warnings", *options, "-e", program, "--", *words]
    done = subprocess.run(
        argv, input=b"\n\n", capture_output=True, timeout=PATIENCE, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    return counts(done.stdout), counts(done.stdout), done.stderr.decode()


@pytest.mark.parametrize(
    ("how", "rounds", "loads", "calls"),
    [
        ("plain", 1, 1, 10),
        ("plain", 100, 100, 1000),
        ("namespace", 5, 5, 50),
        ("closing", 3, 4, 40),
    ],
)
def test_every_call_from_the_constructor_on(how: str, rounds: int, loads: int, calls: int) -> None:
    own, got, err = launch(STEPS, str(build("loads")), plugin(), str(rounds), how)
    assert (own["calls"], own["wrong"], err) == (calls, 0, "")
    assert (got["@:"], got["@r:"]) == (calls + loads, calls + loads)


def test_four_threads_load_and_unload() -> None:
    """How often the constructor runs is up to the threads: each call of theirs is counted."""
    own, got, _ = launch(STEPS, str(build("loads")), plugin(), "25", "threads")
    assert (own["calls"], own["wrong"]) == (1000, 0)
    assert 1000 < got["@:"] <= 1100
    assert got["@:"] == got["@r:"]


@pytest.mark.parametrize(
    "pattern", ["plugin*:plugin_step", "*:plugin_step", "{path}:plugin_step", "plug*:*_step"]
)
def test_patterns_take_what_is_loaded_later(pattern: str) -> None:
    path = plugin()
    program = f"uprobe:{pattern.replace('{path}', path)} {{ @[func] = count(); }}"
    _, got, _ = launch(program, str(build("loads")), path, "3", "plain")
    assert got["@[plugin_step]:"] == 33


def test_two_libraries_of_one_pattern_one_there_from_the_start() -> None:
    """The loader's own library has been probed when the other one comes: both count."""
    program = "uprobe:plug*:plugin_step,uprobe:libc.so.6:puts { @[func] = count(); }"
    _, got, _ = launch(program, str(build("loads")), plugin(), "2", "kept")
    assert got["@[plugin_step]:"] == 21  # loaded once, so one constructor
    assert got["@[puts]:"] == 3


def test_musl_loads_too() -> None:
    host = shutil.which("musl-gcc") and build(
        "loads", "-DLM_ID_NEWLM=0", "-Ddlmopen(a,b,c)=dlopen(b,c)", compiler="musl-gcc"
    )
    if not host:
        pytest.skip("no musl-gcc")
    own, got, _ = launch(STEPS, str(host), plugin("musl-gcc"), "3", "plain")
    assert (own["calls"], own["wrong"]) == (30, 0)
    assert got["@:"] == 31  # musl never unloads: one constructor


def test_a_library_with_exceptions() -> None:
    """A return probe that calls the body tells the unwinder of its frame, on the loading thread itself."""
    program = "uprobe:libz.so.1:deflate { @in = count(); } uretprobe:libz.so.1:deflate { @out = count(); }"
    script = "import ctypes, zlib; z = ctypes.CDLL('libz.so.1'); print('calls', len(zlib.compress(b'x' * 100000)) > 0)"
    argv = [*BPFTIME, "trace", "-q", "--no-warnings", "-e", program, "--", sys.executable, "-c", script]
    done = subprocess.run(argv, capture_output=True, timeout=PATIENCE, env=environment(), check=False)
    if b"was loaded" in done.stderr:
        pytest.skip("this Python has zlib inside")
    assert done.returncode == 0, done.stderr
    got = counts(done.stdout)
    assert got["@in:"] == got["@out:"] > 0


def test_a_function_that_the_library_chooses() -> None:
    """Its resolver runs in the process, and may only when the library is relocated: a moment later."""
    library = build("plugin", "-shared", "-fPIC", "-DINDIRECT", as_name="chosen.so")
    with Running(build("loads"), library, "2", "kept") as target:
        program = "uprobe:chosen.so:plugin_step { @ = count(); }"
        with Tracer(("-q", "--no-warnings", "--pending", "-p", str(target.pid), "-e", program)) as tracer:
            target.go()
            target.until(b"round\n")
            wait_for_probes(target.pid, library)
            target.said = b""
            target.go()
            target.until(b"round\n")
            ended = tracer.end()
        target.go()
        assert counts(target.until(b"done\n"))["wrong"] == 0
        assert target.end() == 0
    assert (ended.err, ended.status) == ("", 0)
    assert 10 <= counts(ended.out.encode())["@:"] <= 20


# --- a running process ---


def test_a_running_process_needs_to_be_asked_for() -> None:
    with Running(build("loads"), plugin(), "1", "plain") as target:
        done = bpftime("trace", "-q", "-p", str(target.pid), "-e", STEPS)
        assert done.returncode == 1
        assert b"ERROR: no 'plugin.so' among the " in done.stderr
        with Tracer(("-q", "--no-warnings", "--pending", "-p", str(target.pid), "-e", STEPS)) as tracer:
            assert target.work()["wrong"] == 0
            ended = tracer.end()
        assert target.end() == 0
    assert counts(ended.out.encode()) == {"@:": 11, "@r:": 11}


def test_everything_is_as_before_afterwards() -> None:
    """Traced while the library was loaded, unloaded and loaded: then no byte differs, and it runs on."""
    with Running(build("loads"), plugin(), "4", "kept") as target:
        before = text_of(target.pid)
        for _ in range(2):
            with Tracer(("-q", "--no-warnings", "--pending", "-p", str(target.pid), "-e", STEPS)) as tracer:
                target.said = b""
                target.go()
                target.until(b"round\n")
                loaded = text_of(target.pid)
                ended = tracer.end()
            assert (ended.err, ended.status) == ("", 0)
            assert counts(ended.out.encode())["@:"] >= 10
            assert changed(before, text_of(target.pid)) == []
            after = {key: text for key, text in text_of(target.pid).items() if "plugin" in key[0]}
            assert changed(loaded, after) != []  # our jumps are out of it
            assert all(text in Path(key[0]).read_bytes() for key, text in after.items())
        target.said = b""
        for _ in range(2):
            target.go()
        target.go()
        assert counts(target.until(b"done\n"))["wrong"] == 0
        assert target.end() == 0


def test_a_tracer_that_leaves_in_the_middle_of_loading() -> None:
    """It is interrupted, or killed, while four threads load and unload: nobody waits for it."""
    for number in (2, 9):
        with Running(build("loads"), plugin(), "200", "threads") as target:
            with Tracer(("-q", "--no-warnings", "--pending", "-p", str(target.pid), "-e", STEPS)) as tracer:
                target.go()
                ended = tracer.end(number)
            assert ended.status == (0 if number == 2 else -9), ended.err
            got = counts(target.until(b"done\n"))
            assert (got["calls"], got["wrong"]) == (8000, 0)
            assert target.end() == 0


def test_a_static_program_loads_nothing() -> None:
    with Running(build("loop", "-static", as_name="still"), "1", "100") as target:
        done = bpftime(
            "trace",
            "-q",
            "--pending",
            "--duration",
            "100ms",
            "-p",
            str(target.pid),
            "-e",
            "uprobe:plugin.so:f { @ = count(); }",
        )
        assert b"has no loader that could be watched: it is statically linked" in done.stderr
        assert done.returncode == 0
        assert target.work()["calls"] == 100
        assert target.end() == 0


def test_children_load_too() -> None:
    """A fork child that loads a library is asked in its own name."""
    script = (
        "import ctypes, os, sys\n"
        "for i in range(3):\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        p = ctypes.CDLL(sys.argv[1]); [p.plugin_step(n) for n in range(10)]; os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
    )
    _, got, _ = launch(
        "uprobe:plugin.so:plugin_step { @ = count(); @p[pid] = count(); }",
        sys.executable,
        "-c",
        script,
        plugin(),
    )
    assert got.pop("@:") == 33
    assert sorted(got.values()) == [11, 11, 11]


def test_a_slip_of_the_pen_is_told_at_once() -> None:
    done = bpftime("trace", "-q", "-e", "uprobe:libcc.so.6:malloc { @ = count(); }", "--", "true")
    assert done.returncode == 1
    assert b"WARNING: no 'libcc.so.6' among the 3 files mapped by " in done.stderr
    assert b"HINT: did you mean libc.so.6?" in done.stderr


def test_a_library_of_the_system_waits_without_a_word() -> None:
    library = next(
        (
            p
            for p in map(Path, ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"))
            if (p / "libm.so.6").exists()
        ),
        None,
    )
    if library is None:
        pytest.skip("no libm")
    script = "import ctypes; m = ctypes.CDLL('libm.so.6'); m.lround(0)"
    done = bpftime(
        "trace",
        "-q",
        "-e",
        "uprobe:libc.so.6:malloc { @m = count(); } uprobe:libm.so.6:lround { @ = count(); }",
        "--",
        "python3",
        "-c",
        script,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert counts(done.stdout)["@:"] == 1
    assert os.environ.get("LD_PRELOAD") is None
