"""From the assembly of one device function to the text of a body."""

from __future__ import annotations

import re

from runtime.errors import Bug
from runtime.nvptx.body import END, SPACE, WIDE

FUNCTION = "probe"
PARAMETER = re.compile(r"ld\.param\.b(32|64)\s+(%\w+), \[probe_param_(\d+)\];")
COMMENT = re.compile(r"//.*$")
LOCAL = re.compile(r"\.local\s.*__local_depot0\[(\d+)\]")
HEADER = re.compile(r"\.(visible )?func\b.*\bprobe\(", re.S)
FOREIGN = re.compile(r"^\s*(\.global|\.const|\.visible \.global|\.(weak |visible )?func)\b", re.M)


def body_text(assembly: str, inputs: list[str]) -> tuple[str, frozenset[str], int]:
    """Give the statements of the function `probe`, the inputs that they read and bytes of local memory.

    `inputs`: names in the order of the function's parameters.

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
        raise Bug(f"a body needs more than one function:\n{assembly}")
    used: set[str] = set()
    lines = [_line(line, inputs, used) for line in assembly[start + 1 : end].splitlines()]
    kept = [line for line in lines if line]
    while kept and kept[-1] == f"bra {END};":
        kept.pop()
    local = LOCAL.search(assembly)
    return "\n".join([*kept, f"{END}:"]) + "\n", frozenset(used), int(local[1]) if local else 0


def _line(line: str, inputs: list[str], used: set[str]) -> str:
    text = COMMENT.sub("", line).strip()
    if not text:
        return ""
    parameter = PARAMETER.fullmatch(text)
    if parameter:
        name = inputs[int(parameter[3])]
        used.add(f"%bt{name}")
        wide = 64 if name in WIDE else 32
        if int(parameter[1]) != wide:
            raise Bug(f"input {name} is read with {parameter[1]} bits")
        if wide == 32 and parameter[2].startswith("%rd"):
            return f"cvt.u64.u32 {parameter[2]}, %bt{name};"
        return f"mov.b{wide} {parameter[2]}, %bt{name};"
    if ".param" in text or "__param" in text:
        raise Bug(f"a parameter is read in another way: {text}")
    text = re.sub(r"\bret(\.uni)?;$", f"bra {END};", text)
    text = text.replace("$L__BB0_", "$BT").replace("__local_depot0", "__bpftime_depot")
    return text.replace("ld.const.", f"ld.{SPACE}.").replace("\t", " ")
