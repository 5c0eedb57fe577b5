"""Programs that decide: overrides and set return values on every shape of function, next to other probes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import Running, Tracer, bpftime, changed, text_of

CALLS = 1000
VALUE = 987_654_321
# Functions whose result the target checks once a call, whose first argument counts up from 0.
SHAPES = (
    "five six jmp_first sub_call rip rip_byte repret endbr pushes tail lock enter redzone "
    "switch nine alloca leaf"
).split()
FLOATING = ("double", "x87", "pair", "struct", "varargs")


def roomy() -> Path:
    """The functions of `shapes` with padding behind each: every one can be probed at its entry."""
    return build("shapes", '-DROOM=".balign 16, 0xcc\\n"', as_name="roomy")


@pytest.mark.parametrize("shape", SHAPES)
def test_every_other_call_is_overridden(shape: str) -> None:
    """The body runs for even arguments only; its caller gets our value for odd ones, and so does a return probe."""
    program = (
        f"uprobe:roomy:shape_{shape} /arg0 & 1/ {{ override({VALUE}); }}"
        f"uretprobe:roomy:shape_{shape} {{ @[retval == {VALUE}] = count(); }}"
    )
    with Running(roomy(), "1", str(CALLS)) as target:
        before = text_of(target.pid)
        with Tracer(("-q", "--unsafe", "-p", str(target.pid), "-e", program)) as tracer:
            own = target.work()
            ended = tracer.end()
        assert ended.status == 0, ended.err
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 1  # the target saw wrong results
    assert own["wrong"] == CALLS // 2
    seen = {m[1]: int(m[2]) for m in re.finditer(r"@\[(\w+)\]: (\d+)", ended.out)}
    assert sum(seen.values()) == own[f"shape_{shape}"]
    assert seen["true" if "true" in seen else "1"] == CALLS // 2


def test_an_override_that_does_not_decide_changes_nothing() -> None:
    """Stack arguments, vector registers, results in memory and in two registers reach everybody unchanged."""
    names = [*SHAPES, *FLOATING]
    program = " ".join(
        f"uprobe:roomy:shape_{name} /arg0 == 1234567890123/ {{ override(1); }}" for name in names
    )
    with Running(roomy(), "4", str(CALLS)) as target:
        with Tracer(("-q", "--unsafe", "-p", str(target.pid), "-e", program)) as tracer:
            own = target.work()
            assert tracer.end().status == 0
        assert own["wrong"] == 0
        assert target.end() == 0


def test_a_return_value_is_replaced() -> None:
    program = "uretprobe:roomy:shape_pushes { setret(retval + 1); } uretprobe:roomy:shape_pushes { @ = sum(retval); }"
    with Running(roomy(), "1", str(CALLS)) as target:
        with Tracer(("-q", "--unsafe", "-p", str(target.pid), "-e", program)) as tracer:
            own = target.work()
            ended = tracer.end()
        assert target.end() == 1
    assert own["wrong"] == CALLS
    assert f"@: {sum(i + 9 + 1 for i in range(CALLS))}" in ended.out  # what the first one has set


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ("uprobe:roomy:shape_noreturn { override(1); }", "never returns"),
        ("uprobe:roomy:_start { override(1); }", "cannot be overridden"),
        ("uprobe:roomy:shape_pushes+5 { override(1); }", "Offset not allowed"),
        (  # its body reads the caller's stack, and no exit of it is a bare `ret`
            "uprobe:roomy:shape_return_address { override(1); } uretprobe:roomy:shape_return_address { @ = count(); }",
            "would miss the calls that do not run",
        ),
        (
            "uprobe:roomy:shape_five { override(1); } uprobe:roomy:shape_five { override(2); }",
            "decides already",
        ),
    ],
)
def test_what_cannot_be_overridden(probe: str, words: str) -> None:
    with Running(roomy(), "1", "2") as target:
        done = bpftime("trace", "-q", "--unsafe", "--dry-run", "-p", str(target.pid), "-e", probe)
        assert words in done.stderr.decode()
        assert target.work()["wrong"] == 0
