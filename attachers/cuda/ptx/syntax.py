"""What PTX text consists of, as data. Positions are character offsets into the module's text.

Source: PTX ISA 9.0, chapters 4 (syntax), 5 (state spaces, types), 10 (special registers), 11 (directives).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.errors import Problem, Span

# bytes of the fundamental types; packed types count as a whole
SIZES = {
    **dict.fromkeys(("b8", "u8", "s8", "e4m3", "e5m2"), 1),
    **dict.fromkeys(("b16", "u16", "s16", "f16", "bf16"), 2),
    **dict.fromkeys(("b32", "u32", "s32", "f32", "f16x2", "bf16x2", "tf32"), 4),
    **dict.fromkeys(("b64", "u64", "s64", "f64", "f32x2", "texref", "samplerref", "surfref"), 8),
    "b128": 16,
    "pred": 1,
}
SPACES = ("reg", "sreg", "const", "global", "local", "param", "shared", "tex")
VECTORS = {"v2": 2, "v4": 4, "v8": 8}


class PtxProblem(Problem):
    """The text is not PTX that can be followed. `line` is the 1-based line of the text, 0 unknown."""

    def __init__(self, text: str, *, line: int = 0, hint: str = "") -> None:
        super().__init__(f"PTX line {line}: {text}" if line else text, hint=hint)
        self.line = line


def problem_at(text: str, at: int, message: str) -> PtxProblem:
    """Give the error for a place of a text, with its line and what stands there."""
    line = text.count("\n", 0, at) + 1
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    quoted = text[start : len(text) if end < 0 else end]
    found = PtxProblem(message, line=line)
    column = at - start + 1
    found.span = Span("PTX", line, column, line, column + 1, quoted[:200])
    return found


@dataclass(frozen=True, slots=True)
class Label:
    """`name:` at a statement's start."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Registers:
    """`.reg .b32 %r<6>, %x;`: each name with the count of its family, 0 for a single register.

    `lanes` is the length of a vector type, 1 for others.
    """

    type: str
    lanes: int
    names: tuple[tuple[str, int], ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable in memory. `count`: elements of all dimensions, 0 for an open array (`x[]`)."""

    name: str
    space: str
    type: str
    lanes: int
    align: int
    count: int
    is_array: bool
    initial: str
    linkage: str
    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return SIZES[self.type] * self.lanes * self.count


@dataclass(frozen=True, slots=True)
class Instruction:
    """`@!%p ld.global.f32 %f, [%rd+4];`. `operands` is the text between opcode and `;`."""

    guard: str
    negated: bool
    opcode: str
    operands: str
    start: int
    end: int
    opcode_at: int


@dataclass(frozen=True, slots=True)
class Line:
    """`.loc file line column`: where the instructions behind it come from."""

    file: int
    line: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Directive:
    """Any other statement: `.pragma`, or a table of targets `label: .branchtargets a, b;` with its label."""

    name: str
    text: str
    label: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Block:
    """`{ … }`; `start` is at the opening brace, `end` behind the closing one."""

    items: tuple[Item, ...]
    start: int
    end: int


Item = Label | Registers | Variable | Instruction | Line | Directive | Block


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a kernel or function; `space` is `param` or `reg`, `size` in bytes."""

    name: str
    space: str
    type: str
    align: int
    size: int
    is_array: bool


@dataclass(frozen=True, slots=True)
class Function:
    """A kernel (`is_entry`) or device function.

    `start` at its first directive; `name_at` where its name begins; `header_end` behind the last word of its
    header; `body` (offset of `{`, offset behind `}`), None for a prototype. `limits`: performance directives
    with their numbers. `params_at`: positions of `(` and `)` of the parameter list, None where there is none.
    """

    name: str
    is_entry: bool
    linkage: str
    returns: tuple[Parameter, ...]
    params: tuple[Parameter, ...]
    limits: dict[str, tuple[int, ...]]
    start: int
    name_at: int
    params_at: tuple[int, int] | None
    header_end: int
    body: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Module:
    """A whole text. `declare_at`: where declarations of ours may stand. `bodies` keeps what was parsed."""

    text: str
    version: tuple[int, int]
    version_at: tuple[int, int]
    targets: tuple[str, ...]
    target_at: tuple[int, int]
    address_size: int
    declare_at: int
    functions: tuple[Function, ...]
    variables: tuple[Variable, ...]
    bodies: dict[int, Block] = field(default_factory=dict)

    @property
    def arch(self) -> int:
        """Number of the architecture, 90 for `sm_90a`."""
        digits = "".join(c for c in self.targets[0].partition("_")[2] if c.isdigit())
        return int(digits or 0)

    @property
    def kernels(self) -> tuple[Function, ...]:
        """The kernels that have a body."""
        return tuple(f for f in self.functions if f.is_entry and f.body)
