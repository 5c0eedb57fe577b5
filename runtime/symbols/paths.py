"""Questions about paths that are answered also where a folder on the way may not be searched: with no."""

from __future__ import annotations

from pathlib import Path


def is_file(path: str | Path) -> bool:
    """Return whether a path names a file that can be seen."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def exists(path: str | Path) -> bool:
    """Return whether a path names anything that can be seen."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False
