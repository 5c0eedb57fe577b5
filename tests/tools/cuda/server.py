"""What stands behind the stub driver: it keeps device memory, and runs kernels by the interpreter of PTX.

    with Server(folder) as server:
        run(command, env={**os.environ, **server.environment})

Its wire is that of `stub/server.c`. Images are PTX text, or containers that hold some.
"""

from __future__ import annotations

import mmap
import os
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BASE, SIZE = 0x700000000000, 256 << 20
ASK = struct.Struct("<II3I3IIIQ")
LOAD, KERNEL, GLOBAL, LAUNCH = 1, 2, 3, 4
NO_BINARY, INVALID_PTX, NOT_FOUND, LAUNCH_FAILED = 209, 218, 500, 719  # CUresult
MAGICS = {0x464C457F: "cubin", 0xBA55ED50: "fatbin"}
SIZES = {"8": 1, "16": 2, "32": 4, "64": 8}
PARAMETER = re.compile(
    r"\.param\s+(?:\.align\s+(\d+)\s+)?\.[a-z]+(\d+)(?:\s+\.ptr[^,)]*?)?\s+[\w$%]+(?:\[(\d+)\])?\s*[,)]"
)


@dataclass
class Loaded:
    """One loaded module: its PTX, and what the interpreter made of it."""

    text: str
    module: Any


@dataclass
class Server:
    """The server of one test. `launches`: kernels that ran, with grid and block; `faults`: what went wrong."""

    folder: Path
    launches: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __enter__(self) -> Server:
        self._path = self.folder / "memory"
        with self._path.open("wb") as file:
            file.truncate(SIZE)
        self._file = self._path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), SIZE)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.folder / "socket"))
        self._socket.listen()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to find it."""
        return {"BPFTIME_STUB_SOCKET": str(self.folder / "socket"), "BPFTIME_STUB_MEMORY": str(self._path)}

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def _serve(self, wire: socket.socket) -> None:
        """Serve one process: each has an interpreter of its own, and its modules by their numbers."""
        from tests.tools.ptxrun import Machine  # lazy: the tests of the driver alone need none

        memory = shared_memory(memoryview(self._map))
        machine, modules = Machine(memory), dict[int, Loaded]()
        with wire, wire.makefile("rb") as stream:
            while head := stream.read(ASK.size):
                op, number, gx, gy, gz, bx, by, bz, shared, name_bytes, size = ASK.unpack(head)
                name, data = stream.read(name_bytes).decode(), stream.read(size)
                with self._lock:
                    try:
                        if op == LOAD:
                            status, reply = self._load(machine, modules, number, data), b""
                        elif op == LAUNCH:
                            sizes = (gx, gy, gz), (bx, by, bz), shared
                            status, reply = self._launch(modules[number], name, sizes, data), b""
                        else:
                            status, reply = self._look_up(modules.get(number), op, name)
                    except Exception as error:  # a fault of the kernel is what the test wants to see
                        self.faults.append(f"{type(error).__name__}: {error}")
                        status, reply = LAUNCH_FAILED, b""
                wire.sendall(struct.pack("<iI", status, len(reply)) + reply)

    def _load(self, machine: Any, modules: dict[int, Loaded], number: int, image: bytes) -> int:
        text = text_of(image)
        if not text:
            return NO_BINARY
        self.texts.append(text)
        try:
            modules[number] = Loaded(text, machine.load(text))
        except Exception as error:  # as the driver: any text that it cannot load is an error number
            self.faults.append(f"{type(error).__name__}: {error}")
            return INVALID_PTX
        return 0

    def _look_up(self, loaded: Loaded | None, op: int, name: str) -> tuple[int, bytes]:
        if loaded is None:
            return NOT_FOUND, b""
        if op == KERNEL:
            found = parameters(loaded.text, name)
            return (NOT_FOUND, b"") if found is None else (0, b"".join(struct.pack("<II", *p) for p in found))
        try:
            address, size = loaded.module.symbol(name)
        except Exception:  # whatever it says, there is none
            return NOT_FOUND, b""
        return 0, struct.pack("<QQ", address, size)

    def _launch(self, loaded: Loaded, name: str, sizes: tuple[Any, Any, int], values: bytes) -> int:
        grid, block, shared = sizes
        self.launches.append((name, grid, block))
        loaded.module.launch(name, grid, block, values, shared_bytes=shared)
        return 0


def shared_memory(view: memoryview) -> Any:
    """Memory of an interpreter that a process has as well; variables of modules lie in its upper half."""
    from tests.tools.ptxrun import Memory  # lazy: the tests of the driver alone need none

    class Shared(Memory):
        def allocate(self, size: int, align: int = 256) -> tuple[int, memoryview]:
            at = -(-self.used // align) * align
            self.used = at + size + 256
            view[at : at + size] = bytes(size)
            return BASE + at, view[at : at + size]

    memory = Shared()
    memory.used = SIZE // 2
    memory.add(BASE, view)
    return memory


def text_of(image: bytes) -> str:
    """The PTX of an image, empty where it has none."""
    kind = MAGICS.get(int.from_bytes(image[:4], "little"), "text")
    if kind == "cubin":
        return ""
    if kind == "fatbin":
        from attachers.cuda import fatbin  # lazy: text needs no container

        return fatbin_text(fatbin, image)
    return image.rstrip(b"\0").decode("latin-1")


def fatbin_text(fatbin: Any, image: bytes) -> str:
    """The PTX of a container's newest entry."""
    entries = [e for e in fatbin.parse(image).entries if e.kind == fatbin.PTX]
    return entries[-1].image().rstrip(b"\0").decode("latin-1") if entries else ""


def parameters(text: str, kernel: str) -> list[tuple[int, int]] | None:
    """Offset and size of each parameter of a kernel, None where there is no such kernel."""
    found = re.search(rf"\.entry\s+{re.escape(kernel)}\s*(\((.*?)\))?\s*(?:\.\w|\{{)", text, re.DOTALL)
    if not found:
        return None
    result, at = [], 0
    for align, bits, count in PARAMETER.findall(found[1] or ""):
        size = SIZES.get(bits, 1) * int(count or 1)
        step = int(align or SIZES.get(bits, 1))
        at = (at + step - 1) // step * step
        result.append((at, size))
        at += size
    return result


def environment(server: Server, driver: Path, log: Path) -> dict[str, str]:
    """The whole environment of a program under test."""
    own = {"BPFTIME_STUB_LOG": str(log), "LD_LIBRARY_PATH": str(driver.parent)}
    return {**os.environ, **server.environment, **own}
