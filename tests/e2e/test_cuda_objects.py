"""`bpftime load` of objects with programs for kernels, on a stub driver whose kernels really run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.tools.compile_bpf import compile_bpf
from tests.tools.cuda import APPS, app, driver
from tests.tools.cuda.server import Server, environment

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tests" / "targets" / "gpu" / "vecadd.bpf.c"
LAUNCHES, BLOCKS = 3, 4


def test_records_and_lines_of_an_object_are_printed(tmp_path: Path) -> None:
    data = compile_bpf(SOURCE)
    if data is None:
        pytest.skip("there is no clang, or no header of libbpf")
    file, log = tmp_path / "vecadd.bpf.o", tmp_path / "log"
    file.write_bytes(data)
    log.mkdir()
    with Server(tmp_path) as server:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "bpftime_cli", "load", "--cuda-assembler", "driver"),
                *(str(file), "--"),
                *(str(app("vecadd")), str(APPS / "vecadd.ptx")),
            ],
            cwd=ROOT,
            env={**os.environ, **environment(server, driver(), log)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert not server.faults
    assert done.returncode == 0, done.stderr
    lines = Counter(line for line in done.stdout.splitlines() if line != "done")
    records = {f"{{ .block = {block}, .thread = 7 }}": LAUNCHES for block in range(BLOCKS)}
    assert lines == {**records, "thread 3": LAUNCHES * BLOCKS}
