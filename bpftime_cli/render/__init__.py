"""Output formats: events in, bytes out. `FORMATS` names them all; each is one file.

Trap: renderers never look at a clock or a terminal; what they need to know is in `Style`.
"""

from __future__ import annotations

from bpftime_cli.render.base import PLAIN, Renderer, Style, bar_width
from bpftime_cli.render.json import Json
from bpftime_cli.render.text import Text

FORMATS: dict[str, type[Renderer]] = {
    "text": Text,
    "json": Json,
}

__all__ = ["FORMATS", "PLAIN", "Renderer", "Style", "bar_width"]
