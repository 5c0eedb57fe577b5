"""The libraries of a program are those that the loader lists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.symbols.elf import ElfFile
from runtime.symbols.needed import libraries_of


@pytest.mark.parametrize("program", [sys.executable, "/bin/bash", "/bin/ls"])
def test_libraries_are_those_that_the_loader_takes(program: str) -> None:
    path = os.path.realpath(program)
    if not Path(path).exists():
        pytest.skip(f"no {program}")
    listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    wanted = {os.path.realpath(found) for found in re.findall(r"=> (/\S+) \(", listed)}
    found = {os.path.realpath(elf.path) for elf in libraries_of(ElfFile(path))}
    assert found - {os.path.realpath("/lib64/ld-linux-x86-64.so.2")} == wanted
