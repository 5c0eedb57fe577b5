"""From a typed tree to the bytecode of one program: the state, statements and blocks.

Values of word types are computed in r0; all others are written to a place in memory. r6 holds the
context, r7 the frame, r8 and r9 pointers that must survive a call for a moment. Registers r1 to r5 hold
nothing between two expressions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import Span
from runtime.lang import (
    aggregate,
    conversion,
    device,
    loops,
    mapcode,
    memory,
    reach,
    subprograms,
    tree,
    words,
)
from runtime.lang.builtins import Builtin
from runtime.lang.checker import Body
from runtime.lang.code import Bytecode, Code, Label
from runtime.lang.config import Config
from runtime.lang.decode import Decoder, Reading
from runtime.lang.functions import AGGREGATES, FUNCTIONS
from runtime.lang.functions.row import Function
from runtime.lang.layout import stored_size
from runtime.lang.mapshape import MapShape
from runtime.lang.script import Failing
from runtime.lang.source import Source
from runtime.lang.storage import FRAME, Storage
from runtime.lang.subprograms import Returning, Subprogram
from runtime.lang.types import INT64, NONE, VOID, Aggregate, Type
from runtime.lang.variables import Place, Variable

CONTEXT = 6  # register
HELPER_FRAME = 100000


@dataclass(slots=True, eq=False)
class Output:
    """What all programs of a script share: maps, events, needs."""

    config: Config
    maps: dict[str, MapShape]
    events: list[Decoder] = field(default_factory=list)
    zeros: int = 0  # bytes of the never written map that new aggregations start from
    formats: list[str] = field(default_factory=list)  # of strftime
    functions: dict[str, Subprogram] = field(default_factory=dict)
    failures: list[Failing] = field(default_factory=list)
    probe_names: list[str] = field(default_factory=list)  # that names of probes are compared with
    addresses: list[tuple[str, str]] = field(default_factory=list)  # binary and symbol, of uaddr
    tables: dict[str, bytes] = field(default_factory=dict)  # constant data that programs read
    checks: bool = False  # -k: reads and look-ups that fail are told
    has_child: bool = False  # a program is launched, its id is in a map

    @property
    def reading(self) -> Reading:
        """What decoders need to know."""
        trailer = self.config.text("str_trunc_trailer").encode("utf-8", "surrogateescape")
        return Reading(self.formats, trailer)

    def pattern(self, text: str) -> int:
        """Give the number of a format of strftime or a pattern of cgroup_path: the same for equal ones."""
        if text not in self.formats:
            self.formats.append(text)
        return self.formats.index(text)

    def probe_name(self, text: str) -> int:
        """Give the number of a text that names of probes are compared with."""
        if text not in self.probe_names:
            self.probe_names.append(text)
        return self.probe_names.index(text)

    def failure(self, text: str, span: Span) -> int:
        """Give the number of a place that may fail."""
        self.failures.append(Failing(text, span))
        return len(self.failures) - 1

    def event(self, decoder: Decoder) -> int:
        """Give a decoder its number in ring records."""
        self.events.append(decoder)
        return len(self.events) - 1


class Generator:
    """State of generating one program."""

    def __init__(self, source: Source, output: Output, body: Body) -> None:
        self.source = source
        self.output = output
        self.body = body
        self.config = output.config
        self.code = Code()
        self.storage = Storage(stack_only=body.provider.device)
        self.end: Label = self.code.label()
        self.out: Label = self.code.label()  # with the program's result in r0
        self.loops: list[tuple[Label, Label]] = []  # where continue and break go
        self.functions = output.functions
        self.returning: list[Returning] = []  # functions of the script whose code is being made
        self.inlined = 0
        self.uses_context = False
        self.uses_cookie = False

    def program(self) -> Bytecode:
        """Generate everything.

        Raises:
            Problem: the program is too large.
        """
        probe = self.body.probe
        if probe.predicate is not None:
            words.branch(self, probe.predicate, self.end, False)
        self.block(probe.body)
        self.code.at(self.end)
        self.code.set(0, 0)
        self.code.at(self.out)
        self.code.exit()
        self.code.before(self._prologue())
        return self.code.finish()

    def _prologue(self) -> Code:
        start = Code()
        if self.uses_context:
            start.move(CONTEXT, 1)
        if self.storage.frame_bytes:
            start.set(1, self.storage.frame_bytes)
            start.call(HELPER_FRAME)
            start.skip_if_not_zero(0, 2)
            start.set(0, 0)
            start.exit()
            start.move(FRAME, 0)
        return start

    def context(self, offset: int = 0) -> Place:
        """Memory of the context."""
        self.uses_context = True
        return Place(CONTEXT, offset)

    def shape(self, name: str) -> MapShape:
        """Layout of a map."""
        return self.output.maps[name]

    # Expressions

    def word(self, node: tree.Expr, to: Type | None = None) -> None:
        """Compute a word in r0, converted to a type if one is given."""
        words.word(self, node, to)

    def write(self, node: tree.Expr, place: Place, kind: Type) -> None:
        """Write a value to memory in the layout of a type."""
        memory.write(self, node, place, kind)

    def place(self, node: tree.Expr) -> Place:
        """Memory that holds a value of a type that is no word."""
        return memory.place_of(self, node)

    def branch(self, node: tree.Expr, target: Label, when: bool) -> None:
        """Jump to a label if a condition is (`when`) true or false."""
        words.branch(self, node, target, when)

    def _row(self, node: tree.Call | tree.Identifier) -> Function | Builtin:
        return FUNCTIONS[node.name] if node.name in FUNCTIONS else self._builtin(node.name)

    def _builtin(self, name: str) -> Builtin:
        row = device.find(self.body.provider, name)
        assert row is not None
        return row

    def call(self, node: tree.Call | tree.Identifier) -> None:
        """Compute a function or builtin that gives a word, or nothing."""
        if isinstance(node, tree.Call) and node.name in self.functions:
            subprograms.call(self, node)
            return
        lower: Callable[[Generator, Any], None] = self._row(node).lower
        lower(self, node)

    def fill(self, node: tree.Call | tree.Identifier, place: Place) -> None:
        """Write the value of a function or builtin to memory."""
        if isinstance(node, tree.Call) and node.name in self.functions:
            subprograms.call(self, node, place)
            return
        fill: Callable[[Generator, Any, Place], None] | None = self._row(node).fill
        assert fill is not None
        fill(self, node, place)

    def fill_from_map(self, node: tree.MapAccess, place: Place, kind: Type) -> None:
        """Write a map's value to memory."""
        if isinstance(kind, Aggregate):
            aggregate.copy_stats(self, node, place)
            return
        mapcode.read_memory(self, node, place, kind)

    def effect(self, node: tree.Expr) -> None:
        """Compute an expression whose value nobody wants."""
        with self.storage.scope():
            if isinstance(node, tree.Block):
                self.block(node)
            elif isinstance(node, tree.If):
                self._if(node)
            elif isinstance(node, tree.Increment) and isinstance(node.target, tree.MapAccess):
                mapcode.add(self, node.target, tree.Integer(node.at, 1 if node.op == "++" else -1))
            elif isinstance(node, tree.Call) and self._drops(node):
                pass
            elif isinstance(node, tree.Ternary) and not node.type.word:
                self._ternary(node)
            elif node.type.word:
                self.word(node)
            elif node.type.size:
                self.place(node)

    def _drops(self, node: tree.Call) -> bool:
        """Call a function whose value nobody wants, if it has a way of its own for that or gives none."""
        row = FUNCTIONS.get(node.name)
        if row is not None and row.drop is not None:
            row.drop(self, node)
            return True
        if node.type in (NONE, VOID):
            self.call(node)
            return True
        return False

    # Statements

    def block(self, block: tree.Block) -> None:
        """Run a block; its value is dropped."""
        with self.storage.scope():
            self.statements(block)
            if block.value is not None:
                self.code.line(self.source.span(block.value.at))
                self.effect(block.value)

    def statements(self, block: tree.Block) -> None:
        """Run the statements of a block inside the caller's scope."""
        for statement in block.body:
            self.code.line(self.source.span(statement.at))
            STATEMENTS[type(statement)](self, statement)

    def _if(self, node: tree.If) -> None:
        if node.decided is not None:
            if node.only is not None:
                self.effect(node.only)
            return
        otherwise, end = self.code.label(), self.code.label()
        words.branch(self, node.condition, otherwise, False)
        self.block(node.then)
        if node.otherwise is not None:
            self.code.jump(end)
        self.code.at(otherwise)
        if node.otherwise is not None:
            self.effect(node.otherwise)
        self.code.at(end)

    def _ternary(self, node: tree.Ternary) -> None:
        otherwise, end = self.code.label(), self.code.label()
        words.branch(self, node.condition, otherwise, False)
        if node.then is not None:
            self.effect(node.then)
        self.code.jump(end)
        self.code.at(otherwise)
        self.effect(node.otherwise)
        self.code.at(end)

    def _let(self, node: tree.Let) -> None:
        variable = node.target.variable
        assert variable is not None
        self._reserve(variable)
        if node.value is not None:
            self._store(variable, node.value)
        else:
            memory.zero(self, self._place(variable), stored_size(variable.held))

    def _reserve(self, variable: Variable) -> None:
        variable.place = self.storage.take(max(8, stored_size(variable.held)))

    def _place(self, variable: Variable) -> Place:
        assert variable.place is not None
        return variable.place

    def _store(self, variable: Variable, value: tree.Expr) -> None:
        with self.storage.scope():
            if variable.held != variable.type:
                reach.address(self, value)
                self.code.store(self._place(variable), 0, 8)
            elif memory.mentions(value, variable) and not variable.type.word:
                source = self.storage.take(stored_size(variable.type))
                memory.write_stored(self, value, source, variable.type)
                memory.copy(self, self._place(variable), source, stored_size(variable.type))
            else:
                memory.write_stored(self, value, self._place(variable), variable.type)

    def _assign(self, node: tree.Assign) -> None:
        target = node.target
        if target is None:
            self.effect(node.value)
        elif isinstance(target, tree.Scratch):
            self._assign_variable(node, target)
        elif isinstance(node.value, tree.Call) and node.value.name in AGGREGATES and not node.op:
            with self.storage.scope():
                aggregate.update(self, target, node.value)
        else:
            with self.storage.scope():
                mapcode.assign(self, target, node.op, node.value)

    def _assign_variable(self, node: tree.Assign, target: tree.Scratch) -> None:
        variable = target.variable
        assert variable is not None
        if variable.declared == target.at and not node.op:
            self._reserve(variable)
        value = node.value
        if node.op:
            left = tree.Scratch(target.at, target.name)
            left.variable, left.type = variable, variable.type
            value = tree.Binary(node.at, node.op, left, node.value)
            value.type = conversion.binary_type(value)
        self._store(variable, value)

    def _do(self, node: tree.Do) -> None:
        self.effect(node.value)

    def _for(self, node: tree.For) -> None:
        loop = loops.over_range if isinstance(node.over, tree.Range) else loops.over_map
        loop(self, node)

    def _while(self, node: tree.While) -> None:
        again, done = self.code.label(), self.code.label()
        self.code.at(again)
        with self.storage.scope():
            words.branch(self, node.condition, done, False)
        self.loops.append((again, done))
        self.block(node.body)
        self.loops.pop()
        self.code.jump(again)
        self.code.at(done)

    def _unroll(self, node: tree.Unroll) -> None:
        assert isinstance(node.count, tree.Integer)
        done = self.code.label()
        for _ in range(node.count.value):
            step = self.code.label()
            self.loops.append((step, done))
            self.block(node.body)
            self.loops.pop()
            self.code.at(step)
        self.code.at(done)

    def _leave(self, node: tree.Leave) -> None:
        step, done = self.loops[-1]
        self.code.jump(done if node.word == "break" else step)

    def _return(self, node: tree.Return) -> None:
        if self.returning:
            subprograms.leave(self, node)
            return
        if node.value is not None and self.body.provider.returns:
            self.word(node.value, INT64)
            self.code.jump(self.out)
            return
        if node.value is not None:
            self.effect(node.value)
        self.code.jump(self.end)


STATEMENTS: dict[type[tree.Statement], Callable[[Generator, Any], None]] = {
    tree.Let: Generator._let,
    tree.Assign: Generator._assign,
    tree.Do: Generator._do,
    tree.For: Generator._for,
    tree.While: Generator._while,
    tree.Unroll: Generator._unroll,
    tree.Leave: Generator._leave,
    tree.Return: Generator._return,
}
