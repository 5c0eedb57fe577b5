"""`bpftime cuda` tells what is in files and weaves them; what cannot be done is one clear error."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from attachers.cuda import fatbin
from attachers.cuda.assemble import tools
from attachers.cuda.assemble.cubin import arch_of, usage_of
from tests.tools.ptxrun import Machine, Memory

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests/cases/cuda"
COUNT = "cuda:vecadd { @ = count(); }"


def bpftime(*arguments):
    command = [sys.executable, "-m", "bpftime_cli", "cuda", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60)


def refused(*arguments):
    done = bpftime(*arguments)
    assert done.returncode in (1, 2)
    assert not done.stdout
    return done.stderr.decode()


def test_kernels_of_a_fatbin_are_listed():
    done = bpftime("list", CASES / "samples-special.fatbin")
    head, *rows = done.stdout.decode().splitlines()
    assert head.split() == ["IMAGE", "KERNEL", "PTX", "CODE", "REGISTERS", "MEMORY"]
    assert {row.split()[1] for row in rows} == {"vecadd", "copy4", "reduce", "called"}
    assert rows[0].split()[2:4] == ["sm_90a,sm_100f,sm_75", "sm_120"]


def test_kernels_of_a_program_are_listed(tmp_path):
    program = tmp_path / "program"
    section = (CASES / "samples-size.fatbin").read_bytes()
    program.write_bytes(b"\x7fELF" + bytes(12) + b"\x02\0\x3e\0" + bytes(44) + section)
    done = bpftime("list", program, "-f", "json")
    kernels = json.loads(done.stdout)["kernels"]
    assert {k["demangled"] for k in kernels} == {"vecadd", "copy4", "reduce", "called"}
    assert kernels[0]["ptx"] == ["sm_75"]
    assert list(kernels[0]["code"]) == ["sm_90"]


def test_a_script_is_woven_and_the_text_still_runs():
    done = bpftime("weave", CASES / "samples.ptx", "--probe", COUNT)
    assert done.returncode == 0
    assert b"vecadd: 1 probe, 0 exits" in done.stderr
    machine = Machine(Memory())
    loaded = machine.load(done.stdout.decode())
    loaded.launch("_Z6vecaddPKfS0_Pfi", (1, 1, 1), (32, 1, 1), struct.pack("<QQQi", 0, 0, 0, 0))


def test_entry_return_and_memory_in_one_script(tmp_path):
    script = tmp_path / "all.bt"
    script.write_text(
        "cuda:reduce { @in = count(); } cudaret:reduce { @out = count(); } cudamem:reduce:ld { @[size] = count(); }"
    )
    done = bpftime("weave", CASES / "samples-size.fatbin", "--probe", script)
    assert b"reduce: 3 probes, 1 exit, 1 memory operation" in done.stderr
    assert done.stdout.count(b"setp.eq.b32 %btt") == 3


@pytest.mark.parametrize("suffix", ["cubin", "fatbin"])
def test_woven_images_are_written(tmp_path, suffix):
    if not any(tool.name == "ptxas" for tool in tools.found()):
        pytest.skip("no ptxas on this machine")
    output = tmp_path / f"out.{suffix}"
    done = bpftime("weave", CASES / "samples-size.fatbin", "--probe", COUNT, "--arch", "sm_90", "-o", output)
    assert done.returncode == 0, done.stderr
    data = output.read_bytes()
    cubin = data if suffix == "cubin" else fatbin.parse(data).entries[0].image()
    assert arch_of(cubin) == 90
    assert "_Z6vecaddPKfS0_Pfi" in usage_of(cubin)


def test_what_cannot_be_woven_is_said():
    assert "holds no CUDA code" in refused("list", ROOT / "README.md")
    assert "failed to open file" in refused("list", "/nowhere")
    assert "did you mean vecadd?" in refused(
        "weave", CASES / "samples.ptx", "--probe", "cuda:vectoradd { @ = count(); }"
    )
    assert "no PTX" in refused("weave", CASES / "samples-sm_90.cubin", "--probe", COUNT)
    assert "link-time IR" in refused("weave", CASES / "samples-lto.fatbin", "--probe", COUNT)
    assert "no probe of kernels" in refused("weave", CASES / "samples.ptx", "--probe", "begin { }")
    assert "not an architecture" in refused("weave", CASES / "samples.ptx", "--probe", COUNT, "--arch", "x")
    assert "needs --probe" in refused("weave", CASES / "samples.ptx")
    assert "Unknown action" in refused("wave", CASES / "samples.ptx")
    assert "takes no --probe" in refused("list", CASES / "samples.ptx", "--probe", COUNT)
