"""Functions in LLVM's own language with places to fill in: files beside this one."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PLACE = re.compile(r"<([a-z]\w*)>")


@cache
def _text(file: Path) -> str:
    return file.read_text()


def filled(file: Path, **values: object) -> str:
    """Give a file's text with its places filled in."""
    return PLACE.sub(lambda found: str(values[found[1]]), _text(file))
