"""A script that was compiled and verified: the next trace with the same text takes it from a file.

Only for texts that say all: a script that asks for headers, debug information or a target's binary may
compile to something else the next time.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from enum import Enum

from bpftime_cli.pipeline.config import Config
from runtime.jit import cache
from runtime.lang import Script
from runtime.verify import Verified

KIND = "script"
SETTINGS = ("BPFTRACE_", "BPFTIME_")  # variables that configure a script
OURS = "runtime."
PLAIN = frozenset((set, frozenset, slice, complex, range, bytearray))


def _member(kind: object, name: str) -> Enum:
    if not (isinstance(kind, type) and issubclass(kind, Enum)):
        raise pickle.UnpicklingError(f"{kind} has no enumerators")
    return kind[name]


class _Reader(pickle.Unpickler):
    """Makes objects of this project's classes and of Python's plain types, nothing else."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("builtins", "getattr"):
            return _member  # how Python before 3.11.4 pickles enumerators
        found = super().find_class(module, name) if module.startswith((OURS, "builtins")) else None
        # A dotted name may lead from a module of ours to anything that it imports.
        if isinstance(found, type) and (found.__module__.startswith(OURS) or found in PLAIN):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a kept script")


def key_of(config: Config) -> str:
    """Name what comes of a script and its options with these sources and this Python."""
    settings = sorted((n, v) for n, v in os.environ.items() if n.startswith(SETTINGS))
    asked = (config.program, config.file, config.params, config.unsafe, config.checks)
    targets = bool(config.pids), bool(config.command)
    return cache.sources_digest(f"{sys.hexversion} {asked} {targets} {settings}", ["**/*.py"])


def load(key: str) -> tuple[Script, dict[str, Verified]] | None:
    """Return a script and its verified programs by name, None where there is none that can be trusted."""
    found = cache.read(KIND, key)
    if found is None:
        return None
    try:
        script, verified = _Reader(io.BytesIO(found[1])).load()
    except (pickle.UnpicklingError, AttributeError, ImportError, ValueError, TypeError, EOFError):
        return None
    return script, verified


def save(key: str, script: Script, verified: dict[str, Verified]) -> None:
    """Keep a script; does nothing where that is impossible."""
    cache.write(KIND, key, {}, pickle.dumps((script, verified), pickle.HIGHEST_PROTOCOL))
