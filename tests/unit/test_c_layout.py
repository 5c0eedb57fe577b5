"""Layouts of random structs are those of the C compiler: sizes, alignments, offsets of members."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtime.lang.c.lexer import tokens
from runtime.lang.c.parser import CParser
from runtime.lang.c.scope import Scope
from runtime.lang.c.types import Struct
from tests.tools.cstructs import HEAD, Structs, compiled

COUNT = 300


def offset(struct: Struct, path: str) -> int:
    total = 0
    for name in path.split("."):
        field = struct.fields[name]
        total += field.offset
        if isinstance(field.type, Struct):
            struct = field.type
    return total


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_layout_is_the_compilers(compiler: str, tmp_path: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    maker = Structs(len(compiler))
    made = [maker.struct(index) for index in range(COUNT)]
    text = HEAD + "".join(one for one, _ in made)
    asked = [(f"s{index}", paths) for index, (_, paths) in enumerate(made)]
    scope = Scope()
    CParser(tokens(text), scope).parse()
    for (name, paths), theirs, (written, _) in zip(
        asked, compiled(text, asked, tmp_path, compiler), made, strict=True
    ):
        struct = scope.tags["struct", name]
        assert isinstance(struct, Struct)
        ours = [struct.size, struct.align, *(offset(struct, path) for path in paths)]
        assert ours == theirs, written
