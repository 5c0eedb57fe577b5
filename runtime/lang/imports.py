"""`import "…"`: other scripts and C headers, merged in front of what imports them.

Paths are relative to the importing file. Each file is taken once; what a dependency defines comes first, so
its `begin` probes run first. Files in folders that everybody may write to are refused.
"""

from __future__ import annotations

import stat
from pathlib import Path

from runtime.errors import Problem
from runtime.lang import tree
from runtime.lang.parser import parse
from runtime.lang.source import Source

SCRIPT, HEADERS = ".bt", (".h",)
PARTS = ("definitions", "maps", "macros", "functions", "probes")
C_HINT = "compile it and attach its programs with `bpftime load`"


def merge(source: Source, script: tree.Script) -> None:
    """Put everything that a script imports in front of its own parts.

    Raises:
        Problem: a file cannot be read, or holds what only a whole program may have.
    """
    if script.imports:
        _Imports(source).into(script, Path(source.file).parent)


class _Imports:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.seen: set[Path] = set()

    def into(self, script: tree.Script, folder: Path) -> None:
        before = tree.Script(script.at, [], [], [], [], [], [], [])
        for node in script.imports:
            self._one(node, folder / node.path.decode("utf-8", "surrogateescape"), before)
        for part in PARTS:
            getattr(script, part)[:0] = getattr(before, part)

    def _one(self, node: tree.Import, path: Path, into: tree.Script) -> None:
        path = path.resolve()
        self._check_folder(node, path if path.is_dir() else path.parent)
        if not path.is_dir():
            self._file(node, path, into)
            return
        for file in sorted(path.iterdir()):
            if file.suffix in (SCRIPT, *HEADERS):
                self._file(node, file, into)

    def _check_folder(self, node: tree.Import, folder: Path) -> None:
        try:
            mode = folder.stat().st_mode
        except OSError as error:
            raise self._failed(node, folder, error) from None
        if mode & stat.S_IWOTH:
            raise self.source.problem(
                node.at,
                f"import from '{folder}' is refused: everybody may write there",
                f"take the right away: chmod o-w {folder}",
            )

    def _file(self, node: tree.Import, path: Path, into: tree.Script) -> None:
        if path in self.seen:
            return
        self.seen.add(path)
        if path.suffix in HEADERS:
            into.definitions.append(tree.Definition(node.at, f'#include "{path}"'))
            return
        if path.suffix != SCRIPT:
            raise self.source.problem(
                node.at, f"import of '{path.name}' is not served: only .bt and .h files are", C_HINT
            )
        try:
            text = path.read_text(errors="surrogateescape")
        except OSError as error:
            raise self._failed(node, path, error) from None
        imported = parse(self.source, self.source.add(text, str(path)))
        if imported.config:
            raise self.source.problem(imported.config[0].at, "config is only allowed in the main script")
        self.into(imported, path.parent)
        for part in PARTS:
            getattr(into, part).extend(getattr(imported, part))

    def _failed(self, node: tree.Import, path: Path, error: OSError) -> Problem:
        return self.source.problem(node.at, f"failed to import '{path}': {error.strerror}")
