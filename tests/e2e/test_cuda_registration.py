"""The runtime's registration functions hooked: what is woven before the driver is asked to load it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.tools.cuda import app, driver, whole_app
from tests.tools.cuda.server import Server, environment

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
LIMIT = 30
AHEAD = "woven before its first launch"


@pytest.mark.parametrize("make", [app, whole_app], ids=["shared runtime", "runtime inside"])
def test_registered_images_are_woven_before_they_are_loaded(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    """The program waits when the driver has started: nothing is loaded yet when the image is ready."""
    log = tmp_path / "log"
    log.mkdir()
    words = ["trace", "-v", "--cuda-assembler", "driver", "-e", "cuda:vecadd { @ = count(); }", "--"]
    with Server(tmp_path) as server:
        tracer = subprocess.Popen(
            [sys.executable, "-m", "bpftime_cli", *words, str(make("registered"))],
            cwd=ROOT,
            env={**os.environ, **environment(server, driver(), log), "WAITS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        watchdog = threading.Timer(LIMIT, tracer.kill)
        watchdog.start()
        said = ""
        while AHEAD not in said and (line := tracer.stderr.readline()):
            said += line
        assert f"{AHEAD}: vecadd" in said
        assert not list(log.glob("load-*"))
        watchdog.cancel()
        out, errors = tracer.communicate("\n", timeout=LIMIT)
    assert tracer.returncode == 0, errors
    assert out.replace("ready\n", "") == "done\n@: 256\n"
    assert (said + errors).count(AHEAD) == 1
    assert [b"__bpftime_ctx" in load.read_bytes() for load in log.glob("load-*")] == [True]
    assert not server.faults


def test_an_image_whose_kernels_nobody_probes_is_not_touched(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    words = ["trace", "-v", "--cuda-assembler", "driver", "-e", "cuda:gemm { @ = count(); }", "--"]
    with Server(tmp_path) as server:
        done = subprocess.run(
            [sys.executable, "-m", "bpftime_cli", *words, str(app("registered"))],
            cwd=ROOT,
            env={**os.environ, **environment(server, driver(), log)},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    assert done.stdout == "done\n"
    assert AHEAD not in done.stderr
    [load] = log.glob("load-*")
    fatbin = (ROOT / "tests" / "tools" / "cuda" / "apps" / "vecadd.fatbin").read_bytes()
    assert load.read_bytes() == fatbin[: len(load.read_bytes())]
