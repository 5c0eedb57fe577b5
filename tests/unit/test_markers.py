"""Notes of markers read from bytes, and the grammar of their arguments (`tests/cases/usdt/operands.toml`)."""

from __future__ import annotations

import struct
import tomllib
from pathlib import Path

import pytest

from runtime.symbols.notes import Marker, parse_notes
from runtime.symbols.operands import Operand, operands_of

FILE = Path(__file__).parent.parent / "cases" / "usdt" / "operands.toml"
CASES = tomllib.loads(FILE.read_text())["case"]


@pytest.mark.parametrize("case", CASES, ids=[c["text"] for c in CASES])
def test_operands(case: dict) -> None:
    found = operands_of(case["text"], case.get("machine", "x86_64"))
    assert [o.type for o in found] == case["types"].split()
    wanted = [Operand(text=o.text, **fields) for o, fields in zip(found, case["want"], strict=True)]
    assert list(found) == wanted


def note(body: bytes, owner: bytes = b"stapsdt\0", kind: int = 3) -> bytes:
    padded = owner + bytes(-len(owner) % 4) + body + bytes(-len(body) % 4)
    return struct.pack("<III", len(owner), len(body), kind) + padded


BODY = struct.pack("<QQQ", 0x1100, 0x2000, 0x3000) + b"app\0turn\x008@%rax\0"


def test_addresses_move_with_the_base_section() -> None:
    """A prelinked or rewritten file has its code elsewhere than its notes say."""
    assert list(parse_notes(note(BODY), 0x2500)) == [Marker("app", "turn", 0x1600, 0x3500, "8@%rax")]
    assert list(parse_notes(note(BODY), None)) == [Marker("app", "turn", 0x1100, 0x3000, "8@%rax")]


def test_a_marker_without_a_counter_stays_without() -> None:
    body = struct.pack("<QQQ", 0x1100, 0x2000, 0) + b"app\0turn\0\0"
    assert list(parse_notes(note(body), 0x2500)) == [Marker("app", "turn", 0x1600, 0, "")]


def test_notes_of_32_bit_files() -> None:
    body = struct.pack("<III", 0x1100, 0x2000, 0x3000) + b"app\0turn\x004@%eax\0"
    assert list(parse_notes(note(body), None, wide=False)) == [
        Marker("app", "turn", 0x1100, 0x3000, "4@%eax")
    ]


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 11, note(BODY)[:30], note(BODY, kind=1), note(BODY, owner=b"GNU\0"), note(b"\0" * 24),
     note(struct.pack("<QQQ", 1, 2, 3) + b"app\0"), b"\xff" * 64],
)  # fmt: skip
def test_what_is_no_note_is_passed_over(data: bytes) -> None:
    """A damaged note must not hide the whole ones behind it, nor raise."""
    assert list(parse_notes(data, None)) == []
    assert len(list(parse_notes(note(BODY, owner=b"other\0") + note(BODY), None))) == 1
