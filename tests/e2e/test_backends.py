"""Frida's Interceptor as a backend: falling back to it, leaving it, dying under it, several on one process."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from attachers.interceptor.attacher import InterceptorAttacher
from attachers.target import Target
from bpftime_cli.pipeline.orphans import look_at
from runtime.agent.protocol import SiteState
from runtime.errors import AttachProblem
from tests.tools.session import Script
from tests.tools.target import build
from tests.tools.tracing import BPFTIME, PATIENCE, Running, Tracer, bpftime, changed, text_of

FRIDA = ("-q", "--backend", "frida")


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def own_text(pid: int) -> dict:
    """The code of the program itself."""
    return {key: code for key, code in text_of(pid).items() if "bpftime-targets" in key[0]}


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@pytest.mark.parametrize(
    ("backend", "function", "out", "err"),
    [
        ("auto", "shape_jrcxz", "@: 8\n", "shape_jrcxz: by Frida's Interceptor"),
        ("inline", "shape_jrcxz", "", "no room for a jump at shape_jrcxz"),
        ("auto", "shape_two_pops", "", "no room for a jump at shape_two_pops"),  # too short for both
    ],
)
def test_auto_goes_to_frida_for_a_named_function(backend: str, function: str, out: str, err: str) -> None:
    # The neighbours take the padding near by.
    program = f"uprobe:shapes:shape_five, uprobe:shapes:shape_ret {{ @n = count(); }} uprobe:shapes:{function} {{ @ = count(); }}"
    with Running(build("shapes"), "1", "8") as target:
        with Tracer(("--backend", backend, "-p", str(target.pid), "-e", program)) as tracer:
            assert target.work()["wrong"] == 0
            ended = tracer.end()
        assert target.end() == 0
    assert out in ended.out
    assert err in ended.err


def test_wildcards_never_load_frida_but_say_that_it_can() -> None:
    with Running(build("shapes"), "1", "8") as target:
        with Tracer(("-p", str(target.pid), "-e", "uprobe:shapes:shape_* { @[func] = count(); }")) as tracer:
            assert threads_of(target.pid) == 1
            target.work()
            ended = tracer.end()
        assert target.end() == 0
    assert "--backend frida" in ended.err
    assert "Interceptor" not in ended.err


def test_a_killed_tracer_leaves_nothing_behind() -> None:
    with Running(build("plain"), "5") as target:
        before = own_text(target.pid)
        program = "uprobe:plain:add { @ = count(); } uretprobe:plain:six { @r = count(); }"
        with Tracer((*FRIDA, "-p", str(target.pid), "-e", program)) as tracer:
            assert changed(before, own_text(target.pid))
            tracer.process.kill()
            tracer.process.wait()
        until(lambda: threads_of(target.pid) == 1)
        assert changed(before, own_text(target.pid)) == []
        assert target.work()["wrong"] == 0
        assert bpftime("list").returncode == 0
        assert all(s.state == SiteState.FREE for s in look_at(target.pid).sites)
        assert target.end() == 0


def test_a_thread_inside_a_return_probe_holds_nobody_up() -> None:
    """The program waits in read() for its second line: its return is on Frida's stack of addresses."""
    with Running(build("plain"), "5") as target:
        program = "uretprobe:libc.so.6:read { @ = count(); } uprobe:plain:add { @add = count(); }"
        with Tracer((*FRIDA, "-p", str(target.pid), "-e", program)) as tracer:
            target.work()
            started = time.monotonic()
            ended = tracer.end()
            assert time.monotonic() - started < PATIENCE / 4
        assert "@add: 10\n" in ended.out
        assert target.end() == 0


def test_forked_children_count_and_get_their_code_back() -> None:
    with Running(build("family"), "3", "50") as target:
        before = own_text(target.pid)
        with Tracer(
            (*FRIDA, "--follow", "-p", str(target.pid), "-e", "uprobe:family:member { @ = count(); }")
        ) as tracer:
            calls = target.work()
            ended = tracer.end()
        assert changed(before, own_text(target.pid)) == []
        assert target.end() == 0
    assert ended.out == f"@: {calls['member']}\n", ended.err


def test_two_processes_at_once() -> None:
    with Running(build("plain"), "3") as one, Running(build("plain"), "4") as two:
        pids = f"{one.pid},{two.pid}"
        program = "uprobe:plain:outer { @[pid] = count(); } uretprobe:plain:outer { @r[pid] = count(); }"
        with Tracer((*FRIDA, "-p", pids, "-e", program)) as tracer:
            one.work()
            two.work()
            ended = tracer.end()
        assert (one.end(), two.end()) == (0, 0)
    for pid, calls in ((one.pid, 3), (two.pid, 4)):
        assert f"@[{pid}]: {calls}\n" in ended.out
        assert f"@r[{pid}]: {calls}\n" in ended.out


def test_both_backends_trace_one_process_but_not_one_function() -> None:
    with Running(build("plain"), "6") as target:
        before = text_of(target.pid)
        pid = str(target.pid)
        mine, yours = "uprobe:plain:add { @a = count(); }", "uprobe:plain:six { @s = count(); }"
        with (
            Tracer(("-q", "--backend", "inline", "-p", pid, "-e", mine)) as inline,
            Tracer((*FRIDA, "-p", pid, "-e", yours)) as frida,
        ):
            for backend, taken in (("frida", mine), ("inline", yours), ("frida", yours)):
                refused = bpftime("trace", "--backend", backend, "-p", pid, "-e", taken)
                assert refused.returncode == 1
                assert b"another kind of probe owns a place" in refused.stderr, (backend, refused.stderr)
            target.work()
            assert (inline.end().out, frida.end().out) == ("@a: 12\n", "@s: 6\n")
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 1, 3)])
def test_links_of_one_function_leave_in_any_order(order: tuple[int, ...]) -> None:
    """Each link that is left counts; the last one takes the code with it."""
    kinds = ("uprobe:loop:step { @ = count(); }",)
    scripts = [Script(text) for text in kinds]
    with Running(build("loop"), "1", "10") as target:
        [script] = scripts
        attacher = InterceptorAttacher(Target.open(target.pid), script.session)
        script.attacher = attacher
        before = own_text(target.pid)
        image = script.programs.image(script.script.probes[0].program, attacher.target.build_kind)
        from attachers.base import UPROBE, URETPROBE, FunctionData

        place = FunctionData.from_string(f"{build('loop')}:step")
        links = [attacher.create_attach(image, place, kind) for kind in (UPROBE, URETPROBE, UPROBE)]
        assert links == [1, 2, 3]
        for link in order[:2]:
            attacher.detach_by_id(link)
            assert changed(before, own_text(target.pid))
        target.work()
        assert script.total("@") == 10
        attacher.detach_by_id(order[2])
        assert changed(before, own_text(target.pid)) == []
        with pytest.raises(AttachProblem) as caught:
            attacher.detach_by_id(order[2])
        assert caught.value.errno == 2
        attacher.detach_all()
        script.close()
        assert target.end() == 0


def test_hooking_and_unhooking_under_threads_that_never_pause() -> None:
    """Interceptor alone kills such a program within a few rounds."""
    script = Script("uprobe:loop:step { @ = count(); }")
    with Running(build("loop"), "4", "30000000000") as target:
        attacher = script.attacher = InterceptorAttacher(Target.open(target.pid), script.session)
        target.go()
        for _ in range(6):
            assert script.arm() == 1
            before = script.total("@")
            until(lambda seen=before: script.total("@") > seen)
            attacher.detach_by_id(1)
            assert target.process.poll() is None
        script.close()
        target.process.send_signal(signal.SIGKILL)


def test_a_program_that_becomes_another_is_hooked_again(tmp_path: Path) -> None:
    out = tmp_path / "data"
    program = "uprobe:plain:outer { @ = count(); }"
    line = f"exec {build('plain')} 7"
    done = subprocess.run(
        [*BPFTIME, "trace", *FRIDA, "-o", str(out), "-e", program, "--", "sh", "-c", line],
        input=b"\n\n", capture_output=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert out.read_text() == "@: 7\n", done.stderr
