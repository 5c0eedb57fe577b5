"""The host's C preprocessor for scripts that include headers, and the macros that every script sees."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import Problem
from runtime.lang.c.definitions import Surroundings
from runtime.lang.c.kernel import BtfTypes

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-E", "-dD", "-x", "c", "-std=gnu11")
HINT = "give the folder with -I, or declare the struct in the script"
ERROR = re.compile(r"(?:fatal )?error: (.*)")
SECONDS = 30
BTF = "/sys/kernel/btf/vmlinux"


@dataclass(frozen=True, slots=True)
class Headers:
    """Where headers are looked for: `folders` (-I), and `files` that come before the script (--include)."""

    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def preprocess(self, text: str) -> str:
        """Run the preprocessor on a text; its output keeps definitions and names of files and lines.

        Raises:
            Problem: there is none, or it does not accept the text.
        """
        compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
        if compiler is None:
            raise Problem(
                "#include needs a C preprocessor, and none was found",
                hint="declare the struct in the script, give the binary debug info, or install cc or clang",
            )
        command = [compiler, *FLAGS]
        command += [f"-I{folder}" for folder in self.folders]
        for file in self.files:
            command += ["-include", file]
        try:
            done = subprocess.run(
                [*command, "-"], input=text, capture_output=True, text=True, errors="surrogateescape",
                timeout=SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Problem(f"cannot run {compiler}: {error}") from None
        if done.returncode:
            raise Problem(f"the C preprocessor refused the script: {_reason(done.stderr)}", hint=HINT)
        return done.stdout


def _reason(text: str) -> str:
    found = ERROR.search(text)
    return found[1] if found else text.strip().split("\n", maxsplit=1)[0] or "it gave no reason"


def surroundings(headers: Headers, environment: Mapping[str, str]) -> Surroundings:
    """What the C part of a script finds on this machine."""
    types = BtfTypes(kernel_types(environment))
    return Surroundings(predefined(environment), headers.preprocess, bool(headers.files), (types,))


def predefined(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Macros of every script: `BPFTIME`, and `BPFTRACE_HAVE_BTF` where the kernel's types can be read."""
    macros: dict[str, str | None] = {"BPFTIME": "1"}
    if os.access(kernel_types(environment), os.R_OK):
        macros["BPFTRACE_HAVE_BTF"] = "1"
    return macros


def kernel_types(environment: Mapping[str, str]) -> Path:
    """The file with the kernel's types."""
    return Path(environment.get("BPFTRACE_BTF") or BTF)
