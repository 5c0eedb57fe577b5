"""Functions of awkward shapes, all probed at once: exact counts, unchanged results, code bytes restored."""

from __future__ import annotations

import re

import pytest

from tests.tools.target import build
from tests.tools.tracing import Running, Tracer, changed, text_of

# They are shorter than a jump and their neighbours leave no hole near them.
MAY_BE_REFUSED = {
    "shape_two_pops", "shape_jmp_first", "shape_call_first", "shape_sub_call", "shape_repret", "shape_jrcxz",
    "shape_endbr", "shape_pushes", "shape_caller", "shape_ret", "shape_six", "shape_five",
}  # fmt: skip
NEVER_RETURN = {"shape_noreturn", "shape_leaper", "shape_leapt"}
LOOPS_TO_ITS_ENTRY = "shape_back"  # as with the kernel's probes, each round counts at its entry


@pytest.mark.parametrize("provider", ["uprobe", "uretprobe"])
def test_counts_and_results(provider: str) -> None:
    with Running(build("shapes"), "8", "1000") as target:
        before = text_of(target.pid)
        program = f"{provider}:shapes:shape_* {{ @[func] = count(); }}"
        with Tracer(("-q", "-p", str(target.pid), "-e", program)) as tracer:
            own = target.work()
            ended = tracer.end()
        assert changed(before, text_of(target.pid)) == []
        assert own.pop("wrong") == 0
        assert target.end() == 0
    got = {m[1]: int(m[2]) for m in re.finditer(r"@\[(\w+)\]: (\d+)", ended.out)}
    assert ended.status == 0, ended.err
    got.pop(LOOPS_TO_ITS_ENTRY, None)
    missing = own.keys() - got.keys()
    assert missing <= MAY_BE_REFUSED | (NEVER_RETURN if provider == "uretprobe" else set()), ended.err
    assert got == {name: own[name] for name in got}


@pytest.mark.parametrize(
    ("function", "values"),
    [
        ("five", [3, 4, 5, 6]), ("six", [1, 2, 3, 4]), ("rip_byte", [1, 2, 3, 4]), ("redzone", [5, 6, 7, 8]),
        ("many_rets", [3, 10, 11, 12]), ("enter", [0, 1, 2, 3]), ("pushes", [9, 10, 11, 12]), ("tail", [1 + 3, 5, 6, 7]),
        ("cond_tail", [1, 3, 5, 7]), ("lock", [0, 1, 2, 3]), ("return_address", [1, 2, 3, 4]), ("back", [0, 1, 2, 3]),
        ("switch", [1011, 3000, 1000 ^ 77, 995]), ("nine", [240, 241, 242, 243]), ("varargs", [36, 36, 36, 36]),
        ("alloca", [1, 2, 3, 4]), ("leaf", [1, 2, 3, 4]), ("caller", [55, 56, 57, 58]),
    ],
)  # fmt: skip
def test_return_values(function: str, values: list[int]) -> None:
    """One function at a time, so that there is room: the value that the caller gets is the one that is seen."""
    program = f'uretprobe:shapes:shape_{function} {{ printf("%lld\\n", retval); }}'
    with Running(build("shapes"), "1", "4") as target:
        with Tracer(("-q", "-p", str(target.pid), "-e", program)) as tracer:
            assert target.work()["wrong"] == 0
            ended = tracer.end()
        assert target.end() == 0
    assert sorted(int(line) for line in ended.out.split()) == sorted(values)
