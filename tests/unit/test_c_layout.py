"""Layouts and members of random structs are those of the C compiler: sizes, alignments, offsets, values."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import pytest

from runtime.lang.c.lexer import tokens
from runtime.lang.c.parser import CParser
from runtime.lang.c.scope import Scope
from runtime.lang.c.types import Struct
from tests.tools.cstructs import HEAD, PATTERN, Structs, compiled, values
from tests.tools.script import run_script

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


@pytest.mark.parametrize("seed", range(6))
def test_members_read_as_in_c(seed: int, tmp_path: Path) -> None:
    maker = Structs(100 + seed)
    text, asked = HEAD, []
    for index in range(8):
        written, _ = maker.struct(index)
        text += written
        asked.append((f"s{index}", maker.scalars))
    theirs = values(text, asked, tmp_path, "gcc")
    memory = ctypes.create_string_buffer(PATTERN, len(PATTERN) + 64)
    at = (ctypes.addressof(memory) + 63) & ~63
    ctypes.memmove(at, PATTERN, len(PATTERN))
    for (name, paths), wanted in zip(asked, theirs, strict=True):
        whole = f"@ = *(struct {name} *)arg0;" if paths else ""
        reads = "".join(f"print((int64)$p->{path}); print((int64)@.{path});" for path in paths)
        script = f"{text}uprobe:a:b {{ $p = (struct {name} *)arg0; {whole} {reads} clear(@); }}"
        status, out, err = run_script(script, calls=[[at]]) if paths else (0, "", "")
        assert status == 0, err
        assert [int(line) for line in out.split()] == [value for value in wanted for _ in range(2)], name
