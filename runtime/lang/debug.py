"""What a script asks of the debug info of the programs that its probes name; the tracer answers."""

from __future__ import annotations

from typing import Protocol

from runtime.lang.c.scope import TypeSource
from runtime.lang.fields import ContextField

Parts = tuple[str, ...]


class Debug(Protocol):
    """Debug info of files, found by what attach points say (without the provider's name)."""

    def types(self, parts: Parts) -> TypeSource:
        """The types of the file that an attach point names; nothing is read before one is asked for."""

    def functions(self, parts: Parts) -> list[tuple[Parts, dict[str, ContextField]]]:
        """The functions that an attach point names, each with its parameters; equal ones together.

        Raises:
            Problem: the file has no debug info, or none of the functions is in it.
        """

    def data(self, parts: Parts, name: str) -> int:
        """Bytes of the data of this name in the file that an attach point names.

        Raises:
            Problem: there is no such data.
        """
