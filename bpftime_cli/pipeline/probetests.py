"""`test:` and `bench:` probes: run each one in the tracer, say what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from bpftime_cli.pipeline.output import Output
from bpftime_cli.pipeline.tracerside import TracerProbes
from runtime.events import Event, Value
from runtime.lang.script import ScriptProbe

LEAST = 1_000_000  # ns that a benchmark runs
MOST = 1 << 24  # rounds of one measurement


def run_tests(local: TracerProbes, output: Output) -> bool:
    """Run every `test:` probe and print the results; returns whether all passed.

    A test passes if it returns 0, exits with 0 or not at all, and reports no error.
    """
    results: dict[str, Value] = {}
    for probe in local.of("test"):
        local.load(probe)
        start = time.perf_counter_ns()
        with output.watch() as seen:
            returned = local.run(probe)
            output.drain(all_of_it=True)
        passed = returned == 0 and not seen.errors and not seen.exit_code
        results[probe.parts[0]] = {
            "duration": time.perf_counter_ns() - start,
            "passed": passed,
            "output": b"".join(seen.texts),
        }
    output.show(Event("test_result", results))
    return all(isinstance(row, dict) and row["passed"] for row in results.values())


def run_benches(local: TracerProbes, output: Output) -> bool:
    """Run every `bench:` probe until it has taken a millisecond; returns whether all ran.

    One that returns another value than 0 is skipped.
    """
    results: dict[str, Value] = {}
    probes = local.of("bench")
    for probe in probes:
        measured = _measure(probe, local, output)
        if measured is not None:
            average, rounds = measured
            results[probe.parts[0]] = {"average": round(average), "iters": rounds}
    output.show(Event("benchmark_result", results))
    return len(results) == len(probes)


def _measure(probe: ScriptProbe, local: TracerProbes, output: Output) -> tuple[float, int] | None:
    program = local.load(probe).program
    if local.run(probe):
        return None
    rounds, average = 1, 0.0
    while rounds <= MOST:
        _, average = program.repeat(rounds)
        output.drain(all_of_it=True)
        if average * rounds >= LEAST:
            break
        rounds *= 2
    return average, min(rounds, MOST)


RUNNERS: dict[str, Callable[[TracerProbes, Output], bool]] = {"test": run_tests, "bench": run_benches}
