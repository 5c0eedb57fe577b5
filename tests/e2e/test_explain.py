"""What a plan says of itself: the displaced instructions, what is saved, the thunk's code, and what links cost."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.tools.compile_bpf import TARGETS, compile_bpf
from tests.tools.target import build
from tests.tools.tracing import Running, bpftime, environment


def explained(program: str, pid: int) -> str:
    done = bpftime("trace", "--dry-run", "-v", "-p", str(pid), "-e", program)
    assert done.returncode == 0, done.stderr
    return done.stderr.decode()


def first_instruction(path: Path, function: str) -> str:
    """The instruction at a function's start as objdump has it, in its own spelling: mnemonic only."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", f"--disassemble={function}", str(path)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return re.search(rf"<{function}>:\n\s+[0-9a-f]+:\s+(\w+)", listing)[1]


def test_a_dry_run_shows_what_moves_and_what_runs() -> None:
    with Running(build("caller")) as target:
        text = explained('uprobe:caller:caller_add { @ = sum(reg("bx")); }', target.pid)
        assert target.end() == 0
    assert re.search(r"^  caller_add\+0: (near5|hop2) at 0x[0-9a-f]+", text, re.M)
    assert f"displaced {first_instruction(build('caller'), 'caller_add')} " in text
    assert re.search(r"saved     r11, word rbx$", text, re.M)
    code = re.findall(r"^    [0-9a-f]+: ([0-9a-f]+) +(.*)$", text, re.M)
    assert code[0] == ("4153", "push r11")
    assert any(mnemonic.startswith("call") for _, mnemonic in code)
    assert [m for _, m in code].count("pop r11") == 1


def test_inside_a_function_more_is_saved() -> None:
    with Running(build("caller")) as target:
        text = explained("uprobe:caller:caller_add+3 { @ = count(); }", target.pid)
        assert target.end() == 0
    assert "class     inside" in text
    assert "saved     r11, rax, flags, red zone of 128 bytes" in text
    assert "lahf" in text


def test_list_tells_the_cost_of_links(tmp_path: Path) -> None:
    data = compile_bpf(TARGETS / "stepcount.bpf.c")
    if data is None:
        return
    (tmp_path / "stepcount.bpf.o").write_bytes(data)
    (tmp_path / "run").mkdir(mode=0o700)
    env = environment(XDG_RUNTIME_DIR=str(tmp_path / "run"))
    with Running(build("loop"), "1", "10") as target:
        place = (f"{tmp_path}/stepcount.bpf.o:on_step", "uprobe:loop:step", "-p", str(target.pid))
        assert bpftime("attach", *place, "--cookie", "7", env=env).returncode == 0
        shown = bpftime("list", "--links", "-v", env=env).stdout.decode()
        assert bpftime("detach", "--all", "--unload", env=env).returncode == 0
        assert target.work()
        assert target.end() == 0
    head, line = shown.splitlines()
    assert head.split()[-3:] == ["COOKIE", "SITES", "COST"]
    assert re.search(r"  7 +1 +in place, ~1 ns$", line), line
