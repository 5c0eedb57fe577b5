"""Programs that make tracing hard: signal storms, process trees, exceptions, every register watched."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.tools.target import build, has_compiler
from tests.tools.tracing import (
    BPFTIME,
    PATIENCE,
    Ended,
    Running,
    Tracer,
    changed,
    counts,
    environment,
    text_of,
)


def traced(argv: list[str], program: str, *more: str) -> tuple[dict[str, int], Ended]:
    """Run a target under a tracer from before its work until after it; its own counts and the tracer's end."""
    with Running(build(argv[0]), *argv[1:]) as target:
        before = text_of(target.pid)
        with Tracer(("-q", "-p", str(target.pid), *more, "-e", program)) as tracer:
            own = target.work()
            ended = tracer.end()
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0
    assert ended.status == 0, ended.err
    return own, ended


def test_signals_on_top_of_probes() -> None:
    program = "uprobe:storm:work_step,uprobe:storm:in_handler { @[func] = count(); @t[tid] = count(); } uretprobe:storm:work_step { @r = count(); @h = hist(retval); }"
    own, ended = traced(["storm", "4", "400000"], program)
    got = counts(ended.out.encode())
    assert own["handled"] > 10
    assert (got["@[work_step]:"], got["@[in_handler]:"], got["@r:"]) == (
        own["steps"],
        own["handled"],
        own["steps"],
    )


def test_latency_by_thread_under_signals() -> None:
    program = "uprobe:storm:work_step { @s[tid] = nsecs; } uretprobe:storm:work_step /@s[tid]/ { @ns = hist(nsecs - @s[tid]); delete(@s[tid]); @n = count(); }"
    own, ended = traced(["storm", "2", "100000"], program)
    got = counts(ended.out.encode())
    assert own["steps"] - own["handled"] - 8 <= got["@n:"] <= own["steps"]


@pytest.mark.parametrize(
    "body",
    ["@ = count();", "@[arg0, arg1] = count();", "@ = hist(arg0);", "@[comm, pid] = sum(nsecs);",
     'printf("%d %s\\n", arg5, comm);', "@[tid] = nsecs; delete(@[tid]);", "@ = stats(arg2 / (arg3 + 1));"],
)  # fmt: skip
def test_all_registers_are_kept(body: str) -> None:
    """Entry and return probe of each class of program: nothing but dead flags may change."""
    for provider in ("uprobe", "uretprobe"):
        text = body if provider == "uprobe" else body.replace("arg0", "retval").replace("arg1", "retval")
        for number in ("2", "3", "5"):
            text = text if provider == "uprobe" else text.replace(f"arg{number}", "retval")
        own, _ = traced(["registers", "200"], f"{provider}:registers:probed {{ {text} }}")
        assert own == {"probed": 200, "wrong": 0}


def test_inside_a_function_all_registers_are_kept() -> None:
    own, ended = traced(["registers", "200"], "uprobe:registers:probed+7 { @ = count(); }")
    assert own == {"probed": 200, "wrong": 0}
    assert ended.out == "@: 200\n"


@pytest.mark.skipif(not has_compiler("thrown"), reason="no g++")
def test_exceptions_pass_through() -> None:
    program = "uprobe:thrown:thrower,uprobe:thrown:between { @in[func] = count(); } uretprobe:thrown:thrower,uretprobe:thrown:between { @out[func] = count(); }"
    own, ended = traced(["thrown", "2", "999"], program)
    got = counts(ended.out.encode())
    assert own["wrong"] == 0
    assert (got["@in[thrower]:"], got["@in[between]:"]) == (own["thrower"], own["thrower"])
    assert (got["@out[thrower]:"], got["@out[between]:"]) == (own["returned"], own["returned"])


@pytest.mark.skipif(not has_compiler("thrown"), reason="no g++")
def test_exceptions_through_a_call_through() -> None:
    """A latency pair makes the thunk call the body: the unwinder must know its frame."""
    program = "uprobe:libstdc++.so.6:__cxa_throw { @throws = count(); } uretprobe:libstdc++.so.6:__cxa_allocate_exception { @made = count(); } uretprobe:libstdc++.so.6:_Unwind_RaiseException { @x = count(); }"
    with Running(build("thrown"), "2", "999") as target:
        with Tracer(("-q", "-p", str(target.pid), "-e", program.rpartition("uretprobe")[0])) as tracer:
            own = target.work()
            ended = tracer.end()
        assert target.end() == 0
    got = counts(ended.out.encode())
    assert own["wrong"] == 0
    assert got["@throws:"] == got["@made:"] == own["thrower"] - own["returned"]


def test_family_is_followed_when_launched(tmp_path: Path) -> None:
    out = tmp_path / "data"
    argv = [
        *BPFTIME,
        "trace",
        "-q",
        "-o",
        str(out),
        "-e",
        "uprobe:family:member { @ = count(); } uretprobe:family:member { @r = count(); }",
    ]
    done = subprocess.run(
        [*argv, "--", str(build("family")), "3", "500"],
        input=b"\n\n",
        capture_output=True,
        timeout=PATIENCE,
        env=environment(),
        check=False,
    )
    own, got = counts(done.stdout), counts(out.read_bytes())
    assert (done.returncode, done.stderr, own["bad"]) == (0, b"", 0)
    assert got == {"@:": own["member"], "@r:": own["member"]}


def test_forked_children_of_a_running_process_live_on() -> None:
    own, ended = traced(["family", "3", "500"], "uprobe:family:member { @ = count(); }")
    assert own["bad"] == 0
    assert counts(ended.out.encode())["@:"] in (500 + 1, 500, own["forked"])
