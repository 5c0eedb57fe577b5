"""Programs that run now and then: by CPU time, by events of the kernel, at a watched place of memory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import Running, Tracer, bpftime

ROUNDS = 12


def sampled(program: str) -> tuple[str, str]:
    """Trace the target at work; gives what was printed, and what was said. `$W` is the watched variable."""
    with Running(build("burns"), str(ROUNDS)) as target:
        place = re.search(rb"watched (0x[0-9a-f]+)", target.said)
        assert place is not None
        text = program.replace("$W", place[1].decode())
        before = signals(target.pid)
        with Tracer(("-q", "-p", str(target.pid), "-e", text)) as tracer:
            target.work()
            ended = tracer.end()
        assert signals(target.pid) == before
        assert target.end() == 0
    return ended.out, ended.err


def signals(pid: int) -> dict[str, int]:
    """What a process does with signals, but for the two that its C library uses as soon as there are threads."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = (line.split(":\t") for line in lines if line.startswith(("SigCgt", "SigIgn", "SigBlk")))
    return {name: int(mask, 16) & ~(3 << 31) for name, mask in found}


def numbers(out: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"^@(\S*): (\d+)$", out, re.M)}


@pytest.mark.parametrize("probe", ["profile:hz:500", "profile:2ms", "software:cpu-clock:2000000"])
def test_time_is_seen_where_it_is_spent(probe: str) -> None:
    out, err = sampled(f'{probe} {{ @[usym(reg("ip"))] = count(); @n = count(); }}')
    found = re.findall(r"^@\[(\w+)\+?\d*\]: (\d+)$", out, re.M)
    assert err == ""
    hot = sum(int(count) for name, count in found if name == "hot")
    assert hot > 5 and hot > sum(int(count) for name, count in found if name == "cold")


def test_stacks_of_a_sample_begin_where_the_thread_was() -> None:
    out, _ = sampled("profile:hz:500 { @[ustack(2)] = count(); }")
    assert re.search(r"^\s+hot\+\d+.*\n\s+work\+\d+", out, re.M)


def test_every_write_to_a_watched_place_is_seen() -> None:
    out, err = sampled("watchpoint:$W:8:w { @[*(int64*)$W] = count(); }")
    if "cannot be counted here" in err:
        pytest.skip(err)
    assert out == "".join(f"@[{n}]: 1\n" for n in range(1, ROUNDS + 1))


def test_faults_of_pages_are_counted_in_all_threads() -> None:
    out, _ = sampled("software:page-faults:1 { @ = count(); } software:minor-faults { @minor = count(); }")
    found = numbers(out)
    assert 2 * 10 * ROUNDS * 0.8 <= found[""] <= 2 * 10 * ROUNDS + 200
    assert found.get("minor", 0) <= found[""] // 50


def test_what_the_processor_does_not_count_is_said() -> None:
    done = bpftime(
        "trace",
        "-q",
        "-e",
        "hardware:cycles:100000 { @ = count(); }",
        "--",
        str(build("burns")),
        stdin=b"\n\n",
    )
    if done.returncode:
        assert b"ERROR: hardware:cycles:100000 cannot be counted here" in done.stderr
    else:
        assert b"@: " in done.stdout


def test_a_child_that_is_another_program_is_sampled_too() -> None:
    done = bpftime(
        "trace", "-q", "--follow", "-e", "profile:hz:500 { @[comm] = count(); }", "--",
        "sh", "-c", f"true; {build('burns')} 6", stdin=b"\n\n",
    )  # fmt: skip
    assert b"@[burns]: " in done.stdout
