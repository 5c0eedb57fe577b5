"""Make `syscalls.tsv` anew: `python -m runtime.syscalls.generate [--tracefs DIR] --write`.

Numbers come from the C headers of both architectures through the C compiler, names and types of arguments
from the kernel's own tracepoints (`events/syscalls/sys_enter_*/format`, readable for root). A row is never
dropped, so a machine with an older kernel or older headers makes the same file; a number that has changed is
an error.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from runtime.errors import Problem
from runtime.syscalls.table import FILE, read_rows

TRACEFS = Path("/sys/kernel/tracing")
# Tracepoints named otherwise than their call: after SYSCALL_DEFINE (kernel/trace/trace_syscalls.c).
RENAMED = {
    "newstat": "stat",
    "newfstat": "fstat",
    "newlstat": "lstat",
    "sendfile64": "sendfile",
    "newuname": "uname",
    "umount": "umount2",
}
ARM64 = """
#define __ARCH_WANT_RENAMEAT
#define __ARCH_WANT_NEW_STAT
#define __ARCH_WANT_SET_GET_RLIMIT
#define __ARCH_WANT_TIME32_SYSCALLS
#define __ARCH_WANT_SYS_CLONE3
#define __ARCH_WANT_MEMFD_SECRET
#define __BITS_PER_LONG 64
#include <asm-generic/unistd.h>
"""
X86_64 = "#include <asm/unistd_64.h>\n"
# What distributions' headers do not have yet (scripts/syscall.tbl of Linux 6.18): the same on both.
RECENT = """cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount
lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat
open_tree_attr file_getattr file_setattr listns rseq_slice_yield""".split()
RECENT_FROM = 451
NO_CALLS = ("syscalls", "arch_specific_syscall")  # a count, and the start of a range
ONLY_X86 = {"uretprobe": 335, "uprobe": 336}
HEAD = "# x86-64\taarch64\tname\ttracepoint\targuments; made by python -m runtime.syscalls.generate\n"
_FIELD = re.compile(r"\tfield:(.+[ *])(\w+);\toffset:(\d+);")

Row = list[str]


def numbers(source: str) -> dict[str, int]:
    """Return the numbers that C headers define, by name.

    Raises:
        Problem: there is no C compiler, or it has no such headers.
    """
    command = ["cc", "-E", "-dM", "-xc", "-"]
    try:
        done = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Problem("the C compiler gives no system call numbers", hint=str(error)) from None
    found = dict(re.findall(r"^#define (__NR\w+) (\w+)$", done.stdout, re.M))
    named = {name.removeprefix("__NR_"): value for name, value in found.items() if name.startswith("__NR_")}
    known = {name: found.get(value, value) for name, value in named.items()}
    return {name: int(value) for name, value in known.items() if value.isdigit() and name not in NO_CALLS}


def arguments(tracefs: Path) -> dict[str, str]:
    """Return the arguments of every tracepoint `sys_enter_NAME` as C declarations, by NAME; `-` is none."""
    found = {}
    for folder in sorted(tracefs.glob("events/syscalls/sys_enter_*")):
        fields = _FIELD.findall((folder / "format").read_text())
        text = ", ".join(f"{kind.strip()} {name}" for kind, name, offset in fields if int(offset) >= 16)
        found[folder.name.removeprefix("sys_enter_")] = text or "-"
    return found


def merged(old: list[Row], x86: dict[str, int], arm64: dict[str, int], points: dict[str, str]) -> list[Row]:
    """Return all rows: those of before with what is new.

    Raises:
        Problem: a number is not what it was.
    """
    rows = {row[2]: list(row) for row in old}
    for column, known in enumerate((x86, arm64)):
        for name, number in known.items():
            row = rows.setdefault(name, ["-", "-", name, "-", "-"])
            if row[column] not in ("-", str(number)):
                raise Problem(f"{name} was {row[column]} and is {number}")
            row[column] = str(number)
    for point, declared in points.items():
        name = RENAMED.get(point, point)
        if name not in rows:
            raise Problem(f"tracepoint {point} has no number", hint="add it to RECENT")
        rows[name][3:] = [point, declared]
    return sorted(rows.values(), key=_order)


def _order(row: Row) -> tuple[int, int]:
    return (int(row[0]) if row[0] != "-" else 1 << 20, int(row[1]) if row[1] != "-" else 0)


def collected(tracefs: Path) -> list[Row]:
    """Return the rows that this machine makes of the file that is there.

    Raises:
        Problem: a source is missing or contradicts the file.
    """
    recent = {name: RECENT_FROM + index for index, name in enumerate(RECENT)}
    x86 = numbers(X86_64) | recent | ONLY_X86
    old = read_rows() if FILE.exists() else []
    return merged(old, x86, numbers(ARM64) | recent, arguments(tracefs))


def text_of(rows: list[Row]) -> str:
    """Return the file's text."""
    return HEAD + "".join("\t".join(row) + "\n" for row in rows)


def main() -> int:
    """Print the table, or write it; with neither of them anything to do, say so."""
    parser = argparse.ArgumentParser(description="make the table of system calls anew")
    parser.add_argument("--tracefs", type=Path, default=TRACEFS, help="where tracefs is mounted")
    parser.add_argument("--write", action="store_true", help="write the file instead of printing it")
    wanted = parser.parse_args()
    text = text_of(collected(wanted.tracefs))
    if wanted.write:
        FILE.write_text(text, encoding="ascii")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
