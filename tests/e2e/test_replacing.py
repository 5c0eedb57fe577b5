"""Objects and the Python interface that decide for a function: overrides (1008) and replacements (1009)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from attachers.base import UPROBE, UPROBE_OVERRIDE, UREPLACE, FunctionData
from attachers.target import Target
from attachers.uprobe import FunctionAttacher
from bpftime_cli.pipeline.objects import LoadedPrograms
from runtime.elf import load
from runtime.shm.session import Session
from runtime.types import ContextKind
from tests.tools.compile_bpf import TARGETS, compile_bpf
from tests.tools.target import build
from tests.tools.tracing import BPFTIME, Running, bpftime, environment


def plain(number: int) -> int:
    return number + 2 * number + sum(range(2 * number & 3))


def compiled(name: str) -> bytes:
    data = compile_bpf(TARGETS / f"{name}.bpf.c")
    if data is None:
        pytest.skip("clang or the headers of libbpf are missing")
    return data


def loaded(folder: Path, name: str, *options: str) -> list[str]:
    """What a launched `caller` prints for 1, 2, 3 with an object attached, and the object's own lines."""
    path = folder / f"{name}.bpf.o"
    path.write_bytes(compiled(name))
    done = subprocess.run(
        [*BPFTIME, "load", "-q", *options, str(path), "--", str(build("caller"))],
        input=b"1\n2\n3\n", capture_output=True, timeout=60, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().splitlines()


def test_an_object_overrides(tmp_path: Path) -> None:
    lines = loaded(tmp_path, "decide")
    assert [line for line in lines if line.startswith("is")] == ["is 4242", f"is {plain(2)}", "is 4242"]
    assert [line for line in lines if "returned" in line] == [
        "returned 4242", f"returned {plain(2)}", "returned 4242",
    ]  # fmt: skip


@pytest.mark.parametrize("backend", ["inline", "frida"])
def test_an_object_replaces(backend: str, tmp_path: Path) -> None:
    lines = loaded(tmp_path, "instead", "--backend", backend)
    assert [line for line in lines if line.startswith("is")] == ["is 1002", "is 2004", "is 3006"]


def test_a_plain_program_is_attached_as_an_override(tmp_path: Path) -> None:
    """The type comes from the command: `decide` says what it wants, `list` what it is."""
    (tmp_path / "run").mkdir(mode=0o700)
    env = environment(XDG_RUNTIME_DIR=str(tmp_path / "run"))
    path = tmp_path / "decide.bpf.o"
    path.write_bytes(compiled("decide"))
    with Running(build("caller")) as target:
        place = ("uprobe:caller:caller_add", "-p", str(target.pid))
        refused = bpftime("attach", f"{path}:decide", *place, env=env)
        assert refused.returncode == 1
        assert (
            b"--type override does not go with" in refused.stderr
            or b"which an entry probe has not" in refused.stderr
        )
        done = bpftime(
            "attach", f"{path}:decide", "override:caller:caller_add", "-p", str(target.pid), env=env
        )
        assert done.returncode == 0, done.stderr
        assert "override" in bpftime("list", "--links", env=env).stdout.decode()
        assert answer(target, 3) == 4242
        assert bpftime("detach", "--all", "--unload", env=env).returncode == 0
        assert answer(target, 3) == plain(3)


def answer(target: Running, number: int) -> int:
    target.said = b""
    target.process.stdin.write(b"%d\n" % number)
    target.process.stdin.flush()
    return int(target.until(b"\n").split()[1])


def test_the_interface_takes_both() -> None:
    programs = {name: LoadedPrograms(load(compiled(name), name)) for name in ("decide", "instead")}
    with Running(build("caller")) as running:
        session = Session.create("replacing", ())
        target = Target.open(running.pid)
        attacher = FunctionAttacher(target, session)
        place = FunctionData.from_string(f"{build('caller')}:caller_add")
        kind = target.build_kind
        decide = programs["decide"].image("decide", ContextKind.UPROBE, kind)
        instead = programs["instead"].image("instead", ContextKind.UPROBE, kind, returns=True)
        link = attacher.create_attach(decide, place, UPROBE_OVERRIDE)
        assert (answer(running, 5), answer(running, 6)) == (4242, plain(6))
        assert attacher.create_attach_with_ebpf_callback(instead, place, UREPLACE) == -17
        assert attacher.create_attach_with_ebpf_callback(decide, place, UPROBE) == -95
        attacher.detach_by_id(link)
        link = attacher.create_attach(instead, place, UREPLACE)
        assert answer(running, 7) == 7014
        attacher.detach_by_id(link)
        assert answer(running, 7) == plain(7)
        target.close()
