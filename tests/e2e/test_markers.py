"""Markers (USDT) in real processes: their counters come and go with the probes, their errors say what there is."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from runtime.symbols.elf import ElfFile
from runtime.symbols.modules import modules_of
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
)

GUARDED = "usdt:markers:app:guarded { @ = count(); @last = max(arg1); }"


def counter(pid: int, name: str) -> int:
    """The u16 by which the program knows that somebody listens, read from its memory."""
    module = next(m for m in modules_of(pid) if m.path.endswith("/markers"))
    address = module.bias + ElfFile(module.path).value_of(f"app_{name}_semaphore")
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        memory.seek(address)
        return int.from_bytes(memory.read(2), "little")


def test_a_counter_is_up_only_while_somebody_listens() -> None:
    with Running(build("markers"), "50") as target:
        before = text_of(target.pid)
        assert counter(target.pid, "guarded") == 0
        with Tracer(("-q", "-p", str(target.pid), "-e", GUARDED)) as tracer:
            assert counter(target.pid, "guarded") == 1
            own = target.work()
            ended = tracer.end()
        assert counter(target.pid, "guarded") == 0
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0
    assert own["guarded"] == 50
    assert ended.out == "@: 50\n@last: 50\n"


def test_two_tracers_count_up_to_two() -> None:
    with Running(build("markers"), "9") as target:
        options = ("-q", "-p", str(target.pid), "-e", GUARDED)
        with Tracer(options) as first, Tracer(options) as second:
            assert counter(target.pid, "guarded") == 2
            assert first.end().status == 0
            assert counter(target.pid, "guarded") == 1
            target.work()
            assert second.end().out == "@: 9\n@last: 9\n"
        assert counter(target.pid, "guarded") == 0


def test_after_a_killed_tracer_the_next_command_counts_down() -> None:
    with Running(build("markers"), "50") as target:
        before = text_of(target.pid)
        with Tracer(("-q", "-p", str(target.pid), "-e", GUARDED)) as tracer:
            tracer.end(signal.SIGKILL)
        assert counter(target.pid, "guarded") == 1
        assert target.work()["guarded"] == 50  # the program goes on, its markers count into nothing
        done = bpftime("list")
        assert done.returncode == 0
        assert counter(target.pid, "guarded") == 0
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0
    assert b"semaphore at the end 0" in target.said


def test_a_forked_child_has_markers_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "data"
    argv = [*BPFTIME, "trace", "-q", "-o", str(out), "-e", GUARDED, "--", str(build("markers")), "30", "1"]
    done = subprocess.run(
        argv, input=b"\n\n", capture_output=True, timeout=PATIENCE, env=environment(), check=False
    )
    own = counts(done.stdout)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (own["child guarded"], own["guarded"]) == (30, 30)
    assert counts(out.read_bytes()) == {"@:": 60, "@last:": 30}


def test_a_wildcard_arms_every_marker_once() -> None:
    with Running(build("markers"), "4") as target:
        program = "usdt:markers:app:* { @[probe] = count(); }"
        with Tracer(("-q", "-p", str(target.pid), "-e", program)) as tracer:
            target.work()
            ended = tracer.end()
        assert target.end() == 0
    got = {line.rpartition("app:")[2]: 0 for line in ended.out.splitlines()}
    names = {line.split("]")[0] for line in got}
    wanted = "plain wide twelve bytes memory fixed global floating missing spread guarded cold loop cases none kept"
    assert names == set(wanted.split())


@pytest.mark.parametrize(
    ("program", "texts"),
    [
        ("usdt:markers:app:plian { @ = count(); }", ["no marker 'app:plian'", "did you mean app:plain"]),
        ("usdt:markers:oops:plain { @ = count(); }", ["no marker 'oops:plain'", "app:plain"]),
        ("usdt:markers:app:plain { @ = sum(arg7); }", ["app:plain has 3 arguments: there is no arg7"]),
        ("usdt:markers:app:floating { @ = sum(arg0); }", ["arg0 of app:floating cannot be read",
                                                          "a floating-point value"]),
        ("usdt:markers:app:floating { @ = sum(arg2); }", ["a segment cannot be read"]),
        ("usdt:markers:app:plain { @ = sum(arg12); }", ["doesn't support arg12", "at most 12"]),
        ("usdt:libc.so.6:any { @ = count(); }", ["no marker 'any'", "built without markers"]),
        ("usdt:markers { @ = count(); }", ["requires 2 or 3 arguments, found 1"]),
    ],
)  # fmt: skip
def test_errors_say_what_there_is(program: str, texts: list[str]) -> None:
    done = bpftime("trace", "-e", program, "--", str(build("markers")), "1", stdin=b"\n\n")
    assert done.returncode == 1
    said = done.stderr.decode()
    assert all(text in said for text in texts), said
    assert "Traceback" not in said


def test_list_shows_every_name_once_with_its_types() -> None:
    path = build("markers")
    plain = bpftime("list", f"usdt:{path}:app:*")
    names = [line.rpartition(":")[2] for line in plain.stdout.decode().splitlines()]
    assert len(names) == len(set(names)) == 16
    assert names == sorted(names)
    rows = bpftime("list", "-f", "json", f"usdt:{path}:spread").stdout
    assert json.loads(rows) == {
        "kind": "probe",
        "probe": f"usdt:{path}:app:spread",
        "sites": 2,
        "counter": True,
        "arguments": ["int32", "int32"],
    }
    assert b"int32, int64, uint64" in bpftime("list", "-v", f"usdt:{path}:app:plain").stdout


def test_list_looks_into_what_a_process_has_mapped() -> None:
    with Running(build("markers"), "1") as target:
        done = bpftime("list", "usdt:*:app:t*", "-p", str(target.pid))
        assert done.stdout.decode() == f"usdt:{build('markers')}:app:twelve\n"
        missing = bpftime("list", "usdt:*:nothing:t*", "-p", str(target.pid))
        assert (missing.returncode, missing.stdout) == (1, b"")


@pytest.mark.skipif(not Path("/usr/include/bpf/usdt.bpf.h").exists(), reason="no libbpf headers")
def test_objects_decode_arguments_as_with_libbpf(tmp_path: Path) -> None:
    """libbpf's header reads its table of places by the attach cookie; sites of one name may differ in theirs."""
    source = Path(__file__).parents[1] / "targets" / "bpf" / "markers.bpf.c"
    env = environment(XDG_RUNTIME_DIR=str(tmp_path))
    with Running(build("markers"), "10") as target:
        done = bpftime("load", "--detached", str(source), "-p", str(target.pid), env=env)
        assert done.returncode == 0, done.stderr
        assert counter(target.pid, "plain") == 1
        target.work()
        listed = bpftime("list", "--links", "-f", "json", env=env).stdout
        rows = [json.loads(line) for line in listed.splitlines()]
        assert {row["type"] for row in rows} == {"usdt"}
        read = bpftime("maps", "sums", "-f", "json", env=env).stdout
        assert bpftime("detach", "--all", "--unload", env=env).returncode == 0
        assert counter(target.pid, "plain") == 0
        assert target.end() == 0
    sums = json.loads(read)["data"]["sums"]
    wanted = [25, 45000, 10, 30, 45, 55, 10 * 0x77, sum(range(-0x78, -0x6E)), -90, -700000, -220, 45, 0]
    assert [sums.get(str(i), 0) for i in range(13)] == wanted
