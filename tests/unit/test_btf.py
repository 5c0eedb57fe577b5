"""BTF: reading, rendering values, CO-RE against the built-in context types."""

from __future__ import annotations

import struct

import pytest

from runtime.btf.build import Builder
from runtime.btf.context import context_btf
from runtime.btf.core import Question, answer
from runtime.btf.render import text_of, value_of
from runtime.btf.types import BOOL, CHAR, SIGNED, Btf, Kind
from runtime.errors import ObjectProblem


def sample():
    b = Builder()
    char, word = b.integer("char", 1, CHAR), b.integer("int", 4, SIGNED)
    flag = b.integer("bool", 1, BOOL)
    name, numbers = b.array(char, word, 8), b.array(word, word, 4)
    inner = b.composite(Kind.UNION, "", 4, [("a", word, 0), ("b", word, 0)])
    fields = [("name", name, 0), ("numbers", numbers, 8), ("on", flag, 24), ("", inner, 28)]
    return b, b.composite(Kind.STRUCT, "thing", 32, fields)


def test_values_render_by_type():
    b, thing = sample()
    btf = Btf(b.finish())
    data = b"abc\0\0\0\0\0" + struct.pack("<iiii", -1, 2, 0, 0) + b"\1\0\0\0" + struct.pack("<i", 7)
    assert btf.size_of(thing) == 32
    assert value_of(btf, thing, data) == {"name": "abc", "numbers": [-1, 2, 0, 0], "on": True, "a": 7, "b": 7}
    assert text_of(btf, thing, data) == '{.name="abc",.numbers=[-1,2],.on=true,{.a=7,.b=7}}'
    assert value_of(btf, 999, b"\1\2") == "0102"


def test_short_and_broken_btf_are_refused():
    b, _ = sample()
    data = b.finish()
    for size in range(len(data)):
        with pytest.raises(ObjectProblem):
            Btf(data[:size])
    with pytest.raises(ObjectProblem):
        Btf(data).type(1000)


def test_circular_types_end():
    b = Builder()
    b._add("loop", Kind.TYPEDEF << 24, 1)
    btf = Btf(b.finish())
    with pytest.raises(ObjectProblem):
        btf.size_of(1)
    assert value_of(btf, 1, b"\0") == "00"


def test_context_members_move_to_where_they_are():
    b = Builder()
    word = b.integer("unsigned long", 8)
    regs = b.composite(Kind.STRUCT, "pt_regs", 16, [("di", word, 0), ("gone", word, 8)])
    local = Btf(b.finish())
    found = answer(Question.FIELD_BYTE_OFFSET, local, regs, "0:0", (context_btf(),))
    assert (found.local, found.value) == (0, 112)
    assert answer(Question.FIELD_EXISTS, local, regs, "0:1", (context_btf(),)).value == 0
    assert answer(Question.FIELD_BYTE_OFFSET, local, regs, "0:1", (context_btf(),)).value is None
    assert answer(Question.FIELD_BYTE_OFFSET, local, regs, "0:1", ()).value == 8
    assert answer(Question.TYPE_SIZE, local, regs, "0", (context_btf(),)).value == 168
    with pytest.raises(ObjectProblem):
        answer(Question.FIELD_BYTE_OFFSET, local, regs, "0:7", ())
