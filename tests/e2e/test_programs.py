"""Real programs with all functions of a library probed: output and status as without, every call counted."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.languages import go, has
from tests.tools.target import build
from tests.tools.tracing import BPFTIME, environment

THREADS = """
import hashlib, json, threading, zlib
out = {}
def work(n):
    data = json.dumps([{"k": i, "v": str(i) * 5} for i in range(2000)]).encode() * n
    out[n] = hashlib.sha256(zlib.decompress(zlib.compress(data))).hexdigest()
threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 7)]
[t.start() for t in threads]; [t.join() for t in threads]
print(sorted(out.items()))
"""
SQL = """
create table t(a integer primary key, b text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) insert into t select i, 'row ' || i from n;
create index tb on t(b);
select count(*), sum(a), max(b), min(length(b)) from t where b like '%9%';
select group_concat(a) from (select a from t order by b desc limit 20);
"""
SCRIPT = "for i in $(seq 8); do x=$(printf '%05d' $i | tr 0-9 a-j); case $x in *a) echo $x;; esac; done | sort | md5sum; (exit 3); echo $?"
NODE = "const c=require('crypto'),z=require('zlib');let b=Buffer.alloc(300000,'abc');console.log(c.createHash('sha256').update(z.gunzipSync(z.gzipSync(b))).digest('hex'),JSON.stringify([...Array(99).keys()]).length)"
PROGRAMS = {
    "python threads": ([sys.executable, "-c", THREADS], "python", b""),
    "bash": (["bash", "-c", SCRIPT], "bash", b""),
    "sqlite3": (["sqlite3", ":memory:"], "sqlite3", SQL.encode()),
    "git": (
        ["git", "-C", str(Path(__file__).parents[2]), "log", "--stat", "-n", "5", "--format=%H %s"],
        "git",
        b"",
    ),
    "openssl": (["openssl", "dgst", "-sha512", "/bin/ls"], "openssl", b""),
    "node": (["node", "-e", NODE], "node", b""),
}
SCRIPTS = {
    "memory and strings": "uprobe:libc.so.6:mem*,uprobe:libc.so.6:str* { @[func] = count(); } uretprobe:libc.so.6:str* { @r[func] = count(); }",
    "all of libc": "uprobe:libc.so.6:* { @ = count(); }",
    "returns of libc": "uretprobe:libc.so.6:* { @ = count(); }",
}


def bare(argv: list[str], stdin: bytes) -> tuple[int, bytes]:
    done = subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        timeout=100,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        check=False,
    )
    return done.returncode, done.stdout


def traced(argv: list[str], stdin: bytes, program: str, out: Path) -> tuple[int, bytes, str]:
    command = [
        *BPFTIME,
        "trace",
        "-q",
        "--no-warnings",
        "--exit-code",
        "-o",
        str(out),
        "-e",
        program,
        "--",
        *argv,
    ]
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        timeout=100,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        check=False,
    )
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_same_output_and_status(name: str, script: str, tmp_path: Path) -> None:
    argv, needs, stdin = PROGRAMS[name]
    if not shutil.which(argv[0]):
        pytest.skip(f"no {needs}")
    want = bare(argv, stdin)
    status, out, err = traced(argv, stdin, SCRIPTS[script], tmp_path / "out")
    assert (status, out) == want, err
    numbers = [int(n) for n in re.findall(r": (\d+)$", (tmp_path / "out").read_text(), re.MULTILINE)]
    assert sum(numbers) > 100


LIBRARIES = {
    "libz of python": (
        [
            sys.executable,
            "-c",
            "import zlib; d=bytes(range(256))*4000; print(len(zlib.decompress(zlib.compress(d))), zlib.crc32(d))",
        ],
        "libz.so.1",
        b"",
    ),
    "sqlite's library": (["sqlite3", ":memory:"], "libsqlite3.so.0", SQL.encode()),
    "openssl's library": (["openssl", "dgst", "-sha512", "/bin/ls"], "libcrypto.so.3", b""),
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_function_of_a_library(name: str, tmp_path: Path) -> None:
    """Entry and return of everything at once; where a function returns at all, it returns as often as it is entered."""
    argv, library, stdin = LIBRARIES[name]
    if not shutil.which(argv[0]):
        pytest.skip(f"no {argv[0]}")
    want = bare(argv, stdin)
    program = (
        f"uprobe:{library}:* {{ @in[func] = count(); }} uretprobe:{library}:* {{ @out[func] = count(); }}"
    )
    status, out, err = traced(argv, stdin, program, tmp_path / "out")
    if f"no '{library}'" in err:
        pytest.skip(f"{argv[0]} does not start with {library}")
    assert (status, out) == want, err
    text = (tmp_path / "out").read_text()
    entered = dict(re.findall(r"^@in\[(.+)\]: (\d+)$", text, re.MULTILINE))
    returned = dict(re.findall(r"^@out\[(.+)\]: (\d+)$", text, re.MULTILINE))
    both = entered.keys() & returned.keys()
    differing = {f: (entered[f], returned[f]) for f in both if entered[f] != returned[f]}
    assert len(both) >= 10
    assert not differing


OWN = {
    "bash": ("bash", "uprobe:bash:*"),
    "git": ("git", "uprobe:git:*"),
    "sqlite3": ("sqlite3", "uprobe:libsqlite3*:*"),
    "python threads": (sys.executable, "uprobe:*python3*:Py*"),
    "node": ("node", "uprobe:node:*Environment*"),
    "openssl": ("openssl", "uprobe:libcrypto.so.3:EVP_*"),
}
ATTACHED = re.compile(r"Attached (\d+) probes")


def counted(argv: list[str], stdin: bytes, pattern: str, out: Path) -> tuple[int, bytes, str, int]:
    """Status, output, messages and the number of probes of a run with a pattern's functions counted."""
    program = f"{pattern} {{ @[func] = count(); }}"
    done = subprocess.run(
        [*BPFTIME, "trace", "--no-warnings", "--exit-code", "-o", str(out), "-e", program, "--", *argv],
        input=stdin, capture_output=True, timeout=100, env=environment(PYTHONDONTWRITEBYTECODE="1"), check=False,
    )  # fmt: skip
    found = ATTACHED.search(out.read_text() if out.exists() else "") or ATTACHED.search(done.stderr.decode())
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"), int(found[1]) if found else 0


@pytest.mark.parametrize("name", OWN)
def test_a_program_s_own_functions(name: str, tmp_path: Path) -> None:
    """A hundred and more functions of the program itself, stripped or not: output and status as without."""
    argv, _, stdin = PROGRAMS[name]
    tool, pattern = OWN[name]
    if not shutil.which(tool):
        pytest.skip(f"no {tool}")
    want = bare(argv, stdin)
    status, out, err, probes = counted(argv, stdin, pattern, tmp_path / "out")
    if "among the" in err:
        pytest.skip(f"{tool} is built another way: {err.splitlines()[0]}")
    assert (status, out) == want, err
    assert probes >= 100
    assert len(re.findall(r"^@\[", (tmp_path / "out").read_text(), re.MULTILINE)) >= 5


@pytest.mark.skipif(not has("go"), reason="no go")
def test_a_go_program_s_own_functions(tmp_path: Path) -> None:
    """Goroutines move their stacks: entries only, in place, all over the runtime."""
    program = [str(go(tmp_path))]
    want = bare(program, b"\n\n")
    pattern = (
        "uprobe:till:main.*,uprobe:till:fmt.*,uprobe:till:os.*,uprobe:till:sync*,uprobe:till:runtime.map*"
    )
    status, out, err, probes = counted(program, b"\n\n", pattern, tmp_path / "out")
    assert (status, out) == want, err
    assert probes >= 100


@pytest.mark.parametrize("provider", ["uprobe", "uretprobe"])
def test_a_program_that_throws(provider: str, tmp_path: Path) -> None:
    """Exceptions pass through functions of the program and of the C++ library whose returns are probed."""
    program = [str(build("thrown"))]
    want = bare(program, b"\n\n")
    pattern = f"{provider}:thrown:*,{provider}:libstdc++.so.6:*"
    status, out, err, probes = counted(program, b"\n\n", pattern, tmp_path / "out")
    assert (status, out) == want, err
    assert probes >= 100
