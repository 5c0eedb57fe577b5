"""The corpus of PTX files, and how to launch the kernels in it that the interpreter can run."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

from attachers.cuda.ptx.reader import parse
from attachers.cuda.ptx.weave import weave
from tests.tools.cudaprobes import bind
from tests.tools.ptxrun import Machine, Memory

FOLDER = Path(__file__).parents[1] / "cases/cuda"
FILES = sorted(path.name for path in FOLDER.glob("*.ptx"))
BYTES = 8192  # of each buffer

# file, kernel → grid, block, dynamic shared bytes, parameters: "f" and "i" are buffers of floats and small integers
_LAUNCHES = {
    ("samples", "_Z6vecaddPKfS0_Pfi"): ((4, 1, 1), (64, 1, 1), 0, "fff", struct.pack("<i", 200)),
    ("samples", "_Z5copy4PK6float4PS_i"): ((2, 1, 1), (48, 1, 1), 0, "ff", struct.pack("<i", 80)),
    ("samples", "_Z6reducePfS_"): ((2, 1, 1), (96, 1, 1), 384, "ff", b""),
    ("samples", "_Z6calledPfS_"): ((2, 1, 1), (40, 1, 1), 0, "ff", b""),
    ("matmul", "_Z2mmPKfS0_Pfi"): ((1, 1, 1), (16, 16, 1), 0, "fff", struct.pack("<i", 16)),
    ("matmul", "_Z6scaledILi32EEvPd5Shape"): (
        (2, 1, 1),
        (32, 1, 1),
        0,
        "z",
        struct.pack("<ifd", 50, 2.5, -1.0),
    ),
    ("flow", "_Z6choosePi"): ((1, 1, 1), (32, 1, 1), 0, "i", b""),
    ("flow", "_Z9recursivePi"): ((1, 1, 1), (24, 1, 1), 0, "i", b""),
    ("flow", "_Z8pointersPi"): ((1, 1, 1), (32, 1, 1), 0, "i", b""),
    ("flow", "_Z4saysPii"): ((1, 1, 1), (32, 1, 1), 0, "i", struct.pack("<i", 4)),
    ("flow", "_Z6localsPii"): ((1, 1, 1), (2, 1, 1), 0, "i", struct.pack("<i", 3)),
    ("lanes", "_Z7warpsumPKiPi"): ((2, 1, 1), (64, 1, 1), 0, "ii", b""),
    ("lanes", "_Z5votesPKiPj"): ((1, 1, 1), (32, 1, 1), 0, "ii", b""),
    ("lanes", "_Z6groupsPKiPi"): ((1, 1, 1), (64, 1, 1), 0, "ii", b""),
    ("lanes", "_Z8gridwidePiS_"): ((3, 1, 1), (32, 1, 1), 0, "zi", b""),
    ("lanes", "_Z6halvesP6__halfP7__half2PyPdPs"): ((1, 1, 1), (32, 1, 1), 0, "zziii", b""),
    ("ampere", "_Z6stagedPK6float4Pf"): ((1, 1, 1), (64, 1, 1), 0, "ff", b""),
    ("ampere", "_Z5reduxPKjPj"): ((1, 1, 1), (32, 1, 1), 0, "ii", b""),
    ("hopper", "_Z4wideP6float4S0_"): ((1, 1, 1), (16, 1, 1), 0, "ff", b""),
    ("llvm", "scale"): ((1, 1, 1), (32, 1, 1), 0, "fii", struct.pack("<f", 1.5)),
    ("llvm", "walk"): ((1, 1, 1), (32, 1, 1), 0, "i", struct.pack("<iq", 0, 4)[4:].rjust(8, b"\0")),
    ("hand", "ret"): ((1, 1, 1), (32, 1, 1), 0, "i", bytes(20)),
    ("hand", "tables"): ((1, 1, 1), (48, 1, 1), 0, "i", b""),
    ("hand", "nothing"): ((3, 1, 1), (7, 1, 1), 0, "", b""),
    ("crlf", "crlf"): ((1, 1, 1), (5, 1, 1), 0, "i", b""),
    ("constants", "fills"): ((1, 1, 1), (5, 1, 1), 0, "i", b""),
    ("blackwell", "eight"): ((1, 1, 1), (1, 1, 1), 0, "f", b""),
}
# Debug code does the same by other instructions.
LAUNCHES = {
    (name + variant, kernel): launch
    for (name, kernel), launch in _LAUNCHES.items()
    for variant in ("", "-G", "-lineinfo", "-90")
    if name + variant + ".ptx" in FILES
}


@cache
def text_of(name):
    return (FOLDER / f"{name}.ptx").read_text(encoding="latin-1")


def run(name, kernel, probes=()):
    """Launch a kernel; gives its buffers' bytes, the words that bodies added to, and the machine."""
    grid, block, shared, buffers, last = LAUNCHES[name, kernel]
    text = text_of(name)
    machine = Machine(Memory())
    loaded = machine.load(weave(parse(text), probes, 100).text if probes else text)
    words = bind(machine, loaded) if probes else tuple
    params, views = b"", []
    for kind in buffers:
        address, view = machine.memory.allocate(BYTES)
        _fill(view, kind)
        params += struct.pack("<Q", address)
        views.append(view)
    loaded.launch(kernel, grid, block, params + last, shared)
    return [bytes(view) for view in views], words(), machine


def _fill(view, kind):
    if kind == "f":
        struct.pack_into("<1024f", view, 0, *((i - 20) * 0.5 for i in range(1024)))
    elif kind == "i":
        struct.pack_into("<1024i", view, 0, *(i * 7 % 23 for i in range(1024)))
