"""Functions compiled at run time: the list that a program keeps in /tmp, whoever else may write there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.symbols.jitted import PerfMap

LINES = "1000 20 JS:*hot /a b.js:1\nnonsense\n2000 zz x\n3000 10 last\n40"


@pytest.fixture
def listed() -> Path:
    path = Path(f"/tmp/perf-{os.getpid()}.map")
    path.write_text(LINES)
    yield path
    path.unlink()


@pytest.mark.usefixtures("listed")
def test_addresses_become_names() -> None:
    found = PerfMap(os.getpid())
    at = {address: found.at(address) for address in (0xFFF, 0x1000, 0x101F, 0x1020, 0x2000, 0x300F)}
    names = {address: (one.name, one.offset) for address, one in at.items() if one}
    assert names == {
        0x1000: ("JS:*hot /a b.js:1", 0),
        0x101F: ("JS:*hot /a b.js:1", 31),
        0x300F: ("last", 15),
    }


def test_it_is_read_anew_when_it_has_grown(listed: Path) -> None:
    found = PerfMap(os.getpid())
    assert not found.is_stale()
    listed.write_text(LINES + "00 8 more\n")
    assert found.is_stale()
    assert PerfMap(os.getpid()).at(0x4004).name == "more"


def test_a_link_is_not_followed(listed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(LINES)
    listed.unlink()
    listed.symlink_to(other)
    assert PerfMap(os.getpid()).at(0x1000) is None


def test_no_list_knows_nothing() -> None:
    assert PerfMap(os.getppid()).at(0x1000) is None
