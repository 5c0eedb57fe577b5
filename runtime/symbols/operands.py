"""The arguments of a marker: `-4@%eax 8@16(%rsp) 1@$0` to operands.

Each is SIZE@PLACE, written by the compiler in the assembler's own syntax; a minus means signed, an `f` behind
the size a floating-point value. Sources: `sys/sdt.h`; systemtap's `sdt_operand` forms; libbpf's `usdt.c`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

MOST = 12  # arguments; libbpf refuses more, we keep these
_SIZES = (1, 2, 4, 8)
_HEAD = re.compile(r"(-?)(\d+)(f?)@(.*)\Z", re.S)
_NUMBER = r"[-+]?(?:0[xX][0-9a-fA-F]+|\d+)"
_MEMORY = re.compile(
    rf"(?P<symbol>[A-Za-z_.$][\w.$]*)?(?P<number>(?:{_NUMBER})*)"
    rf"\((?:%(?P<base>\w+))?(?:\s*,\s*%(?P<index>\w+)(?:\s*,\s*(?P<scale>[1248]))?)?\)\Z"
)
_NAMED = re.compile(rf"(?P<symbol>[A-Za-z_.][\w.$]*)(?P<number>(?:{_NUMBER})*)\Z")
_ARM_MEMORY = re.compile(rf"\[\s*(x\d+|sp)\s*(?:,\s*#?({_NUMBER})|,\s*(x\d+|w\d+))?\s*\]\Z")


def _x86_registers() -> dict[str, tuple[str, int, int]]:
    """Return each register's name: the whole register, the first byte of it that is meant, its bytes."""
    found: dict[str, tuple[str, int, int]] = {}
    for letter in "abcd":
        whole = f"r{letter}x"
        found |= {whole: (whole, 0, 8), f"e{letter}x": (whole, 0, 4), f"{letter}x": (whole, 0, 2)}
        found |= {f"{letter}l": (whole, 0, 1), f"{letter}h": (whole, 1, 1)}
    for name in ("si", "di", "bp", "sp"):
        whole = f"r{name}"
        found |= {whole: (whole, 0, 8), f"e{name}": (whole, 0, 4), name: (whole, 0, 2)}
        found[f"{name}l"] = (whole, 0, 1)
    for number in range(8, 16):
        whole = f"r{number}"
        found |= {whole: (whole, 0, 8), f"{whole}d": (whole, 0, 4), f"{whole}w": (whole, 0, 2)}
        found[f"{whole}b"] = (whole, 0, 1)
    return found


REGISTERS = _x86_registers()
_ARM = re.compile(r"(?:[xw](?:[12]?\d|30)|sp)\Z")


@dataclass(frozen=True, slots=True)
class Operand:
    """Where one argument is: `size` bytes, sign-extended if `signed`.

    `kind` is `constant` (the value is `number`), `register` (`base`, from its byte `number` on), `memory`
    (at `base` + `index` * `scale` + `number`, plus the address of `symbol`; base `rip` means the marker's
    own place) or `refused`, with the reason in `symbol`. `text` is what the note says.
    """

    text: str
    size: int = 8
    signed: bool = False
    kind: str = "refused"
    base: str = ""
    index: str = ""
    scale: int = 1
    number: int = 0
    symbol: str = ""

    @property
    def type(self) -> str:
        """Return the type as scripts name it."""
        return "?" if self.kind == "refused" else f"{'' if self.signed else 'u'}int{8 * self.size}"


@lru_cache(maxsize=4096)
def operands_of(text: str, machine: str = "x86_64") -> tuple[Operand, ...]:
    """Return all operands that the arguments of a note name; one that is not understood is `refused`."""
    return tuple(_operand(word, machine) for word in split(text))


def split(text: str) -> list[str]:
    """Return the arguments: separated by blanks outside of parentheses and brackets."""
    words, depth = [""], 0
    for char in text:
        depth += (char in "([") - (char in ")]")
        if char.isspace() and depth <= 0:
            words.append("")
        else:
            words[-1] += char
    return _rejoined([word for word in words if word])


def _rejoined(words: list[str]) -> list[str]:
    """Put a place that stands apart from its size back to it: clang writes `8@ %rax` in old versions."""
    found: list[str] = []
    for word in words:
        if found and found[-1].endswith("@"):
            found[-1] += word
        else:
            found.append(word)
    return found


def _operand(word: str, machine: str) -> Operand:
    head = _HEAD.match(word)
    if not head:
        return _bare(word, machine)
    sign, size, is_float, place = head.groups()
    if is_float:
        return Operand(word, symbol="it is a floating-point value")
    if int(size) not in _SIZES:
        return Operand(word, symbol=f"a size of {size} bytes is not served")
    read = _arm_place if machine == "aarch64" else _x86_place
    return read(word, int(size), bool(sign), place.strip())


def _bare(word: str, machine: str) -> Operand:
    """An argument without a size is a whole word (the first version of the notes)."""
    if "@" in word:
        return Operand(word, symbol="it is no SIZE@PLACE")
    read = _arm_place if machine == "aarch64" else _x86_place
    return read(word, 8, False, word)


def _x86_place(text: str, size: int, signed: bool, place: str) -> Operand:
    if place.startswith("$"):
        return _constant(text, size, signed, place[1:])
    if place.startswith("%"):
        return _x86_register(text, size, signed, place[1:])
    found = _MEMORY.match(place)
    if found:
        return _x86_memory(text, size, signed, found)
    named = _NAMED.match(place)
    if named:
        return Operand(text, size, signed, "memory", number=_sum(named["number"]), symbol=named["symbol"])
    if re.fullmatch(_NUMBER, place):
        return Operand(text, size, signed, "memory", number=int(place, 0))
    return Operand(text, symbol="its place is not understood")


def _constant(text: str, size: int, signed: bool, place: str) -> Operand:
    if re.fullmatch(rf"(?:{_NUMBER})+", place):
        return Operand(text, size, signed, "constant", number=_sum(place))
    return Operand(text, symbol="it is the address of a symbol")


def _x86_register(text: str, size: int, signed: bool, name: str) -> Operand:
    if name not in REGISTERS:
        what = "a segment" if ":" in name else f"%{name}"
        return Operand(text, symbol=f"{what} cannot be read")
    whole, first, _ = REGISTERS[name]
    return Operand(text, size, signed, "register", whole, number=first)


def _x86_memory(text: str, size: int, signed: bool, found: re.Match[str]) -> Operand:
    base, index, scale = found["base"] or "", found["index"] or "", int(found["scale"] or 1)
    if base == "rip" and not index:
        return Operand(
            text, size, signed, "memory", "rip", "", 1, _sum(found["number"]), found["symbol"] or ""
        )
    for name in filter(None, (base, index)):
        if REGISTERS.get(name, ("", 0, 0))[2] != 8:
            return Operand(text, symbol=f"%{name} holds no address")
    if not base and not index:
        return Operand(text, symbol="its place is not understood")
    return Operand(
        text, size, signed, "memory", base, index, scale, _sum(found["number"]), found["symbol"] or ""
    )


def _sum(text: str) -> int:
    return sum(int(number, 0) for number in re.findall(_NUMBER, text))


def _arm_place(text: str, size: int, signed: bool, place: str) -> Operand:
    number = re.fullmatch(rf"#?({_NUMBER})", place)
    if number:
        return Operand(text, size, signed, "constant", number=int(number[1], 0))
    if _ARM.match(place):
        return Operand(text, size, signed, "register", place.replace("w", "x"))
    memory = _ARM_MEMORY.match(place)
    if memory:
        base, distance, index = memory.groups()
        return Operand(text, size, signed, "memory", base, index or "", 1, int(distance or "0", 0))
    return Operand(text, symbol="its place is not understood")
