"""What the view of system calls makes of recorded bytes, and that its tables fit together."""

from __future__ import annotations

import errno
import shutil
import struct

import pytest

from bpftime_cli.callview.call import Call
from bpftime_cli.callview.classes import CLASSES, chosen
from bpftime_cli.callview.copies import Limits
from bpftime_cli.callview.field import Field, Looks, quoted
from bpftime_cli.callview.lines import Style, duration_text, line_of
from bpftime_cli.callview.results import error_text
from bpftime_cli.callview.script import entries_of, script_of
from bpftime_cli.callview.shapes import captures_of, shapes_of
from bpftime_cli.callview.signals import signal_set
from bpftime_cli.callview.summary import quantile
from bpftime_cli.callview.values import KINDS, form_of
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
    form, detail = form_of(kind)
    return form(Field(call, 0, detail, Looks()))


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
    ("filemode", 0o104755, b"", "S_IFREG|S_ISUID|0755"),
    ("filemode", 0o644, b"", "0644"),
    ("sig", 32, b"", "SIGRTMIN"),
    ("sockaddr:1", POINTER, b"\1\0", "{sa_family=AF_UNIX}"),
    ("epoll", POINTER, struct.pack("<IQ", 1, 1 << 32 | 7), "{events=EPOLLIN, data={u32=7, u64=4294967303}}"),
    ("int4", POINTER, struct.pack("<i", -5), "[-5]"),
    ("ioffset", POINTER, struct.pack("<q", 1 << 40), "[1099511627776]"),
    ("cpus:1", POINTER, b"\5\1" + bytes(6), "[0 2 8]"),
    ("stack", POINTER, struct.pack("<QI4xQ", 0, 2, 0), "{ss_sp=NULL, ss_flags=SS_DISABLE, ss_size=0}"),
    ("openhow", POINTER, struct.pack("<3Q", 0o2000000, 0, 8),
     "{flags=O_RDONLY|O_CLOEXEC, resolve=RESOLVE_BENEATH}"),
    ("utimes", POINTER, struct.pack("<4q", 0, (1 << 30) - 1, 0, (1 << 30) - 2), "[UTIME_NOW, UTIME_OMIT]"),
    ("itimerspec", POINTER, struct.pack("<4q", 1, 2, 3, 4),
     "{it_interval={tv_sec=1, tv_nsec=2}, it_value={tv_sec=3, tv_nsec=4}}"),
    ("cloneargs", POINTER, struct.pack("<11Q", 0x3D0F00, 0, 0x10, 0x20, 0, 0x30, 64, 0x40, 0, 0, 0),
     "{flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS"
     "|CLONE_PARENT_SETTID|CLONE_CHILD_CLEARTID, child_tid=0x10, parent_tid=0x20, exit_signal=0, stack=0x30,"
     " stack_size=0x40, tls=0x40}"),
    ("cloneargs", POINTER, bytes(60), "0x7fff0000"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "word", "copy", "text"), VALUES)
def test_value(kind: str, word: int, copy: Value, text: str) -> None:
    assert shown(kind, word, copy) == text


def line(
    name: str, arguments: tuple[int, ...], before: dict[int, Value], after: dict[int, Value], result: int
) -> str:
    """A call as a line without times, as short as can be."""
    words = (*arguments, *[0] * (6 - len(arguments)))
    call = Call(1, 1, by_name()[name].number, 0, 0, result, True, words, before, after)
    return " ".join(line_of(call, Style(Looks(), "none", shows_durations=False)).split())


FD_SET = (1 << 3 | 1 << 5).to_bytes(8, "little")
TWO = struct.pack("<4Q", 0x10, 5, 0x20, 8)
LINES = [
    ("getsockname", (3, POINTER, POINTER), {2: b"\x80\0\0\0"}, {1: b"\1\0", 2: b"\2\0\0\0"}, 0,
     "getsockname(3, {sa_family=AF_UNIX}, [128 => 2]) = 0"),
    ("getpeername", (3, POINTER, POINTER), {2: b"\x10\0\0\0"}, {2: b"\2\0\0\0"}, -107,
     "getpeername(3, 0x7fff0000, [16]) = -1 ENOTCONN (Transport endpoint is not connected)"),
    ("setsockopt", (3, 1, 13, POINTER, 8), {3: struct.pack("<ii", 1, 9)}, {}, 0,
     "setsockopt(3, SOL_SOCKET, SO_LINGER, {l_onoff=1, l_linger=9}, 8) = 0"),
    ("setsockopt", (3, 6, 1, POINTER, 4), {3: b"\1\0\0\0"}, {}, 0,
     "setsockopt(3, SOL_TCP, TCP_NODELAY, [1], 4) = 0"),
    ("writev", (1, POINTER, 2), {1: (TWO, b"hello", b" there\n\0", b"", b"", b"", b"")}, {}, 13,
     'writev(1, [{iov_base="hello", iov_len=5}, {iov_base=" there\\n\\0", iov_len=8}], 2) = 13'),
    ("readv", (0, POINTER, 2), {}, {1: (TWO, b"hello", b"xyz12345", b"", b"", b"", b"")}, 7,
     'readv(0, [{iov_base="hello", iov_len=5}, {iov_base="xy", iov_len=8}], 2) = 7'),
    ("writev", (1, POINTER, 9), {1: (struct.pack("<2Q", 0x10, 3), b"", b"", b"", b"", b"", b"")}, {}, -14,
     "writev(1, [{iov_base=0x10, iov_len=3}, ...], 9) = -1 EFAULT (Bad address)"),
    ("writev", (1, POINTER, 2), {1: (b"", *[b""] * 6)}, {}, -14,
     "writev(1, 0x7fff0000, 2) = -1 EFAULT (Bad address)"),
    ("sendmsg", (3, POINTER, 0), {1: (
        struct.pack("<QI4x4Qi4x", 0, 0, 0x99, 1, 0x50, 24, 0), b"",
        struct.pack("<Qiii4x", 20, 1, 1, 7), struct.pack("<2Q", 0x10, 2), b"ab", b"", b"", b"")}, {}, 2,
     'sendmsg(3, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="ab", iov_len=2}], msg_iovlen=1,'
     " msg_control=[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[7]}],"
     " msg_controllen=24, msg_flags=0}, 0) = 2"),
    ("poll", (POINTER, 1, 5), {}, {0: struct.pack("<ihh", 3, 1, 17)}, 1,
     "poll([{fd=3, events=POLLIN}], 1, 5) = 1 ([{fd=3, revents=POLLIN|POLLHUP}])"),
    ("poll", (POINTER, 1, 5), {}, {0: struct.pack("<ihh", 3, 1, 0)}, 0,
     "poll([{fd=3, events=POLLIN}], 1, 5) = 0 (Timeout)"),
    ("select", (6, POINTER, 0, 0, POINTER), {1: FD_SET, 4: struct.pack("<qq", 1, 0)},
     {1: b"\x08" + bytes(7), 4: struct.pack("<qq", 0, 9)}, 1,
     "select(6, [3 5], NULL, NULL, {tv_sec=1, tv_usec=0}) = 1 (in [3], left {tv_sec=0, tv_usec=9})"),
    ("umask", (0o22,), {}, {}, 0o77, "umask(022) = 077"),
    ("fcntl", (3, 3), {}, {2: b""}, 0o100002, "fcntl(3, F_GETFL) = 0x8002 (flags O_RDWR|O_LARGEFILE)"),
    ("fcntl", (3, 7, POINTER), {}, {2: struct.pack("<hh4xqqi4x", 1, 0, 0, 5, 0)}, 0,
     "fcntl(3, F_SETLKW, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=0, l_len=5}) = 0"),
    ("ioctl", (1, 0x5413, POINTER), {}, {2: struct.pack("<4H", 24, 80, 0, 0)}, 0,
     "ioctl(1, TIOCGWINSZ, {ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0}) = 0"),
    ("prctl", (15, POINTER), {1: b"name"}, {}, 0, 'prctl(PR_SET_NAME, "name") = 0'),
    ("clone", (0x1200011, 0, 0, 0x99), {}, {}, 7,
     "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x99) = 7"),
    ("sendfile", (1, 3, POINTER, 9), {2: bytes(8)}, {2: b"\x09" + bytes(7)}, 9,
     "sendfile(1, 3, [0] => [9], 9) = 9"),
    ("openat", (0xFFFFFF9C, POINTER, 0o2200000), {1: b"x"}, {}, 3,
     'openat(AT_FDCWD, "x", O_RDONLY|O_CLOEXEC|O_DIRECTORY) = 3'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "before", "after", "result", "text"), LINES)
def test_line(
    name: str,
    arguments: tuple[int, ...],
    before: dict[int, Value],
    after: dict[int, Value],
    result: int,
    text: str,
) -> None:
    assert line(name, arguments, before, after, result) == text


DAMAGED = [b"", b"\0", bytes(7), bytes(12), b"\xff" * 48, (b"",) * 9, (b"\xff" * 56,) * 9, (1,) * 9, 5, "x"]


@pytest.mark.parametrize("value", DAMAGED, ids=repr)
def test_whatever_was_copied_has_a_text(value: Value) -> None:
    """A target may change its memory at any time: what is copied need not fit together."""
    copies = dict.fromkeys(range(6), value)
    for call in syscalls():
        for word in (0, 1, POINTER, (1 << 64) - 1):
            for result in (-1, 0, 1, 1 << 40):
                assert line(call.name, (word,) * 6, copies, copies, result)


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
    assert quoted(b"\a\b") == '"\\7\\10"'
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
    shapes = list(shapes_of(chosen("")))
    script = compile_script(script_of(shapes, Limits(252)))
    assert not script.warnings
    assert not compile_script(script_of([], Limits(252), counts=True)).warnings
    assert not compile_script(script_of(shapes[:1], Limits(252), counts=True)).warnings
    assert len(script.object.programs) == len(entries_of(shapes)) + sum(shape.ends for shape in shapes)


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
