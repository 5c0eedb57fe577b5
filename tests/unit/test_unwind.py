"""Unwind tables: every row is that of readelf, and broken contents break nothing."""

from __future__ import annotations

import os
import random
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from runtime.symbols.elf import ElfFile
from runtime.symbols.modules import modules_of
from runtime.unwind.table import HEADER, RULE_BYTES, table_of
from tests.fuzz import unwind
from tests.tools.target import build

RSP, RBP, STOP = 1, 2, 4


def rows_of(data: bytes) -> list[tuple[int, tuple[int, int, int, int]]]:
    """(address, (kind of the CFA, kind of rbp, offset of rbp, offset of the CFA)) of every row."""
    rows, rules, _, pages = HEADER.unpack_from(data)
    at = HEADER.size + (4 * (pages + 1) + 7 & -8)
    pcs = struct.unpack_from(f"<{rows}I", data, at)
    at += 4 * rows + 7 & -8
    kinds = struct.unpack_from(f"<{rows}H", data, at)
    at += 2 * rows + 7 & -8
    found = [struct.unpack_from("<BBhi", data, at + RULE_BYTES * i) for i in range(rules)]
    return [(pc, found[kind]) for pc, kind in zip(pcs, kinds, strict=True)]


@pytest.mark.skipif(not shutil.which("readelf"), reason="needs readelf")
def test_the_rows_are_those_of_readelf() -> None:
    """readelf interprets .eh_frame by itself: where it says `rsp+N` or `rbp+N`, the table says so too."""
    path = build("stacks")
    listing = subprocess.run(
        ["readelf", "--debug-dump=frames-interp", str(path)], capture_output=True, text=True, check=True
    ).stdout
    table = rows_of(table_of(ElfFile(path)))
    known = re.findall(r"^([0-9a-f]{16}) (rsp|rbp)\+(\d+)", listing, re.M)
    assert len(known) > 30
    for text, register, offset in known:
        address = int(text, 16)
        if address == 0 or address < table[0][0]:
            continue  # rows of CIEs
        rule = next(rule for pc, rule in reversed(table) if pc <= address)
        assert (rule[0], rule[3]) == (RSP if register == "rsp" else RBP, int(offset)), hex(address)


def test_behind_the_last_function_nothing_is_known() -> None:
    assert rows_of(table_of(ElfFile(build("stacks"))))[-1][1][0] == STOP


def test_broken_contents_break_nothing() -> None:
    rng = random.Random(20)
    for _ in range(300):
        unwind.one(rng)


def test_files_of_this_process_have_tables() -> None:
    """Every library with .eh_frame gives rows, the interpreter's too."""
    for module in modules_of(os.getpid()):
        section = module.elf.section(".eh_frame")
        if section is not None and section.size > 64 and Path(module.path).exists():
            unwind.check(table_of(module.elf))
            assert table_of(module.elf), module.path
