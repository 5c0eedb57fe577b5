"""Ready scripts: `bpftime trace NAME` finds them where no such file exists. The first comment is the page."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
SUFFIX = ".bt"


def names() -> list[str]:
    """Return the names of all scripts, sorted."""
    return sorted(file.stem for file in FOLDER.glob(f"*{SUFFIX}"))


def find(name: str) -> Path | None:
    """Return the script of that name, with or without `.bt`; None if there is none."""
    stem = name.removesuffix(SUFFIX)
    return FOLDER / f"{stem}{SUFFIX}" if stem in names() else None


def page(name: str) -> str:
    """Return what a script says of itself: its first comment, without the marks.

    Raises:
        KeyError: there is no such script.
    """
    path = find(name)
    if path is None:
        raise KeyError(name)
    lines = path.read_text().splitlines()[1:]
    end = next(number for number, line in enumerate(lines) if not line.startswith("//"))
    return "".join(line.removeprefix("//").removeprefix(" ") + "\n" for line in lines[:end])
