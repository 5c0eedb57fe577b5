"""Macros: each use becomes a block with the macro's body, in which parameters stand for the arguments.

A parameter `$v` or `@m` is the caller's variable or map itself; a bare one is the argument's expression,
computed at each use. The macro's own variables get a number behind their name and so never meet the caller's.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from runtime.errors import Problem
from runtime.lang import tree
from runtime.lang.functions import AGGREGATES
from runtime.lang.source import MARK, At, Source, expanded

LEVELS = 64  # uses within uses
MOST = 100_000  # nodes that all uses together may make


@dataclass(slots=True)
class Expander:
    """Replaces the uses of macros in trees. `errors` collects what is wrong."""

    source: Source
    macros: dict[str, list[tree.Macro]]
    errors: list[Problem] = field(default_factory=list)
    made: int = 0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _chain: list[str] = field(default_factory=list)

    def expand(self, node: tree.Node) -> tree.Node:
        """Replace all uses below a node and the node itself if it is one."""
        for name in tree.fields_of(node):
            value = getattr(node, name)
            if isinstance(value, tree.Node):
                setattr(node, name, self.expand(value))
            elif isinstance(value, list):
                value[:] = [self.expand(item) if isinstance(item, tree.Node) else item for item in value]
        return self._use(node)

    def _use(self, node: tree.Node) -> tree.Node:
        if isinstance(node, tree.Call) and node.name in self.macros:
            return self._call(node, node.name, node.args, node.name_at)
        if isinstance(node, tree.Identifier) and any(_fits(m, []) for m in self.macros.get(node.name, ())):
            return self._call(node, node.name, [], node.at)
        if isinstance(node, tree.Assign) and isinstance(node.value, tree.Block):
            return _aggregated(node, node.value)
        return node

    def _call(self, node: tree.Expr, name: str, args: list[tree.Expr], at: At) -> tree.Node:
        macro = next((m for m in self.macros[name] if _fits(m, args)), None)
        if macro is None:
            hint = f"defined as {', '.join(_signature(m) for m in self.macros[name])}"
            self._fail(at, f"Call to {name}() has arguments that do not match any definition.", hint)
            return tree.Integer(node.at, 0)
        if name in self._chain or len(self._chain) >= LEVELS:
            chain = " > ".join([*self._chain, name])
            self._fail(at, f"Recursive macro call detected. Call chain: {chain}")
            return tree.Integer(node.at, 0)
        self._chain.append(name)
        body = _Body(self, macro, args, node.at).block()
        result = self.expand(body)
        self._chain.pop()
        return result

    def _fail(self, at: At, text: str, hint: str = "") -> None:
        self.errors.append(self.source.problem(at, text, hint))

    def count(self, at: At) -> None:
        """Count one node that is made.

        Raises:
            Problem: there are too many.
        """
        self.made += 1
        if self.made > MOST:
            raise self.source.problem(at, f"macros expand to more than {MOST} parts")

    def number(self) -> int:
        """Give a number that no other use has."""
        return next(self._numbers)


def _fits(macro: tree.Macro, args: list[tree.Expr]) -> bool:
    if len(macro.parameters) != len(args):
        return False
    return all(_accepts(parameter, arg) for parameter, arg in zip(macro.parameters, args, strict=True))


def _accepts(parameter: str, arg: tree.Expr) -> bool:
    if parameter[0] == "$":
        return isinstance(arg, tree.Scratch)
    if parameter[0] == "@":
        return isinstance(arg, tree.MapAccess) and arg.key is None
    return True


def _signature(macro: tree.Macro) -> str:
    return f"{macro.name}({', '.join(macro.parameters)})"


def _aggregated(node: tree.Assign, block: tree.Block) -> tree.Statement:
    """Put `@m = { …; count() }` as `{ …; @m = count(); }`: an aggregation is assigned directly."""
    if not isinstance(node.target, tree.MapAccess) or not isinstance(block.value, tree.Call | tree.Block):
        return node
    if isinstance(block.value, tree.Call) and block.value.name not in AGGREGATES:
        return node
    direct = tree.Assign(node.at, node.target, node.op, block.value)
    inner: tree.Statement = direct
    if isinstance(block.value, tree.Block):
        inner = _aggregated(direct, block.value)
        if inner is direct:
            return node
    return tree.Do(node.at, tree.Block(block.at, [*block.body, inner], None))


class _Body:
    """The body of one use."""

    def __init__(self, expander: Expander, macro: tree.Macro, args: list[tree.Expr], call: At) -> None:
        self.expander = expander
        self.macro = macro
        self.call = call
        self.args = dict(zip(macro.parameters, args, strict=True))
        self.number = expander.number()

    def block(self) -> tree.Block:
        """Make it.

        Raises:
            Problem: all uses together are too large.
        """
        body = tree.clone(self.macro.body, self._place)
        self._leaving(body)
        changed = self._change(body)
        assert isinstance(changed, tree.Block)
        return changed

    def _place(self, at: At) -> At:
        self.expander.count(self.call)
        return expanded(at, self.call)

    def _leaving(self, node: tree.Node) -> None:
        """Refuse what would leave the macro: it is no function."""
        if isinstance(node, tree.Return):
            self.expander._fail(node.at, "'return' statement is not allowed in a macro")
        elif isinstance(node, tree.Leave):
            self.expander._fail(node.at, f"'{node.word}' statement is not allowed in a macro")
        for child in tree.children(node):
            is_loop = isinstance(node, tree.For | tree.While | tree.Unroll)
            if not (is_loop and isinstance(child, tree.Block)):
                self._leaving(child)

    def _change(self, node: tree.Node) -> tree.Node:
        """Put the arguments in and rename; arguments themselves are not looked into."""
        for name in tree.fields_of(node):
            value = getattr(node, name)
            if isinstance(value, tree.Node):
                setattr(node, name, self._change(value))
            elif isinstance(value, list):
                value[:] = [self._change(item) if isinstance(item, tree.Node) else item for item in value]
        if isinstance(node, tree.Scratch):
            self._rename(node)
        elif isinstance(node, tree.MapAccess):
            self._rename_map(node)
        elif isinstance(node, tree.Identifier) and node.name in self.args:
            return self._argument(self.args[node.name])
        elif isinstance(node, tree.TypeName) and not node.tag and node.name in self.args:
            return self._type(node, self.args[node.name])
        return node

    def _argument(self, arg: tree.Expr) -> tree.Expr:
        def place(at: At) -> At:
            self.expander.count(self.call)
            return at

        return tree.clone(arg, place)

    def _type(self, node: tree.TypeName, arg: tree.Expr) -> tree.Node:
        if node.suffixes:
            return node
        written = arg.written if isinstance(arg, tree.TypeArgument) else tree.TypeOf(node.at, arg)
        return tree.clone(written, lambda at: at)

    def _rename(self, node: tree.Scratch) -> None:
        arg = self.args.get(node.name)
        if isinstance(arg, tree.Scratch):
            node.name = arg.name
        else:
            node.name = f"{node.name}{MARK}{self.number}"

    def _rename_map(self, node: tree.MapAccess) -> None:
        arg = self.args.get(node.name)
        if isinstance(arg, tree.MapAccess):
            node.name = arg.name
            return
        self.expander._fail(
            node.at,
            f"Unhygienic access to map: {node.name}. Maps must be passed into the macro as arguments.",
        )


def collect(source: Source, definitions: list[tree.Macro]) -> dict[str, list[tree.Macro]]:
    """Group definitions by name.

    Raises:
        Problem: the same macro is defined twice.
    """
    found: dict[str, list[tree.Macro]] = {}
    for macro in definitions:
        kinds = [name[0] if name[0] in "$@" else "" for name in macro.parameters]
        if len(set(macro.parameters)) < len(macro.parameters):
            raise source.problem(macro.at, f"macro {macro.name} has two parameters of one name")
        for other in found.get(macro.name, ()):
            if kinds == [name[0] if name[0] in "$@" else "" for name in other.parameters]:
                raise source.problem(macro.at, f"Redefinition of macro: {_signature(macro)}")
        found.setdefault(macro.name, []).append(macro)
    return found
