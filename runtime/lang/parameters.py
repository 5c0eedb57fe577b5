"""What a command line gives a script: positional parameters `$1`, and named ones that `getopt` reads."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from runtime.errors import Problem
from runtime.lang import tree
from runtime.lang.config import WORDS
from runtime.lang.lexer import parse_integer
from runtime.lang.source import Source
from runtime.lang.suggest import near

NUMBER = re.compile(r"(-?)(0b[01]+|[0-9][0-9A-Za-z_]*)")
Default = int | bool | bytes


@dataclass(slots=True)
class Parameters:
    """`positional` texts; `named`: those that were given as `--name=value` (None: `--name` alone).

    `known`: default and description of each name that the script asks for.
    """

    positional: tuple[str, ...]
    named: dict[str, str | None]
    known: dict[str, tuple[Default, str]] = field(default_factory=dict)

    @staticmethod
    def of(texts: tuple[str, ...]) -> Parameters:
        """Sort the words of a command line."""
        named = dict(_split(text) for text in texts if text.startswith("--") and len(text) > 2)
        positional = tuple(text for text in texts if not text.startswith("--") or len(text) == 2)
        return Parameters(positional, named)

    def get(self, source: Source, call: tree.Call) -> tree.Expr:
        """Give the literal that a `getopt` call stands for.

        Raises:
            Problem: its arguments are no literals, or the given value is not of the default's type.
        """
        name, default, text = _arguments(source, call)
        before = self.known.setdefault(name, (default, text))
        if type(before[0]) is not type(default) or before[0] != default:
            raise source.problem(call.at, f"getopt('{name}') has another default than before: {before[0]!r}")
        if name not in self.named:
            return _literal(call, default)
        try:
            return _literal(call, _value(self.named[name], default))
        except ValueError as error:
            raise source.problem(call.at, f"--{name}: {error}") from None

    def check(self) -> None:
        """Refuse names that the script never asks for.

        Raises:
            Problem: there are some, or help was asked for.
        """
        unknown = [name for name in self.named if name not in self.known]
        if not unknown:
            return
        listed = "\n".join(f"  --{name}{_described(*value)}" for name, value in self.known.items())
        hint = f"this program takes:\n{listed}" if listed else "this program takes no named parameters"
        if "help" not in unknown:
            hint = "; ".join(filter(None, (near(unknown[0], self.known, "--{}"), hint)))
        words = " ".join(f"--{name}" for name in unknown)
        raise Problem(f"unexpected program command line options: {words}", hint=hint)


def _split(text: str) -> tuple[str, str | None]:
    name, equals, value = text[2:].partition("=")
    return name, value if equals else None


def _described(default: Default, text: str) -> str:
    shown = default.decode("utf-8", "replace") if isinstance(default, bytes) else str(default).lower()
    return f"  (default {shown})" + (f"  {text}" if text else "")


def _arguments(source: Source, call: tree.Call) -> tuple[str, Default, str]:
    literals = tree.String | tree.Integer | tree.Boolean
    if not 1 <= len(call.args) <= 3:
        raise source.problem(call.at, f"getopt() takes up to 3 arguments ({len(call.args)} provided)")
    for arg in call.args:
        if not isinstance(arg, literals):
            raise source.problem(arg.at, "getopt() only supports string, integer and boolean literals")
    name, default, text = (*call.args, None, None)[:3]
    if not isinstance(name, tree.String) or not isinstance(text, tree.String | None):
        wrong = name if not isinstance(name, tree.String) else text
        raise source.problem(wrong.at if wrong else call.at, "getopt() expects a string literal")
    value = default.value if isinstance(default, literals) else False
    described = text.value.decode("utf-8", "replace") if text else ""
    return name.value.decode("utf-8", "replace"), value, described


def _literal(call: tree.Call, value: Default) -> tree.Expr:
    if isinstance(value, bool):
        return tree.Boolean(call.at, value)
    return tree.String(call.at, value) if isinstance(value, bytes) else tree.Integer(call.at, value)


def _value(text: str | None, default: Default) -> Default:
    if isinstance(default, bool):
        if text is not None and text.lower() not in WORDS:
            raise ValueError(f"'{text}' is not true or false")
        return True if text is None else WORDS[text.lower()]
    if text is None:
        raise ValueError("needs a value: --name=value")
    if isinstance(default, bytes):
        return text.encode("utf-8", "surrogateescape")
    number = parameter_number(text)
    if number is None:
        raise ValueError(f"'{text}' is not an integer")
    return number


def parameter_number(text: str) -> int | None:
    """Value of a parameter that is a number, else None."""
    found = NUMBER.fullmatch(text)
    if not found:
        return None
    try:
        value = int(found[2], 2) if found[2].startswith("0b") else parse_integer(found[2])
    except ValueError:
        return None
    value = -value if found[1] else value
    return value if -(1 << 63) <= value < 1 << 64 else None
