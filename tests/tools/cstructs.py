"""Random C structs, and what a C compiler says of their layout: the other side of a differential test."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

INTEGERS = ("char", "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned", "long",
            "unsigned long", "long long", "_Bool")  # fmt: skip
HEAD = "enum colour { red, green = 7, blue };\n"


class Structs:
    """Writes structs; `scalars` are the integer members of the last one, bit-fields too."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.number = 0
        self.scalars: list[str] = []

    def struct(self, index: int) -> tuple[str, list[str]]:
        """Text of `struct sN` and its members' paths."""
        paths: list[str] = []
        self.scalars = []
        body = self._members("", paths, 0)
        return f"struct s{index} {{ {body} }}{self._tail()};\n", paths

    def _tail(self) -> str:
        kind = self.random.randrange(8)
        if kind == 0:
            return " __attribute__((packed))"
        if kind == 1:
            return f" __attribute__((aligned({1 << self.random.randrange(1, 6)})))"
        if kind == 2:
            return f" __attribute__((packed, aligned({1 << self.random.randrange(1, 4)})))"
        return ""

    def _name(self) -> str:
        self.number += 1
        return f"m{self.number}"

    def _members(self, prefix: str, paths: list[str], depth: int) -> str:
        return " ".join(self._member(prefix, paths, depth) for _ in range(self.random.randint(1, 7)))

    def _member(self, prefix: str, paths: list[str], depth: int) -> str:
        kind = self.random.randrange(10)
        name = self._name()
        if kind < 3:
            base = self.random.choice(INTEGERS)
            bits = 1 if base == "_Bool" else 8 * SIZES[base]
            width = self.random.randint(1, bits)
            form = self.random.randrange(8)
            if form < 2:
                return f"{base} : {'0' if form == 1 else width};"
            self.scalars.append(prefix + name)
            return f"{base} {name} : {width};"
        if kind < 5 and depth < 3:
            tag = self.random.choice(("struct", "union"))
            if self.random.randrange(3) == 0:
                return f"{tag} {{ {self._members(prefix, paths, depth + 1)} }}{self._tail()};"
            inner = self._members(f"{prefix}{name}.", paths, depth + 1)
            paths.append(prefix + name)
            return f"{tag} {{ {inner} }}{self._tail()} {name};"
        paths.append(prefix + name)
        if kind == 5:
            return f"int (*{name})(long, char *);"
        base = self.random.choice(("enum colour", "float", "double", "long double", "void *", *INTEGERS))
        sizes = "".join(f"[{self.random.randint(1, 4)}]" for _ in range(self.random.choice((0, 0, 1, 2))))
        if not sizes and base in INTEGERS and base != "_Bool":  # other bytes are no values of it
            self.scalars.append(prefix + name)
        aligned = f" __attribute__((aligned({1 << self.random.randrange(5)})))" if kind == 6 else ""
        return f"{base} {name}{sizes}{aligned};"


SIZES = {"char": 1, "signed char": 1, "unsigned char": 1, "short": 2, "unsigned short": 2, "int": 4,
         "unsigned": 4, "long": 8, "unsigned long": 8, "long long": 8, "_Bool": 1}  # fmt: skip


PATTERN = bytes((i * 167 + 41) & 0xFF for i in range(8192))


def values(text: str, asked: list[tuple[str, list[str]]], folder: Path, compiler: str) -> list[list[int]]:
    """What members of each struct read from the pattern, by a C compiler."""
    lines = [
        f"{{ struct {name} *p = (void *)memory;"
        + "".join(f'printf(" %lld", (long long)p->{path});' for path in paths)
        + 'puts(""); }'
        for name, paths in asked
    ]
    memory = (
        f"static unsigned char memory[] __attribute__((aligned(64))) = {{{','.join(map(str, PATTERN))}}};\n"
    )
    return _run(text + memory, lines, folder, compiler)


def compiled(text: str, asked: list[tuple[str, list[str]]], folder: Path, compiler: str) -> list[list[int]]:
    """Size, alignment and members' offsets of each struct, by a C compiler."""
    lines = [
        f'printf("%zu %zu", sizeof(struct {name}), _Alignof(struct {name}));'
        + "".join(f'printf(" %zu", offsetof(struct {name}, {path}));' for path in paths)
        + 'puts("");'
        for name, paths in asked
    ]
    return _run(text, lines, folder, compiler)


def _run(text: str, lines: list[str], folder: Path, compiler: str) -> list[list[int]]:
    source, program = folder / "layout.c", folder / "layout"
    source.write_text(
        "#include <stdio.h>\n#include <stddef.h>\n" + text + "int main(void){" + "\n".join(lines) + "}\n"
    )
    subprocess.run([compiler, "-w", "-o", str(program), str(source)], check=True, timeout=120)
    out = subprocess.run([str(program)], capture_output=True, text=True, check=True, timeout=20).stdout
    return [list(map(int, line.split())) for line in out.splitlines()]
