"""System calls that are not made, or whose result is another one: by scripts and by objects."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.tools.compile_bpf import TARGETS, compile_bpf, has_clang
from tests.tools.tracing import bpftime

ASK = "import os; print(os.getpid(), os.getuid(), os.geteuid(), os.getppid() > 0)"


def test_results_are_set_before_and_after_the_call() -> None:
    done = bpftime(
        "trace",
        "-q",
        "--unsafe",
        "-e",
        "tracepoint:syscalls:sys_enter_getpid { override(77); }"
        " tracepoint:syscalls:sys_exit_getpid { @seen[args.ret] = count(); }"
        " tracepoint:syscalls:sys_exit_getuid { setret(5); }"
        " tracepoint:raw_syscalls:sys_exit /args.id == 107/ { setret(6); }",
        "--",
        sys.executable,
        "-c",
        ASK,
    )
    assert done.returncode == 0
    assert done.stdout.splitlines() == [b"77 5 6 True", b"@seen[77]: 1"]


def test_a_call_that_is_left_out_is_not_made(tmp_path: Path) -> None:
    kept, gone = tmp_path / "kept", tmp_path / "gone"
    kept.touch()
    gone.touch()
    done = bpftime(
        "trace",
        "-q",
        "--unsafe",
        "-e",
        'tracepoint:syscalls:sys_enter_unlinkat /strcontains(str(args.pathname), "kept")/ { override(-13); }'
        " tracepoint:syscalls:sys_exit_unlinkat { @[args.ret] = count(); }",
        "--",
        "rm",
        "-f",
        str(kept),
        str(gone),
    )
    assert (kept.exists(), gone.exists()) == (True, False)
    assert b"Permission denied" in done.stderr
    assert done.stdout.splitlines() == [b"@[-13]: 1", b"@[0]: 1"]


@pytest.mark.skipif(not has_clang(), reason="no clang")
def test_an_object_leaves_calls_out(tmp_path: Path) -> None:
    code = compile_bpf(TARGETS / "deny.bpf.c")
    if code is None:
        pytest.skip("no headers of libbpf")
    file, kept = tmp_path / "deny.bpf.o", tmp_path / "kept"
    file.write_bytes(code)
    kept.touch()
    done = bpftime("load", str(file), "--", "rm", "-f", str(kept))
    assert kept.exists()
    assert b"Operation not permitted" in done.stderr


def test_several_programs_decide_at_one_place() -> None:
    """`syscall()` makes calls of any number: each program looks at its own, the first that decides ends it."""
    ask = "import ctypes; call = ctypes.CDLL(None).syscall; print(call(39), call(102), call(110) > 0)"
    program = "tracepoint:syscalls:sys_enter_{} {{ override({}); }}"
    programs = [program.format(*pair) for pair in (("getpid", 7), ("getuid", 8), ("getuid", 9))]
    done = bpftime("trace", "-q", "--unsafe", "-e", " ".join(programs), "--", sys.executable, "-c", ask)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"7 8 True\n", b"")


def test_it_needs_to_be_allowed() -> None:
    done = bpftime("trace", "-e", "tracepoint:syscalls:sys_enter_getpid { override(1); }", "--", "true")
    assert done.returncode == 1
    assert b"unsafe" in done.stderr
