"""Packages that only CUDA kernels need; what is missing is named with the extra that brings it."""

from __future__ import annotations

import importlib
from typing import Any

from runtime.errors import Problem

EXTRA = "pip install 'bpftime[cuda]'"


class MissingExtra(Problem):
    """A package that CUDA images need is not installed."""


def needed(module: str, package: str) -> Any:  # noqa: ANN401 # these packages have no types
    """Import a package of the extra.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtra(f"{package} is not installed", hint=EXTRA) from None
