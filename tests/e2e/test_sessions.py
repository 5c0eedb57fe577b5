"""Sessions: load, attach, list, maps, detach as commands of their own; cleaning up after killed tracers."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.tools.compile_bpf import TARGETS, compile_bpf
from tests.tools.target import build
from tests.tools.tracing import BPFTIME, Running, Tracer, bpftime, changed, environment, text_of

SOURCE = TARGETS / "stepcount.bpf.c"


class Shell:
    """Commands of one user, each a process of its own, with a folder for sessions that no other test sees."""

    def __init__(self, folder: Path) -> None:
        self.runtime = folder / "run"
        self.runtime.mkdir(mode=0o700)
        self.env = environment(XDG_RUNTIME_DIR=str(self.runtime))
        self.object = folder / "stepcount.bpf.o"

    def __call__(self, *argv: str, status: int = 0) -> str:
        done = bpftime(*argv, env=self.env)
        self.err = done.stderr.decode()
        assert done.returncode == status, f"{argv}: {done.returncode}\n{done.stdout.decode()}{self.err}"
        assert "Traceback" not in self.err
        return done.stdout.decode()

    def rows(self, *argv: str) -> list[dict[str, object]]:
        """Lines of JSON that a command prints."""
        return [json.loads(line) for line in self(*argv, "-f", "json").splitlines()]

    def sessions(self) -> list[str]:
        place = self.runtime / "bpftime"
        return sorted(p.name for p in place.iterdir()) if place.exists() else []


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    data = compile_bpf(SOURCE)
    if data is None:
        pytest.skip("clang or the headers of libbpf are missing")
    made = Shell(tmp_path)
    made.object.write_bytes(data)
    yield made
    bpftime("detach", "--all", "--unload", env=made.env)


def test_two_processes_write_one_map(shell: Shell) -> None:
    loaded = {row["name"]: row for row in shell.rows("load", str(shell.object))}
    assert {"counts", "ring", ".bss", "on_step"} <= loaded.keys()
    with Running(build("loop"), "2", "1000") as one, Running(build("loop"), "3", "1000") as two:
        before = [text_of(t.pid) for t in (one, two)]
        first = shell("attach", "on_step", "-p", str(one.pid)).strip()
        second = shell(
            "attach", str(loaded["on_step"]["id"]), f"uprobe:{build('loop')}:step", "-p", str(two.pid)
        ).strip()
        links = {str(row["id"]): row for row in shell.rows("list", "--links")}
        assert {links[first]["pid"], links[second]["pid"]} == {one.pid, two.pid}
        assert {row["state"] for row in links.values()} == {"armed"}
        own = [t.work()["calls"] for t in (one, two)]
        [row] = shell.rows("maps", "counts")
        assert row["data"] == {"counts": {str(one.pid): own[0], str(two.pid): own[1]}}
        [row] = shell.rows("maps", ".bss")
        assert row["data"][".bss"]["total"] == sum(own)
        shell("detach", first, second)
        assert "Detached 2 links" in shell.err
        assert shell.rows("list", "--links") == []
        assert [changed(b, text_of(t.pid)) for b, t in zip(before, (one, two), strict=True)] == [[], []]
        assert one.end() == two.end() == 0
    shell("detach", first, status=1)
    assert f"no link {first}" in shell.err


def test_several_processes_at_once_and_one_that_is_not_there(shell: Shell) -> None:
    with ExitStack() as stack:
        targets = [stack.enter_context(Running(build("loop"), "1", "500")) for _ in range(3)]
        pids = ",".join(str(t.pid) for t in targets)
        out = shell("attach", f"{shell.object}:on_step", "-p", f"{pids},999999", "--cookie", "7")
        assert len(out.split()) == 3
        assert "no process 999999" in shell.err
        own = [t.work()["calls"] for t in targets]
        assert sum(shell.rows("maps", "counts")[0]["data"]["counts"].values()) == sum(own)
        shell("detach", "-p", str(targets[0].pid))
        assert {row["pid"] for row in shell.rows("list", "--links")} == {t.pid for t in targets[1:]}
        targets[1].end()
        shell("list", "--links")
        shell("detach", "--stale")
        assert {row["pid"] for row in shell.rows("list", "--links")} == {targets[2].pid}
        shell("detach", "--all")
        assert shell.rows("list", "--links") == []


def test_globals_rings_and_printk_in_the_foreground(shell: Shell) -> None:
    command = [
        *BPFTIME,
        "load",
        str(shell.object),
        "--set",
        "every=2",
        "-f",
        "json",
        "--",
        str(build("loop")),
        "1",
        "100",
    ]
    done = subprocess.run(command, input=b"\n\n", capture_output=True, env=shell.env, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
    values = [row["data"] for row in rows if row["type"] == "value"]
    lines = [row["data"] for row in rows if row["type"] == "printf"]
    assert len(values) == len(lines) == sum(1 for i in range(100) if not (i & 7) % 2)
    assert values[0]["b"] == 0
    assert values[0]["name"] == "step"
    assert lines[1] == "b is 2\n"
    assert shell.sessions() == []


def test_detached_ring_is_read_by_another_command(shell: Shell) -> None:
    with Running(build("loop"), "1", "100") as target:
        shell(
            "load",
            str(shell.object),
            "--set",
            "every=8",
            "--detached",
            "--session",
            "own",
            "-p",
            str(target.pid),
        )
        assert shell.sessions() == ["own"]
        target.work()
        found = shell("maps", "own:ring").splitlines()
        assert found[0] == f"{{ .pid = {target.pid}, .b = 0, .name = step }}"
        assert len(found) == 13
        assert shell("maps", "own:ring") == "", "records are read once"
        shell("maps", "counts", "--set", "7=9")
        assert shell.rows("maps", "counts")[0]["data"]["counts"]["7"] == 9
        assert shell("maps", "counts[7]") == "counts[7]: 9\n"
        assert shell("maps", "counts[7]", "-p", str(target.pid)) == "counts[7]: 9\n"
        shell("maps", "counts", "--delete", "7")
        shell("maps", "counts[7]", status=1)
        assert "map 'counts' has no key 7" in shell.err
        assert "7" not in shell.rows("maps", "counts")[0]["data"]["counts"]
        shell("detach", "--all", "--unload")
    assert shell.sessions() == []


@pytest.mark.parametrize("foreground", ["trace", "load"])
def test_list_cleans_up_after_a_killed_tracer(shell: Shell, foreground: str) -> None:
    with Running(build("loop"), "2", "1000") as target:
        before = text_of(target.pid)
        if foreground == "trace":
            with Tracer(
                ("-q", "-p", str(target.pid), "-e", "uprobe:loop:step { @ = count(); }"), env=shell.env
            ) as tracer:
                assert shell.rows("list")[0]["targets"] == str(target.pid)
                tracer.process.kill()
                tracer.process.wait()
        else:
            process = subprocess.Popen(
                [*BPFTIME, "load", str(shell.object), "-p", str(target.pid)],
                env=shell.env,
                stderr=subprocess.PIPE,
            )
            with process:
                assert process.stderr.readline() == b"Attached 1 probe\n"
                process.kill()
        assert changed(before, text_of(target.pid)) != []
        shell("list")
        assert f"out of {target.pid} (loop)" in shell.err
        assert changed(before, text_of(target.pid)) == []
        assert shell.sessions() == []
        assert target.work()["calls"] == 2000
        assert target.end() == 0


def test_a_live_session_elsewhere_is_left_alone(shell: Shell, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    with (
        Running(build("loop"), "1", "1000") as target,
        Tracer(
            ("-q", "-p", str(target.pid), "-e", "uprobe:loop:step { @ = count(); }"), env=shell.env
        ) as tracer,
    ):
        assert bpftime("list", env=environment(XDG_RUNTIME_DIR=str(other))).stderr == b""
        assert target.work()["calls"] == 1000
        assert "@: 1000" in tracer.end().out


def test_a_session_whose_folder_was_removed_is_over(shell: Shell) -> None:
    import shutil

    with Running(build("loop"), "1", "10") as target:
        before = text_of(target.pid)
        shell("attach", f"{shell.object}:on_step", "-p", str(target.pid))
        shutil.rmtree(shell.runtime / "bpftime")
        shell("list")
        assert changed(before, text_of(target.pid)) == []


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (("load", "nothing.bpf.o"), 1, "failed to open file 'nothing.bpf.o'"),
        (("load", "OBJECT", "--set", "nope=1"), 1, "no global 'nope'"),
        (("load", "OBJECT", "--set", "every=x"), 1, "not a number: 'x'"),
        (("load", "OBJECT", "--session", "../up"), 2, "not a name for a session"),
        (("load", "OBJECT", "-p", "999999"), 3, "no process 999999"),
        (("attach", "OBJECT:nope", "-p", "1"), 1, "no program 'nope'"),
        (("attach", "17", "-p", "1"), 1, "no loaded program '17'"),
        (("attach", "OBJECT:on_step", "uprobe:step", "-p", "1"), 2, "wrong probe"),
        (("attach", "OBJECT:on_step", "uprobe:loop:nope", "-p", "SELF"), 1, "no symbol 'nope'"),
        (("attach", "OBJECT:on_step", "uprobe:libnope.so:x", "-p", "SELF"), 1, "no 'libnope.so' among"),
        (
            ("attach", "OBJECT:on_step", "uprobe:loop:step", "-p", "SELF", "--type", "kprobe"),
            2,
            "unknown attach type",
        ),
        (("detach",), 2, "say what to detach"),
        (("detach", "x"), 2, "not the id of a link"),
        (("detach", "no:3"), 1, "no link no:3"),
        (("maps", "nope"), 1, "no map 'nope'"),
        (("list", "kprobe:vfs_read"), 1, "need the kernel"),
        (("list", "uprobe:libc.so.6:mallc"), 1, "did you mean malloc"),
        (("list", "--session", "nope"), 1, "no session 'nope'"),
    ],
)
def test_what_cannot_be_is_one_message(shell: Shell, argv: tuple[str, ...], status: int, words: str) -> None:
    with Running(build("loop"), "1", "1") as target:
        known = {"SELF": str(target.pid)}
        shell(*(known.get(a, a.replace("OBJECT", str(shell.object))) for a in argv), status=status)
        assert words in shell.err
        assert shell.err.count("ERROR:") == 1
        assert target.end() == 0


def test_another_users_folder_is_refused(shell: Shell) -> None:
    (shell.runtime / "bpftime").mkdir(mode=0o755)
    shell("load", str(shell.object), status=1)
    assert "is open to other users" in shell.err
    (shell.runtime / "bpftime").rmdir()
    (shell.runtime / "bpftime").symlink_to(shell.runtime)
    shell("load", str(shell.object), status=1)
    assert "is not a folder" in shell.err
    (shell.runtime / "bpftime").unlink()


def test_files_are_private(shell: Shell) -> None:
    shell("load", str(shell.object))
    for path in (shell.runtime / "bpftime").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_list_finds_probes(shell: Shell) -> None:
    lines = shell("list", "uprobe:libc.so.6:*malloc*").splitlines()
    assert lines == sorted(lines)
    assert any(line.startswith("uprobe:/") and line.endswith("libc.so.6:malloc") for line in lines)
    with Running(build("loop"), "1", "1") as target:
        assert shell("list", "uprobe:loop:st*p", "-p", str(target.pid)) == f"uprobe:{build('loop')}:step\n"
        assert str(target.pid) in shell("list", "--processes")


def test_list_is_fast_enough(shell: Shell) -> None:
    shell("list")
    start = time.monotonic()
    shell("list")
    assert time.monotonic() - start < 5, "a loaded machine; a quiet one takes a quarter of a second"


def test_doctor_has_nothing_against_this_machine(shell: Shell) -> None:
    with Running(build("loop"), "1", "1") as target:
        rows = shell.rows("doctor", "-p", str(target.pid))
    assert {"self test", "compiler", "agent", "attach by PID", "agent in it"} <= {
        row["check"] for row in rows
    }
    assert "FAIL" not in {row["level"] for row in rows}
    assert all(row["do"] for row in rows if row["level"] != "ok")
    assert "do: bpftime list" in shell("doctor", "-p", "999999", status=1)


def test_damaged_descriptions_are_said_and_nothing_falls_over(shell: Shell) -> None:
    shell("load", str(shell.object))
    meta = shell.runtime / "bpftime" / "default" / "meta.json"
    good = meta.read_text()
    for text in (
        "",
        "{",
        "[]",
        "7",
        "{}",
        good.replace('"id": "', '"id": "zz'),
        good.replace('"offset"', '"of"'),
    ):
        meta.write_text(text)
        shell("list")
        assert "cannot be read" in shell.err
        shell("maps", "counts", status=1)
        shell("load", str(shell.object), status=1)
        assert "cannot be read" in shell.err
    meta.write_text(good)
    region = shell.runtime / "bpftime" / "default" / "region"
    data = bytearray(region.read_bytes())
    for start in (
        16,
        64,
        72,
        96,
        104,
        4096 + 65536,
    ):  # size, top, CPUs, handlers, their number, their entries
        damaged = bytearray(data)
        damaged[start : start + 4096] = b"\xfe" * 4096
        region.write_bytes(damaged)
        for command in (("list",), ("maps",), ("detach", "1"), ("attach", "on_step", "-p", "999999")):
            done = bpftime(*command, env=shell.env)
            assert done.returncode in (0, 1, 3), (start, command, done.stderr)
            assert b"BUG" not in done.stderr, (start, command, done.stderr)
    region.write_bytes(data)
