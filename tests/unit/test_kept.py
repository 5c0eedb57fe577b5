"""Scripts that are kept: what comes back is what was made, and a file makes nothing but a script."""

from __future__ import annotations

import os
import pickle
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bpftime_cli.callview.view import View
from bpftime_cli.pipeline.config import Config
from bpftime_cli.pipeline.kept import KIND, key_of, load, save
from bpftime_cli.pipeline.programs import Programs
from runtime.jit import cache
from runtime.lang import Script, compile_script
from runtime.syscalls.table import by_name

CONFIG = Config(program="uprobe:a:b { @ = count(); }", pids=(1,))


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BPFTIME_CACHE", str(tmp_path))


def test_what_comes_back_is_what_was_made() -> None:
    script = compile_script(View(frozenset({by_name()["readv"].number, by_name()["execve"].number})).program)
    programs = Programs(script.object)
    programs.verify_all()
    verified = {p.name: programs.verified(p.name) for p in script.object.programs}
    save("key", script, verified)
    back, proofs = load("key")
    assert (back.object, back.probes, proofs) == (script.object, script.probes, verified)
    assert set(back.maps) == set(script.maps)
    assert [event.size for event in back.events] == [event.size for event in script.events]


@pytest.mark.parametrize(
    "other",
    [
        {"program": "uprobe:a:b { @ = sum(1); }"}, {"params": ("x",)}, {"unsafe": True}, {"checks": True},
        {"pids": ()}, {"command": ("ls",)},
    ],
    ids=str,
)  # fmt: skip
def test_another_question_has_another_key(other: dict[str, object]) -> None:
    assert key_of(replace(CONFIG, **other)) != key_of(CONFIG) == key_of(replace(CONFIG, pids=(2,)))


def test_settings_are_part_of_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(CONFIG)
    monkeypatch.setenv("BPFTRACE_MAX_STRLEN", "16")
    assert key_of(CONFIG) != before


class Runs:
    """Pickled, it is a call of something."""

    def __init__(self, what: object, *arguments: object) -> None:
        self.what, self.arguments = what, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.what, self.arguments


def by_a_dotted_name(module: str, name: str, argument: str) -> bytes:
    """What calls a thing that a module has imported (pickle protocol 4: STACK_GLOBAL)."""
    text = [b"\x8c" + bytes([len(t)]) + t.encode() for t in (module, name, argument)]
    return b"\x80\x04" + text[0] + text[1] + b"\x93" + text[2] + b"\x85R."


@pytest.mark.parametrize("name", ["os.mkdir", "os.system"])
def test_nothing_is_called_by_way_of_our_modules(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    argument = str(mark) if name == "os.mkdir" else f"touch {mark}"
    cache.write(KIND, "key", {}, by_a_dotted_name("runtime.jit.cache", name, argument))
    assert load("key") is None
    assert not mark.exists()


def test_only_enumerators_are_looked_up() -> None:
    cache.write(KIND, "key", {}, pickle.dumps((Runs(getattr, Script, "decode"), {})))
    assert load("key") is None


@pytest.mark.parametrize("what", [os.system, eval, subprocess.run], ids=lambda what: what.__name__)
def test_a_file_makes_nothing_but_a_script(what: object, tmp_path: Path) -> None:
    cache.write(KIND, "key", {}, pickle.dumps(Runs(what, f"touch {tmp_path}/mark")))
    assert load("key") is None
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("data", [b"", b"\x80", b"garbage", pickle.dumps(None), pickle.dumps((1, 2, 3))])
def test_damaged_files_are_as_if_absent(data: bytes) -> None:
    cache.write(KIND, "key", {}, data)
    assert load("key") is None
