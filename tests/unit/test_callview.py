"""What the view of system calls makes of recorded bytes, and that its tables fit together."""

from __future__ import annotations

import errno
import shutil
import struct

import pytest

from bpftime_cli.callview.call import Call
from bpftime_cli.callview.classes import CLASSES, chosen
from bpftime_cli.callview.lines import duration_text, error_text
from bpftime_cli.callview.script import COUNTING, recording
from bpftime_cli.callview.shapes import captures_of, shapes_of
from bpftime_cli.callview.summary import quantile
from bpftime_cli.callview.values import KINDS, Looks, quoted, signal_set, text_of_argument
from runtime.errors import UsageProblem
from runtime.events import Bucket, Histogram, Value
from runtime.lang import compile_script
from runtime.syscalls import generate_flags
from runtime.syscalls.flags import read_rows, sets
from runtime.syscalls.kinds import kinds_of, rows
from runtime.syscalls.table import by_name, syscalls

POINTER = 0x7FFF0000


def shown(kind: str, word: int, copy: Value = b"", result: int = 0, others: tuple[int, ...] = ()) -> str:
    arguments = (word, *others, *[0] * (5 - len(others)))
    call = Call(1, 1, 0, 0, 0, result, True, arguments, {0: copy})
    return text_of_argument(call, 0, kind, Looks())


VALUES = [
    ("int", 0xFFFFFFFF, b"", "-1"),
    ("uint", (1 << 64) - 1, b"", "18446744073709551615"),
    ("off", (1 << 64) - 1, b"", "-1"),
    ("hex", 0, b"", "0"),
    ("ptr", 0, b"", "NULL"),
    ("ptr", 0x1234, b"", "0x1234"),
    ("mode", 0o100644, b"", "0100644"),
    ("mode", 0o755, b"", "0755"),
    ("mode", 0, b"", "000"),
    ("fd", 3, b"", "3"),
    ("fd", 0xFFFFFFFF, b"", "-1"),
    ("dirfd", 0xFFFFFF9C, b"", "AT_FDCWD"),
    ("path", POINTER, b"/etc/x", '"/etc/x"'),
    ("path", POINTER, b"/a...", '"/a"...'),
    ("path", 0, b"", "NULL"),
    ("flags:open", 0o2000101, b"", "O_WRONLY|O_CREAT|O_CLOEXEC"),
    ("flags:open", 0, b"", "O_RDONLY"),
    ("flags:open", 1 << 30, b"", "O_RDONLY|0x40000000"),
    ("flags:prot", 3, b"", "PROT_READ|PROT_WRITE"),
    ("flags:prot", 0, b"", "PROT_NONE"),
    ("flags:map", 0x22, b"", "MAP_PRIVATE|MAP_ANONYMOUS"),
    ("enum:whence", 2, b"", "SEEK_END"),
    ("enum:whence", 99, b"", "0x63"),
    ("clone", 0x1200011, b"", "CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD"),
    ("futexop", 0x81, b"", "FUTEX_WAKE_PRIVATE"),
    ("sig", 9, b"", "SIGKILL"),
    ("sig", 34, b"", "SIGRT_2"),
    ("sigset", POINTER, struct.pack("<Q", 1 << 16), "[CHLD]"),
    ("sigset", POINTER, struct.pack("<Q", (1 << 64) - 1), "~[]"),
    ("timespec", POINTER, struct.pack("<qq", 1, 5), "{tv_sec=1, tv_nsec=5}"),
    ("timespec", POINTER, b"", "0x7fff0000"),
    ("argv", POINTER, (b"ls", b"-l", b"", b"", b"", b"", b"", b""), '["ls", "-l"]'),
    ("argv", POINTER, (b"a",) * 8, '["a", "a", "a", "a", "a", "a", "a", "a", ...]'),
    ("sockaddr:1", POINTER, struct.pack(">HH4s8x", 0x0200, 80, bytes([127, 0, 0, 1])),
     '{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}'),
    ("sockaddr:1", POINTER, b"\1\0/run/x\0", '{sa_family=AF_UNIX, sun_path="/run/x"}'),
    ("sockaddr:1", POINTER, b"\1\0\0name", '{sa_family=AF_UNIX, sun_path=@"name"}'),
    ("rlimit", POINTER, struct.pack("<Qq", 8 << 20, -1), "{rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}"),
    ("pair", POINTER, struct.pack("<ii", 3, 4), "[3, 4]"),
    ("pollfds:1", POINTER, struct.pack("<ihh", 3, 1, 1), "[{fd=3, events=POLLIN, revents=POLLIN}]"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "word", "copy", "text"), VALUES)
def test_value(kind: str, word: int, copy: Value, text: str) -> None:
    assert shown(kind, word, copy) == text


def test_buffers_are_cut_and_say_so() -> None:
    assert shown("in:1", POINTER, b"a" * 40, others=(40,)) == '"' + "a" * 32 + '"...'
    assert shown("in:1", POINTER, b"ab", others=(2,)) == '"ab"'
    assert shown("in:1", POINTER, b"", others=(2,)) == hex(POINTER)  # it could not be read
    assert shown("out:1", POINTER, b"abc", result=3) == '"abc"'
    assert shown("out:1", POINTER, b"", result=-9) == hex(POINTER)
    assert shown("out:1", POINTER, b"", result=0) == '""'


def test_status_of_wait() -> None:
    assert (
        shown("ostatus", POINTER, struct.pack("<i", 3 << 8), result=7)
        == "[{WIFEXITED(s) && WEXITSTATUS(s) == 3}]"
    )
    assert (
        shown("ostatus", POINTER, struct.pack("<i", 9), result=7)
        == "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}]"
    )
    assert shown("ostatus", POINTER, struct.pack("<i", 0), result=0) == hex(POINTER)


def test_quotes() -> None:
    assert quoted(b'a"\\\n\t\0001\x7f\xff') == '"a\\"\\\\\\n\\t\\0001\\177\\377"'


def test_sets_of_signals() -> None:
    assert signal_set(0) == "[]"
    assert signal_set(0b11) == "[HUP INT]"
    assert signal_set((1 << 64) - 1 - (1 << 8)) == "~[KILL]"


def test_results() -> None:
    assert error_text(errno.ENOENT) == "-1 ENOENT (No such file or directory)"
    assert error_text(512) == "? ERESTARTSYS (to be restarted)"
    assert [duration_text(ns) for ns in (5, 1500, 150_000, 2_500_000, 3 * 10**9)] == [
        "5ns", "1.5us", "150us", "2.5ms", "3.0s",
    ]  # fmt: skip


def test_quantiles() -> None:
    spread = Histogram((Bucket(0, 9, "", 98), Bucket(10, 19, "", 1), Bucket(20, 29, "", 1)))
    assert [quantile(spread, part) for part in (0.5, 0.98, 0.99, 1.0)] == [9, 9, 19, 29]


def test_every_kind_has_a_text_and_every_set_exists() -> None:
    for call in syscalls():
        for kind in kinds_of(call.number):
            word, _, detail = kind.partition(":")
            assert word in KINDS, f"{call.name}: {kind}"
            assert word not in ("flags", "enum") or detail in sets(), f"{call.name}: {kind}"


def test_rows_have_as_many_kinds_as_the_call_has_arguments() -> None:
    for name, kinds in rows().items():
        call = by_name()[name]
        assert not call.arguments or len(kinds) == len(call.arguments), name


def test_the_scripts_compile() -> None:
    script = compile_script(recording(shapes_of(chosen("")), 252))
    assert not script.warnings
    assert not compile_script(COUNTING).warnings
    assert len(script.object.programs) > 50


def test_captures_lie_within_what_the_call_has() -> None:
    for call in syscalls():
        for capture in captures_of(call.number):
            assert capture.argument < 6
            assert capture.length < 6


@pytest.mark.parametrize("name", CLASSES)
def test_classes_name_calls(name: str) -> None:
    assert chosen(f"%{name}")


@pytest.mark.parametrize("text", ["nosuch", "%nosuch", "/(/"])
def test_wrong_sets(text: str) -> None:
    with pytest.raises(UsageProblem):
        chosen(text)


def test_the_table_of_flags_is_fresh() -> None:
    """The generator makes the same table; headers that are newer than it may add names."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    made = {row[0]: row for row in generate_flags.rows()}
    for name, kind, names in read_rows():
        assert made[name][1] == kind
        assert set(names.split(",")) <= set(made[name][2].split(","))
