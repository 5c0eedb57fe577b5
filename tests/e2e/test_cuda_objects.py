"""`bpftime load` of objects with programs for kernels, on a stub driver whose kernels really run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
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


def test_links_wait_until_a_module_is_loaded(tmp_path: Path) -> None:
    data = compile_bpf(SOURCE)
    if data is None:
        pytest.skip("there is no clang, or no header of libbpf")
    file = tmp_path / "vecadd.bpf.o"
    file.write_bytes(data)
    bpftime = (sys.executable, "-m", "bpftime_cli")
    with Server(tmp_path) as server:
        env = {**os.environ, **environment(server, driver(), tmp_path), "WAITS": "1"}
        loader = subprocess.Popen(
            [*bpftime, "load", "--cuda-assembler", "driver", str(file), "--", str(app("registered"))],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        watchdog = threading.Timer(30, loader.kill)
        watchdog.start()
        assert loader.stdout.readline() == "ready\n"
        words = [*bpftime, "list", "--links", "--format", "json"]
        listed = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
        rows = [r for r in map(json.loads, listed.splitlines()) if r["session"] == f"load-{loader.pid}"]
        words = [*bpftime, "detach", str(rows[0]["id"]), "--session", rows[0]["session"]]
        assert subprocess.run(words, cwd=ROOT, env=env, capture_output=True, check=False).returncode == 0
        loader.communicate("\n", timeout=30)
        watchdog.cancel()
    assert {(row["type"], row["target"], row["state"]) for row in rows} == {
        (provider, "vecadd", "waiting") for provider in ("cuda", "cudaret")
    }
    assert loader.returncode == 0
