"""From the assembly of one device function to the text of a body."""

from __future__ import annotations

import re

from runtime.errors import Bug
from runtime.nvptx.body import END, SPACE

INPUT = re.compile(r"%bt\w+")
RETURN = re.compile(r"\bret(\.uni)?;$")
ALONE = "a body needs more than one function"
COMMENT = re.compile(r"//.*$")
LOCAL = re.compile(r"\.local\s.*__local_depot0\[(\d+)\]")
HEADER = re.compile(r"\.(visible )?func\b.*\bprobe\(", re.S)
FOREIGN = re.compile(r"^\s*(\.global|\.const|\.visible \.global|\.(weak |visible )?func)\b", re.M)


def body_text(assembly: str) -> tuple[str, frozenset[str], int]:
    """Give the statements of the function `probe`, the inputs that they read and bytes of local memory.

    Raises:
        Bug: the module holds more than that function.
    """
    found = HEADER.search(assembly)
    if found is None:
        raise Bug(f"LLVM gave no function:\n{assembly}")
    start = assembly.index("{", found.end())
    end = assembly.rindex("}")
    rest = assembly[: found.start()] + assembly[end:]
    if FOREIGN.search(rest) or "\n.func" in assembly[start:end]:
        raise Bug(f"{ALONE}:\n{assembly}")
    lines = [_line(line) for line in assembly[start + 1 : end].splitlines()]
    kept = [line for line in lines if line]
    while kept and kept[-1] == f"bra {END};":
        kept.pop()
    text = "\n".join([*kept, f"{END}:"]) + "\n"
    local = LOCAL.search(assembly)
    return text, frozenset(INPUT.findall(text)), int(local[1]) if local else 0


def _line(line: str) -> str:
    text = COMMENT.sub("", line).strip()
    text = RETURN.sub(f"bra {END};", text)
    text = text.replace("$L__BB0_", "$BT").replace("__local_depot0", "__bpftime_depot")
    return text.replace("ld.const.", f"ld.{SPACE}.").replace("\t", " ")
