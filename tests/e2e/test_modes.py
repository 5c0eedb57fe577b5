"""Probes of the tracer itself: tests and benchmarks of a script, and what a signal starts."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.tools.tracing import Tracer, bpftime

TESTS = """
begin { @n = 5; }
test:good { if (@n != 5) { return 1; } printf("hello\\n"); }
test:bad { return 3; }
test:reports { errorf("oh %d\\n", 1); }
test:exits { exit(2); }
test:also_good { return 0; }
end { print("end"); }
"""
BENCHES = "bench:fast { @x++; } bench:skipped { return 1; } bench:slow { for ($i : 0..1000) { @x++; } }"


def test_results_as_json() -> None:
    done = bpftime("trace", "--test", "-f", "json", "-e", TESTS)
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    (results,) = [line["data"] for line in lines if line["type"] == "test_result"]
    assert {name: row["passed"] for name, row in results.items()} == {
        "good": True, "bad": False, "reports": False, "exits": False, "also_good": True,
    }  # fmt: skip
    assert results["good"]["output"] == "hello\n"


def test_results_as_text_and_status() -> None:
    done = bpftime("trace", "--mode", "test", "-e", 'test:a { return 0; } test:b { print("x"); }')
    assert done.returncode == 0
    names = [line.partition(b" (")[0] for line in done.stdout.splitlines()]
    assert names == [b"x", b"a: passed", b"b: passed"]


def test_tests_do_not_run_unless_asked() -> None:
    done = bpftime("trace", "-e", 'test:a { print("a"); } bench:b { print("b"); } begin { print("begin"); }')
    assert (done.returncode, done.stdout) == (0, b"begin\n")
    assert done.stderr == b"Attached 1 probe\n"


def test_benchmarks_measure_what_returns_zero() -> None:
    done = bpftime("trace", "--bench", "-f", "json", "-e", BENCHES)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    (results,) = [line["data"] for line in lines if line["type"] == "benchmark_result"]
    assert set(results) == {"fast", "slow"}
    assert results["slow"]["average"] > 10 * results["fast"]["average"]
    assert done.returncode == 1  # one was skipped


def test_a_signal_starts_self_probes() -> None:
    with Tracer(("-e", 'self:signal:SIGUSR1 { exit(7); } end { print("end"); }')) as tracer:
        tracer.process.send_signal(signal.SIGUSR1)
        ended = tracer.end(0)
    assert (ended.out, ended.status) == ("end\n", 7)


STAGES = {
    "parse": "  parameter index=1",
    "ast": "  integer value=5 text='$5'",
    "types": ":: int8",
    "bytecode": "call map_update_elem",
    "verify": "needs nothing",
    "codegen": "define ",
    "codegen-opt": "; ModuleID",
    "native": "ret",
}


@pytest.mark.parametrize("stage", STAGES)
def test_stages_of_the_compiler(stage: str) -> None:
    done = bpftime("trace", "--mode", "codegen", "-d", stage, "-e", "begin { @[$1] = 7; }", "5")
    assert done.returncode == 0
    first, *rest = done.stderr.decode().splitlines()
    assert first.startswith(f"-- {stage}")
    assert any(STAGES[stage] in line for line in rest)


def test_modules_are_written(tmp_path: Path) -> None:
    done = bpftime("trace", "--mode", "codegen", "--emit-llvm", f"{tmp_path}/m", "-e", "begin { @ = 1; }")
    assert done.returncode == 0
    for name in ("m.original.ll", "m.optimized.ll"):
        assert "define " in (tmp_path / name).read_text()


def test_dry_run_without_a_target_only_compiles() -> None:
    done = bpftime("trace", "--dry-run", "-e", "uprobe:libc.so.6:malloc { @ = count(); }")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_style() -> None:
    done = bpftime("trace", "--fmt", "-e", "begin{print(1);}")
    assert done.stdout == b"begin {\n  print(1);\n}\n"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("self:signal:SIGINT { }", "SIGINT is not a supported signal"),
        ("self:other:SIGUSR1 { }", "other is not a kind of self probe"),
        ("test:a { } test:a { }", '"a" was used as the name for more than one TEST probe'),
        ("bench:a { } bench:a { }", '"a" was used as the name for more than one BENCH probe'),
        ("test { }", "test should have a target"),
    ],
)
def test_refused(program: str, message: str) -> None:
    done = bpftime("trace", "-e", program)
    assert done.returncode == 1
    assert message.encode() in done.stderr
