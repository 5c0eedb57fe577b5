"""`trace -l`: what it lists, with arguments and without, of patterns, of scripts, of the kernel's types."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import BPFTIME, PATIENCE, environment


def listed(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BPFTIME, "trace", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(),
        check=False,
    )


def test_all_are_sorted_and_of_every_kind() -> None:
    lines = listed("-l").stdout.splitlines()
    assert lines == sorted(lines)
    assert {line.partition(":")[0] for line in lines} >= {"begin", "end", "interval", "self", "tracepoint"}
    assert "tracepoint:syscalls:sys_enter_openat" in lines
    assert "self:signal:SIGUSR1" in lines
    assert "software:cpu:" in lines


CASES = [
    (["-l", "interval*"], "interval:hz:\ninterval:ms:\ninterval:s:\ninterval:us:\n"),
    (["-l", "i"], "interval:hz:\ninterval:ms:\ninterval:s:\ninterval:us:\n"),
    (["-l", "BEGIN,end"], "begin\nend\n"),
    (["-l", "sys_enter_openat"], "tracepoint:syscalls:sys_enter_openat\n"),
    (
        ["-l", "t:syscalls:sys_e*_openat2"],
        "tracepoint:syscalls:sys_enter_openat2\ntracepoint:syscalls:sys_exit_openat2\n",
    ),
    (
        ["-lv", "tracepoint:syscalls:sys_enter_openat"],
        "tracepoint:syscalls:sys_enter_openat\n    int __syscall_nr\n    int dfd\n    const char * filename\n"
        "    int flags\n    umode_t mode\n",
    ),
    (["-lv", "tracepoint:raw*:sys_exit"], "tracepoint:raw_syscalls:sys_exit\n    long id\n    long ret\n"),
    (
        ["-l", "uprobe:TYPED:m*"],
        "".join(f"uprobe:TYPED:{name}\n" for name in ("main", "make", "many", "mixed")),
    ),
    (["-l", "*:TYPED:mak*"], "uprobe:TYPED:make\nuretprobe:TYPED:make\n"),
    (
        ["-lv", "u:TYPED:walk"],
        "uprobe:TYPED:walk\n    const struct item * item\n    int depth\n    char letter\n    counter_t n\n",
    ),
    (["-lv", "u:TYPED:none"], "uprobe:TYPED:none\n"),
    (
        [
            "-l",
            "-e",
            "BEGIN { } uprobe:TYPED:ma* /1/ { } interval:s:1, t:syscalls:sys_*_close { } uretprobe:TYPED:make { }",
        ],
        "begin\ninterval:s:1\ntracepoint:syscalls:sys_enter_close\ntracepoint:syscalls:sys_exit_close\n"
        "uprobe:TYPED:main\nuprobe:TYPED:make\nuprobe:TYPED:many\nuretprobe:TYPED:make\n",
    ),
]


@pytest.mark.parametrize(("words", "wanted"), CASES)
def test_patterns_and_scripts(words: list[str], wanted: str) -> None:
    path = str(build("typed"))
    done = listed(*(word.replace("TYPED", path) for word in words))
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == wanted.replace("TYPED", path)


def test_a_script_file_is_listed(tmp_path: Path) -> None:
    script = tmp_path / "x.bt"
    script.write_text("begin { } interval:1s { }")
    assert listed("-l", str(script)).stdout == "begin\ninterval:1s\n"


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("nosuch*", "no probe matches 'nosuch*'"),
        ("kprobe:vfs_read", "kprobe probes instrument kernel code and cannot be served in user space"),
        ("nosuch:x", "Invalid probe type: nosuch"),
        ("uprobe:nosuchfile:x", "uprobe target file 'nosuchfile' does not exist or is not executable"),
    ],
)
def test_what_is_not_there_is_said(word: str, text: str) -> None:
    done = listed("-l", word)
    assert done.stdout == ""
    assert done.stderr.startswith(f"ERROR: {text}\n")
    assert done.returncode in (1, 2)


def test_types_of_the_kernel() -> None:
    if not Path("/sys/kernel/btf/vmlinux").exists():
        pytest.skip("no BTF")
    assert listed("-l", "struct timespec64").stdout == "struct timespec64\n"
    text = listed("-lv", "struct timespec64").stdout
    assert text == "struct timespec64 {\n\ttime64_t tv_sec;\n\tlong int tv_nsec;\n};\n\n"
    assert "\tPIDTYPE_PID = 0,\n" in listed("-lv", "enum pid_type").stdout
    assert listed("-l", "struct nosuchstruct").returncode == 1
