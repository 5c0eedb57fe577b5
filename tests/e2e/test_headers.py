"""Headers in scripts: `#include` through the host's preprocessor, `-I`, `--include`, CPATH, and without one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.tracing import BPFTIME, PATIENCE, environment

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="no C preprocessor")
HEADER = """
#define SIZE (4 * 2)
#define SELF SELF
enum kind { SELF = 3, OTHER };
typedef struct packet { enum kind kind; char text[SIZE]; } packet_t;
static inline int twice(int x) { return 2 * x; }
extern int other(const packet_t *);
_Static_assert(sizeof(packet_t) == 12, "");
"""
SHOWN = (
    "print(SIZE); print(SELF); print(OTHER); print(sizeof(packet_t)); print(offsetof(struct packet, text));"
)


def traced(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BPFTIME, "trace", "-q", *words],
        capture_output=True, text=True, timeout=PATIENCE, env={**environment(), **more}, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "packet.h").write_text(HEADER)
    return tmp_path


def test_the_ways_to_name_a_folder_or_a_file(folder: Path) -> None:
    wanted = ("8\nSELF\nOTHER\n12\n4\n", "", 0)
    including = f"#include <packet.h>\nbegin {{ {SHOWN} }}"
    for done in (
        traced("-I", str(folder), "-e", including),
        traced("-e", including, CPATH=str(folder)),
        traced("--include", str(folder / "packet.h"), "-e", f"begin {{ {SHOWN} }}"),
        traced("-I", str(folder), "--include", "packet.h", "-e", f"begin {{ {SHOWN} }}"),
    ):
        assert (done.stdout, done.stderr, done.returncode) == wanted


def test_headers_of_the_system() -> None:
    text = (
        "#include <sys/socket.h>\n#include <netinet/in.h>\n#include <fcntl.h>\n#include <stdio.h>\n"
        "begin { print(AF_INET6); print(SOCK_STREAM); print(sizeof(struct sockaddr_in6)); print(O_CREAT);"
        " print(offsetof(struct sockaddr_in, sin_port)); print(EOF); print(sizeof(FILE) > 100); }"
    )
    done = traced("-e", text)
    assert (done.stdout, done.stderr) == ("10\nSOCK_STREAM\n28\n64\n2\n-1\ntrue\n", "")


def test_a_missing_header_and_a_wrong_definition_are_placed(folder: Path) -> None:
    done = traced("-e", "#include <nosuch.h>\nbegin { }")
    assert done.stderr.startswith("stdin:1:1-20: ERROR: the C preprocessor refused the script: nosuch.h")
    assert done.returncode == 1
    done = traced("-I", str(folder), "-e", "#include <packet.h>\nstruct s { nosuch_t x; };\nbegin { }")
    assert done.stderr.startswith("stdin:2:1-26: ERROR: unknown type name 'nosuch_t'\n")


def test_without_a_preprocessor_that_is_said() -> None:
    argv = [sys.executable, *BPFTIME[1:], "trace", "-e", "#include <stdio.h>\nbegin { }"]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**environment(), "PATH": "/nowhere"},
        check=False,
    )
    assert "#include needs a C preprocessor, and none was found\n" in done.stderr
    assert done.returncode == 1


def test_check_knows_the_folders_too(folder: Path) -> None:
    script = folder / "x.bt"
    script.write_text(f"#include <packet.h>\nbegin {{ {SHOWN} }}")
    argv = [*BPFTIME, "check", "-I", str(folder), str(script)]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=PATIENCE, env=environment(), check=False
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert "accept" in done.stdout
