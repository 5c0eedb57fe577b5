"""How the command starts: other people's packages of our names, the guard, completion words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(folder: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=60
    )


def foreign(folder: Path) -> Path:
    (folder / "runtime.py").write_text("raise SystemExit('theirs ran')\n")
    (folder / "attachers").mkdir()
    (folder / "attachers/__init__.py").write_text("raise SystemExit('theirs ran')\n")
    return folder


def test_packages_of_the_working_directory_are_not_taken(tmp_path: Path) -> None:
    done = run(
        foreign(tmp_path), "-m", "bpftime_cli", "trace", "-q", "-e", "BEGIN { exit(); }", path=str(ROOT)
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_packages_that_stand_first_on_the_path_are_refused_unrun(tmp_path: Path) -> None:
    done = run(ROOT.parent, "-m", "bpftime_cli", "--help", path=f"{foreign(tmp_path)}:{ROOT}")
    assert done.returncode == 70
    assert "another package hides a part of bpftime" in done.stderr
    assert "theirs ran" not in done.stdout + done.stderr


def test_completion_words() -> None:
    own = run(ROOT, "-m", "bpftime_cli", "__complete", "pid", str(os.getpid()))
    assert own.stdout.startswith(f"{os.getpid()}\t")
    functions = run(ROOT, "-m", "bpftime_cli", "__complete", "probe", "uprobe:libc.so.6:malloc_u")
    assert functions.stdout == "uprobe:libc.so.6:malloc_usable_size\n"
    for kind in ("probe", "nothing", "session", "map"):
        silent = run(ROOT, "-m", "bpftime_cli", "__complete", kind, "uprobe:no such file:\x01")
        assert (silent.returncode, silent.stdout, silent.stderr) == (0, "", "")
