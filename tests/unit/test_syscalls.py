"""The table of system calls: what it says agrees with the headers and with the kernel of this machine."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import pytest

from runtime.errors import Problem
from runtime.syscalls import generate
from runtime.syscalls.table import FILE, by_name, by_number, find, name_of, read_rows, syscalls

TRACEFS = Path("/sys/kernel/tracing")
ON_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86-64")


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_the_file_is_what_its_generator_makes() -> None:
    try:
        rows = generate.collected(TRACEFS if os.access(TRACEFS / "events", os.R_OK) else Path("/nowhere"))
    except Problem as problem:
        pytest.skip(str(problem))
    assert FILE.read_text() == generate.text_of(rows)


def test_a_number_that_changes_is_an_error() -> None:
    with pytest.raises(Problem, match="read was 0 and is 7"):
        generate.merged(read_rows(), {"read": 7}, {}, {})


def test_rows_are_never_lost() -> None:
    assert generate.merged(read_rows(), {}, {}, {}) == read_rows()


@pytest.mark.skipif(not os.access(TRACEFS / "events/syscalls", os.R_OK), reason="tracefs cannot be read")
def test_names_and_arguments_are_this_kernels() -> None:
    points = generate.arguments(TRACEFS)
    known = {s.tracepoint: [a.name for a in s.arguments] for s in syscalls() if s.tracepoint}
    for name, text in points.items():
        declared = text.split(", ") if text != "-" else []
        assert known[name] == [one.rpartition(" ")[2] for one in declared], name


@ON_X86
def test_calls_are_found_by_each_of_their_names() -> None:
    assert by_name()["newstat"].number == by_name()["stat"].number == 4
    assert by_name()["umount"].name == "umount2"
    assert [s.number for s in find("newstat")] == [4]
    assert find("nosuch") == []
    assert {s.name for s in find("exec*")} == {"execve", "execveat"}


def test_numbers_are_below_the_limit_and_have_names() -> None:
    assert all(0 <= number < 512 for number in by_number())
    assert name_of(0x1D7 + 30) == "syscall_0x1f5"
    assert all(len(s.arguments) <= 6 for s in syscalls())


def test_both_architectures_are_there() -> None:
    arm = {s.name for s in syscalls("aarch64")}
    assert "openat" in arm and "open" not in arm
    assert syscalls("sparc") == ()
