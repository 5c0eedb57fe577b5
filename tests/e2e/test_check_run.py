"""`check` and `run` as commands: verdicts, r0 in hex, batches that go on whatever the lines are."""

from __future__ import annotations

import json
import random
import struct
import time
from pathlib import Path

import pytest

from tests.tools.compile_bpf import compile_bpf
from tests.tools.tracing import bpftime

EXIT = "9500000000000000"
MIXED = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, __u32);
  __type(value, __u64); } m SEC(".maps");
const volatile int factor = 3;
int seen[4];
SEC("uprobe") int good(void *c) { return 0; }
SEC("?uprobe") int skipped(void *c) { __u32 k = 1; __u64 *v = bpf_map_lookup_elem(&m, &k); *v = 3; return 0; }
SEC("uprobe") int bad(void *c) { __u32 k = 1; __u64 *v = bpf_map_lookup_elem(&m, &k); *v = 3; return 0; }
SEC("socket") int sum(unsigned char *mem) { seen[1] = mem[0]; return (mem[0] + mem[1]) * factor + seen[1]; }
char LICENSE[] SEC("license") = "GPL";
"""


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    source = tmp_path / "mixed.bpf.c"
    source.write_text(MIXED)
    if compile_bpf(source) is None:
        pytest.skip("clang or the headers of libbpf are missing")
    return source


def mov(value: int) -> str:
    return struct.pack("<BBhi", 0xB7, 0, 0, value).hex() + EXIT


def test_verdicts(mixed: Path) -> None:
    done = bpftime("check", str(mixed), "-f", "json")
    rows = json.loads(done.stdout)["programs"]
    assert {r["name"]: (r["section"], r["verdict"]) for r in rows} == {
        "good": ("uprobe", "accept"),
        "skipped": ("?uprobe", "reject"),
        "bad": ("uprobe", "reject"),
        "sum": ("socket", "accept"),
    }
    reasons = {r["name"]: r["reason"] for r in rows}
    assert "may be NULL" in reasons["bad"]
    assert reasons["good"] == ""
    assert done.returncode == 1, "load would refuse it"
    assert done.stderr.count(b"ERROR:") == 1
    assert b"mixed.bpf.c:10:" in done.stderr


def test_scripts_are_checked(tmp_path: Path) -> None:
    script = tmp_path / "x.bt"
    script.write_text("BEGIN { @ = 1; } uprobe:libc.so.6:malloc { @x = hist(arg0); }")
    done = bpftime("check", str(script), "-f", "json")
    assert done.returncode == 0, done.stderr
    assert [r["verdict"] for r in json.loads(done.stdout)["programs"]] == ["accept", "accept"]
    script.write_text("BEGIN { @ = nope(); }")
    done = bpftime("check", str(script), "-f", "json")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"x.bt:1:13-17: ERROR: Unknown function: 'nope'" in done.stderr


@pytest.mark.parametrize("data", [b"", b"hello", b"\x7fELF", b"\x7fELF" + bytes(200)])
def test_no_objects(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.bpf.o"
    path.write_bytes(data)
    for command in (("check",), ("check", "-f", "json"), ("run",), ("load",)):
        done = bpftime(command[0], str(path), *command[1:])
        assert done.returncode == 1
        assert done.stdout == b""
        assert done.stderr.count(b"ERROR:") == 1


def test_run_a_program_of_a_file(mixed: Path) -> None:
    done = bpftime("run", str(mixed), "--program", "sum", "--mem", "0a 0b")
    assert (done.returncode, done.stdout) == (0, b"49\n"), done.stderr
    assert bpftime("run", str(mixed), "--program", "good").stdout == b"0\n"
    done = bpftime("run", str(mixed), "--program", "bad")
    assert done.returncode == 1
    assert b"may be NULL" in done.stderr
    done = bpftime("run", str(mixed), "--program", "nope")
    assert done.returncode == 1
    assert b"it has: good, bad, skipped, sum" in done.stderr
    assert bpftime("run", str(mixed)).returncode == 2


@pytest.mark.parametrize(
    ("text", "memory", "r0"),
    [
        (mov(42), "", b"2a\n"),
        (mov(-1), "", b"ffffffffffffffff\n"),
        (f"{mov(42)[:9]}\n {mov(42)[9:]}", "", b"2a\n"),
        ("bf20000000000000" + EXIT, "", b"0\n"),  # r0 = r2
        ("bf20000000000000" + EXIT, "010203", b"3\n"),
        ("bf10000000000000" + EXIT, "", b"0\n"),  # r0 = r1
        ("7910000000000000" + EXIT, "0807060504030201", b"102030405060708\n"),
    ],
)
def test_hex(text: str, memory: str, r0: bytes) -> None:
    done = bpftime("run", "--hex", "-", *(("--mem", memory) if memory else ()), stdin=text.encode())
    assert (done.returncode, done.stdout) == (0, r0), done.stderr


@pytest.mark.parametrize("text", ["", "zz", "b700", "ff" * 8, mov(1)[:16], "0500000000000000" * 2, "\0\xff"])
def test_bad_hex(text: str) -> None:
    done = bpftime("run", "--hex", "-", stdin=text.encode("latin-1"))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"ERROR:")


def test_batch_goes_on() -> None:
    chance = random.Random(3)
    lines, expected = [], []
    for number in range(300):
        value = chance.randrange(1 << 31)
        lines.append(json.dumps({"name": f"n{number}", "prog": mov(value), "mem": ""}))
        expected.append({"name": f"n{number}", "r0": f"{value:x}"})
    wrong = [
        "{",
        "[]",
        "7",
        '"x"',
        '{"name": "w"}',
        '{"name": "w", "prog": 5}',
        '{"name": "w", "prog": "zz", "mem": ""}',
        '{"name": "w", "prog": "95", "mem": "0"}',
        json.dumps({"name": "w", "prog": mov(1), "mem": "q"}),
        json.dumps({"name": "w", "prog": "05000000000000" + "00" + "0500feff00000000" + EXIT}),
        "\x00",
    ]
    text = "\n".join([*lines[:100], *wrong, *lines[100:]])
    start = time.monotonic()
    done = bpftime("run", "--batch", stdin=text.encode() + b"\n\xff\xfe\n")
    took = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [a for a in answers if "r0" in a] == expected
    assert sum("error" in a for a in answers) == len(wrong) + 1
    assert done.stderr == b""
    assert took < 30
