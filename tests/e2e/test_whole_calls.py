"""A return probe that knows how its call began: its arguments then, and how long it took, nested calls apart."""

from __future__ import annotations

import re

import pytest

from tests.tools.target import build
from tests.tools.tracing import Running, Tracer, bpftime, changed, text_of


def test_each_level_of_a_recursion_has_its_own_beginning() -> None:
    """fib(5) makes 15 calls: every result goes with its own argument, which a map keyed by thread would mix up."""
    program = "uretprobe:shapes:shape_recursive { @[entry.arg0, retval] = count(); }"
    with Running(build("shapes"), "2", "100") as target:
        before = text_of(target.pid)
        with Tracer(("-q", "-p", str(target.pid), "-e", program)) as tracer:
            assert target.work()["wrong"] == 0
            ended = tracer.end()
        assert ended.status == 0, ended.err
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0
    seen = {(int(m[1]), int(m[2])): int(m[3]) for m in re.finditer(r"@\[(\d+), (\d+)\]: (\d+)", ended.out)}
    assert seen == {(5, 5): 200, (4, 3): 200, (3, 2): 400, (2, 1): 600, (1, 1): 1000, (0, 0): 600}


def test_all_arguments_are_kept() -> None:
    program = 'uretprobe:plain:six { printf("%lld %lld %lld %lld %lld %lld = %lld\\n", entry.arg0, entry.arg1, entry.arg2, entry.arg3, entry.arg4, entry.arg5, retval); }'
    done = bpftime("trace", "-q", "-e", program, "--", str(build("plain")), "2", stdin=b"\n\n")
    assert b"0 1 2 3 4 5 = 15\n1 1 2 3 4 5 = 16\n" in done.stdout, done.stderr


def test_the_time_of_a_call_holds_that_of_the_calls_in_it() -> None:
    program = (
        "uprobe:shapes:shape_recursive { @started[tid] = nsecs; }"
        "uretprobe:shapes:shape_recursive { @n[entry.arg0] = sum(elapsed_call); @calls[entry.arg0] = count(); }"
        "interval:1h { exit(); }"
    )
    with Running(build("shapes"), "1", "2000") as target:
        with Tracer(("-q", "-p", str(target.pid), "-e", program)) as tracer:
            assert target.work()["wrong"] == 0
            ended = tracer.end()
        assert target.end() == 0
    total = {int(m[1]): int(m[2]) for m in re.finditer(r"@n\[(\d+)\]: (\d+)", ended.out)}
    calls = {int(m[1]): int(m[2]) for m in re.finditer(r"@calls\[(\d+)\]: (\d+)", ended.out)}
    assert calls == {5: 2000, 4: 2000, 3: 4000, 2: 6000, 1: 10000, 0: 6000}
    assert total[5] > total[4] > total[3] / 2 > 0


@pytest.mark.parametrize("count", [1, 2])
def test_exceptions_pass(count: int) -> None:
    """The frames are larger than those of other thunks, and the unwinder was told."""
    programs = " ".join("uretprobe:thrown:* { @ = sum(elapsed_call + entry.arg3); }" for _ in range(count))
    with Running(build("thrown"), "2", "300") as target:
        with Tracer(("-q", "--no-warnings", "-p", str(target.pid), "-e", programs)) as tracer:
            own = target.work()
            assert tracer.end().status == 0
        assert target.end() == 0
    assert own["wrong"] == 0


def test_where_it_is_not_possible() -> None:
    with Running(build("shapes"), "1", "2") as target:
        program = "uretprobe:shapes:shape_nine { @ = max(elapsed_call); }"
        done = bpftime("trace", "-q", "--dry-run", "-p", str(target.pid), "-e", program)
        assert target.work()["wrong"] == 0
    assert done.returncode == 1
    assert b"cannot be kept until it returns" in done.stderr
    assert b"HINT: keep it in a map by tid" in done.stderr


def test_where_a_plain_return_probe_was_before() -> None:
    """A place that was chosen for a program without such wishes is not taken for one with them."""
    for program in ("retval", "entry.arg5 + 10", "retval"):
        done = bpftime(
            "trace", "-q", "-e", f"uretprobe:plain:six {{ @ = sum({program}); }}", "--", str(build("plain")), "2",
            stdin=b"\n\n",
        )  # fmt: skip
        assert f"@: {31 if program == 'retval' else 30}\n".encode() in done.stdout, done.stderr
