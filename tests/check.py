"""All that is checked without running a target: `python -m tests.check`; status 1 if anything is wrong."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from runtime.agent import build

ROOT = Path(__file__).parents[1]


def steps(scratch: Path) -> list[tuple[str, list[str]]]:
    """Return name and command of each check."""
    python = [sys.executable, "-m"]
    strict = build.command(build.FOLDER, scratch / build.LIBRARY, strict=True)
    found = [
        ("format", [*python, "ruff", "format", "--check", "."]),
        ("lint", [*python, "ruff", "check", "."]),
        ("types", [*python, "mypy"]),
        ("agent without a warning", strict),
        ("generated files", [*python, "bpftime_cli.manual"]),
        ("house", [*python, "pytest", "-q", "tests/unit/test_house.py"]),
    ]
    if "clang" not in strict[0]:
        found.append(("analyzer", [*strict, "-fanalyzer"]))
    return found


def main() -> int:
    """Run every check and say which failed."""
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, command in steps(Path(scratch)):
            begin = time.monotonic()
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            print(f"{'ok  ' if not done.returncode else 'FAIL'}  {name}  {time.monotonic() - begin:.1f} s")
            if done.returncode:
                failed = 1
                print(done.stdout + done.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
