"""Debug info: types of random structs as C defines them, parameters by the calling convention, damaged files."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from bpftime_cli.pipeline.debuginfo import ScriptDebug
from runtime.dwarf.info import DebugInfo, debug_info
from runtime.dwarf.lines import addresses_of, lines_near
from runtime.dwarf.parameters import parameters_of
from runtime.dwarf.types import DwarfTypes, types_of
from runtime.errors import ObjectProblem, Problem
from runtime.lang.c.lexer import tokens
from runtime.lang.c.parser import CParser
from runtime.lang.c.scope import Scope
from runtime.lang.c.types import Field, Struct
from runtime.lang.types import Type
from runtime.symbols.debugfiles import debug_info_of, look_in
from runtime.symbols.elf import ElfFile
from tests.tools.cstructs import HEAD, Structs
from tests.tools.target import build

COUNT = 60
FLAGS = ["-gdwarf-5", "-gdwarf-4", "-gdwarf-3", "-gdwarf-5 -gz", "-gdwarf-4 -fdebug-types-section", "-g3 -O2"]


def shape(kind: Type) -> object:
    """What can be seen of a type: its name, or the members of a struct without one."""
    if not isinstance(kind, Struct):
        return str(kind)
    return [(f.name, shape(f.type), *place(f)) for f in kind.fields.values()]


def place(field: Field) -> tuple[int, int]:
    """First bit and width; clang says nothing of a bit-field as wide as its type, not even that it is shifted."""
    if field.bits and field.bits != 8 * field.type.size:
        return field.bit, field.bits
    return 8 * field.offset, 0


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("flags", FLAGS)
def test_types_are_those_of_the_source(compiler: str, flags: str, tmp_path: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    maker = Structs(len(flags))
    text = HEAD + "".join(maker.struct(index)[0] for index in range(COUNT))
    uses = "".join(f"struct s{index} v{index};" for index in range(COUNT))
    source, program = tmp_path / "t.c", tmp_path / "t.o"
    source.write_text(text + uses + "int main(void) { return 0; }\n")
    subprocess.run([compiler, "-w", *flags.split(), "-o", str(program), str(source)], check=True)
    scope = Scope()
    CParser(tokens(text), scope).parse()
    types = types_of(str(program))
    assert types is not None
    for index in range(COUNT):
        wanted, found = scope.tags["struct", f"s{index}"], types.tagged("struct", f"s{index}")
        assert isinstance(found, Struct)
        assert found.size == wanted.size
        assert shape(found) == shape(wanted)
    assert types.tagged("struct", "missing") is None
    assert types.constant("green") == (7, types.tagged("enum", "colour"))


EXPECTED = {
    "area": [("p", "struct point *", "rdi", ""), ("c", "enum colour", "rsi", "")],
    "walk": [
        ("item", "struct item *", "rdi", ""), ("depth", "int32", "rsi", ""), ("letter", "int8", "rdx", ""),
        ("n", "uint64", "rcx", ""),
    ],
    "by_value": [("p", "struct point", "rdi", ""), ("k", "int32", "rsi", "")],
    "by_big": [("b", "struct big", "", "is a struct passed by value"), ("k", "int32", "rdi", "")],
    "make": [("k", "int32", "rsi", "")],
    "mixed": [
        ("d", "none", "", "is passed in a vector register"), ("a", "int32", "rdi", ""),
        ("f", "none", "", "is passed in a vector register"), ("b", "int64", "rsi", ""),
    ],
    "many": [
        ("a", "int32", "rdi", ""), ("b", "int8", "rsi", ""), ("c", "uint16", "rdx", ""), ("d", "int32", "rcx", ""),
        ("e", "int32", "r8", ""), ("f", "int32", "r9", ""), ("g", "int32", "", "is passed on the stack"),
    ],
    "none": [],
    "main": [("argc", "int32", "rdi", ""), ("argv", "int8 * *", "rsi", "")],
}  # fmt: skip


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("flags", [(), ("-O0",), ("-gdwarf-4",), ("-gz",), ("-flto",)], ids=str)
def test_parameters_are_the_functions(compiler: str, flags: tuple[str, ...]) -> None:
    if not shutil.which(compiler) or (compiler == "clang" and "-flto" in flags):
        pytest.skip(f"no {compiler}")
    path = build("typed", *flags, compiler=compiler)
    types = types_of(str(path))
    assert types is not None
    found = {}
    for symbol in ElfFile(path).functions:
        function = types.info.function_at(symbol.value)
        if function is not None and symbol.name in EXPECTED:
            found[symbol.name] = [
                (p.name, str(p.type), p.register, p.why) for p in parameters_of(types, function)
            ]
    assert found == EXPECTED


FOLDED = """
#include <stdio.h>
__attribute__((noinline)) static int local(int a, int b, int c) { __asm__ volatile("" : : "r"(b), "r"(c)); return b + c; }
int main(int argc, char **argv) { (void)argv; printf("%d %d\\n", local(5, argc, 7), local(5, argc + 1, 7)); return 0; }
"""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("version", [4, 5])
def test_registers_are_those_that_the_compiler_took(compiler: str, version: int, tmp_path: Path) -> None:
    """A function whose constant arguments were folded gets the others in registers of its own."""
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    source, program = tmp_path / "folded.c", tmp_path / "folded"
    source.write_text(FOLDED)
    subprocess.run([compiler, f"-gdwarf-{version}", "-O2", "-o", str(program), str(source)], check=True)
    types = types_of(str(program))
    assert types is not None
    symbol = next(s for s in ElfFile(program).functions if s.name.startswith("local"))
    function = types.info.function_at(symbol.value)
    assert function is not None
    found = {p.name: (p.register, p.why) for p in parameters_of(types, function)}
    assert found["b"] == ("rdi", "")
    assert found["a"][0] == ""
    assert found["c"] == ("", "is always 7 here, and not passed")


def test_debug_info_beside_the_program(tmp_path: Path) -> None:
    whole, program = build("typed"), tmp_path / "typed"
    subprocess.run(["objcopy", "--only-keep-debug", str(whole), str(tmp_path / "typed.debug")], check=True)
    subprocess.run(["objcopy", "--strip-debug", str(whole), str(program)], check=True)
    assert types_of(str(program)) is None
    debug_info.cache_clear()
    types_of.cache_clear()
    subprocess.run(
        ["objcopy", f"--add-gnu-debuglink={tmp_path / 'typed.debug'}", str(program)], check=True, cwd=tmp_path
    )
    types = types_of(str(program))
    assert types is not None
    assert types.tagged("struct", "point") is not None


def test_debug_info_in_a_folder_of_the_user(tmp_path: Path) -> None:
    whole, program, folder = build("typed"), tmp_path / "typed", tmp_path / "debug"
    folder.mkdir()
    subprocess.run(["objcopy", "--only-keep-debug", str(whole), str(folder / "typed.debug")], check=True)
    subprocess.run(["objcopy", "--strip-debug", str(whole), str(program)], check=True)
    assert debug_info_of(ElfFile(program)) is None
    look_in([str(folder)])
    try:
        found = debug_info_of(ElfFile(program))
        assert found is not None
        assert found.path == str(folder / "typed.debug")
    finally:
        look_in([])


def test_a_program_without_debug_info_is_named() -> None:
    path = build("typed", "-g0", "-s")
    with pytest.raises(Problem, match=f"no debuginfo found for {path}"):
        ScriptDebug().functions((str(path), "0x1000"))
    path = build("typed", "-g0")
    with pytest.raises(Problem, match=f"no debuginfo found for {path}"):
        ScriptDebug().functions((str(path), "area"))


def test_damaged_debug_info_gives_problems_only(tmp_path: Path) -> None:
    data = build("typed").read_bytes()
    elf = ElfFile(build("typed"))
    chosen = random.Random(5)
    sections = [s for s in elf.sections if s.name.startswith(".debug_")]
    for number in range(150):
        broken = bytearray(data)
        for _ in range(chosen.randint(1, 20)):
            section = chosen.choice(sections)
            broken[section.offset + chosen.randrange(section.size)] = chosen.randrange(256)
        path = tmp_path / f"broken{number}"
        path.write_bytes(broken)
        info = DebugInfo(ElfFile(path), str(path))
        try:
            types = DwarfTypes(info)
            shape_of_all(types)
            for symbol in elf.functions:
                if (function := info.function_at(symbol.value)) is not None:
                    parameters_of(types, function)
            addresses_of(info, "typed.c", 31)
        except ObjectProblem:
            pass


def shape_of_all(types: DwarfTypes) -> None:
    for name in ("item", "big", "point"):
        kind = types.tagged("struct", name)
        if isinstance(kind, Struct):
            assert kind.size >= 0
            assert isinstance(dict(kind.fields), dict)
    types.typedef("counter_t")
    types.constant("BLUE")


def listed_rows(path: Path, name: str) -> list[tuple[int, int] | None]:
    """Line and address of each statement of a file, as objdump lists them; None between sequences."""
    text = subprocess.run(
        ["objdump", "--dwarf=decodedline", str(path)], capture_output=True, text=True, check=True
    ).stdout
    rows: list[tuple[int, int] | None] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 3 and words[0].endswith(name) and words[2].startswith("0x") and words[-1] == "x":
            rows.append((int(words[1]), int(words[2], 16)))
        elif len(words) < 3 or words[1] == "-" or not words[0].endswith(name):
            rows.append(None)
    return rows


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("flags", [(), ("-O0",), ("-gdwarf-4",), ("-gdwarf-3", "-O1")], ids=str)
def test_lines_begin_where_objdump_says(compiler: str, flags: tuple[str, ...]) -> None:
    if not shutil.which(compiler) or not shutil.which("objdump"):
        pytest.skip(f"no {compiler} or no objdump")
    path = build("typed", *flags, compiler=compiler)
    info = debug_info(str(path))
    assert info is not None
    wanted: dict[int, set[int]] = {}
    before = None
    for row in listed_rows(path, "typed.c"):
        if row is not None and (before is None or before[0] != row[0]):
            wanted.setdefault(row[0], set()).add(row[1])
        before = row
    assert len(wanted) > 20
    for line in range(1, 80):
        assert set(addresses_of(info, "typed.c", line)) == wanted.get(line, set()), line
        assert addresses_of(info, "targets/typed.c", line) == addresses_of(info, "typed.c", line)
    assert addresses_of(info, "other.c", 25) == []
    assert lines_near(info, "typed.c", 26)[0] in (25, 26, 27)
