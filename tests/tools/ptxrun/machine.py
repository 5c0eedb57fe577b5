"""Modules loaded into a machine, and launches: a grid's blocks one after another, a block's warps in turn."""

from __future__ import annotations

import re
from collections import Counter

from attachers.cuda.ptx.reader import parse
from attachers.cuda.ptx.syntax import SIZES
from attachers.cuda.ptx.tokens import split
from tests.tools.ptxrun import numbers as n
from tests.tools.ptxrun.code import Builder, integer
from tests.tools.ptxrun.memory import CODE, SHARED, Fault, Memory
from tests.tools.ptxrun.warp import Warp
from tests.tools.ptxrun.warpops import FULL

AXES = "xyz"
SMS = 4
TURN = 20_000  # steps of a warp before others have their turn


class Machine:
    """Memory and clocks that modules share. `limit`: steps of warps in one launch. `printed`: vprintf's arguments."""

    def __init__(self, memory=None, limit=50_000_000):
        self.memory = memory or Memory()
        self.ticks = self.executed = 0
        self.allowed = self.limit = limit
        self.printed = []
        self.accesses = Counter()  # (name, bytes) of memory instructions → how often lanes ran them
        self.builtins = {
            "vprintf": self._vprintf,
            "__assertfail": _assertion,
            "malloc": self._malloc,
            "free": _nothing,
        }
        self._constants = {}

    def load(self, text):
        """Read a module and give its variables their memory."""
        return Loaded(self, text)

    def constant(self, value):
        if value not in self._constants:
            self._constants[value] = [value] * 32
        return self._constants[value]

    def _vprintf(self, warp, lane, arguments):
        out = b""
        address = arguments[0]
        while (byte := warp.machine.memory.read(address, 1)) != b"\0":
            out += byte
            address += 1
        self.printed.append((out.decode(), arguments[1]))
        return 1

    def _malloc(self, warp, lane, arguments):
        return self.memory.allocate(arguments[0])[0]


def _assertion(warp, lane, arguments):
    raise Fault("assertion failed")


def _nothing(warp, lane, arguments):
    return 0


class Loaded:
    """A module in the machine."""

    def __init__(self, machine, text):
        self.machine, self.module = machine, parse(text)
        self.symbols, self.shared, self.shared_bytes = {}, {}, 0
        self.dynamic = []
        for variable in self.module.variables:
            self._place(variable)
        self.codes, self.by_name = [], {}
        functions = [f for f in self.module.functions if f.body or not self._has_body(f.name)]
        for function in {f.name: f for f in functions}.values():
            self.symbols[function.name] = CODE + 16 * len(self.codes), 0
            self.codes.append(function)
        for variable in self.module.variables:
            if variable.initial:
                self._initialise(variable)
        for index, function in enumerate(list(self.codes)):
            self.codes[index] = self.by_name[function.name] = Builder(self, function, index).build()

    def _has_body(self, name):
        return any(f.name == name and f.body for f in self.module.functions)

    def _place(self, variable):
        if variable.space == "shared":
            self.shared_address(variable)
        elif variable.space in ("global", "const") and (variable.linkage != "extern" or variable.size):
            self.symbols[variable.name] = self.machine.memory.allocate(variable.size)[0], variable.size

    def shared_address(self, variable):
        """Give a shared variable's address; an open array begins where the dynamic part does."""
        key = variable.name if variable in self.module.variables else (variable.name, variable.start)
        if not variable.count:
            if key not in self.shared:
                self.dynamic.append(key)
                self.shared[key] = None
            return SHARED + self.static_bytes()
        if key not in self.shared:
            at = -(-self.shared_bytes // variable.align) * variable.align
            self.shared[key] = SHARED + at
            self.shared_bytes = at + variable.size
        return self.shared[key]

    def static_bytes(self):
        """Give where dynamic shared memory begins: a place no static variable reaches."""
        return 0x8000

    def address_of(self, name):
        """Give a symbol's address.

        Raises:
            Fault: there is none.
        """
        if name in self.shared:
            address = self.shared[name]
            return SHARED + self.static_bytes() if address is None else address
        if name not in self.symbols:
            raise Fault(f"no symbol {name}")
        return self.symbols[name][0]

    def symbol(self, name):
        """Give address and bytes of a variable.

        Raises:
            KeyError: there is none.
        """
        return self.symbols[name]

    def _initialise(self, variable):
        size = SIZES[variable.type]
        data = b"".join(self._values(variable.initial, variable.type, size))
        self.machine.memory.write(self.symbols[variable.name][0], data[: variable.size])

    def _values(self, text, type_, size):
        text = text.strip()
        if text.startswith("{"):
            for part in split(text[1:-1].strip()):
                if part:
                    yield from self._values(part, type_, size)
        else:
            yield (self._initial(text, type_) & ((1 << size * 8) - 1)).to_bytes(size, "little")

    def _initial(self, text, type_):
        mask = re.fullmatch(r"(0x[0-9A-Fa-f]+)\((.*)\)", text)
        if mask:  # `0xFF00(symbol)`: one byte of an address
            selected = int(mask[1], 16)
            shift = (selected & -selected).bit_length() - 1
            return (self._initial(mask[2], "u64") & selected) >> shift
        text = re.sub(r"^generic\(([^)]*)\)", r"\1", text)
        found = re.fullmatch(r"0[fFdD]([0-9a-fA-F]+)", text)
        if found:
            return int(found[1], 16)
        if re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", text):
            number = integer(text)
            return n.FLOATS[type_][1](float(number)) if type_ in n.FLOATS else number
        if re.fullmatch(r"-?[\d.]+(?:[eE][+-]?\d+)?", text):
            return n.FLOATS[type_][1](float(text))
        name, _, offset = text.partition("+")
        return self.address_of(name.strip()) + (integer(offset) if offset else 0)

    def launch(self, kernel, grid, block, params=b"", shared_bytes=0, smid=None):
        """Run a kernel to its end.

        Args:
            kernel: its mangled name.
            grid: blocks in x, y, z.
            block: threads in x, y, z.
            params: the parameters' bytes as the driver lays them out.
            shared_bytes: dynamic shared memory.
            smid: block's linear number → multiprocessor; every fourth block shares one if not given.

        Raises:
            Fault: what a GPU would stop it for.
        """
        code = self.by_name.get(kernel)
        if code is None or not code.function.is_entry:
            raise Fault(f"no kernel {kernel}")
        machine = self.machine
        machine.limit = machine.ticks + machine.allowed
        _Launch(
            self, code, tuple(grid), tuple(block), params, shared_bytes, smid or (lambda index: index % SMS)
        ).run()


class _Launch:
    """One grid."""

    def __init__(self, loaded, code, grid, block, params, shared_bytes, smid):
        self.loaded, self.code, self.machine = loaded, code, loaded.machine
        self.grid, self.block = grid, block
        self.params = bytearray(params).ljust(4096, b"\0")
        self.shared_bytes, self.smid = shared_bytes, smid
        self.workspace, _ = self.machine.memory.allocate(64)

    def run(self):
        """Run one block after another; those that wait for others take turns with them."""
        blocks = (_Block(self, index) for index in range(self.grid[0] * self.grid[1] * self.grid[2]))
        active = [block for block in blocks if not block.run(TURN)]
        while active:
            active = [block for block in active if not block.run(TURN)]


class _Block:
    """A block with its shared memory and its warps."""

    def __init__(self, launch, index):
        self.launch, self.index = launch, index
        self.shared = bytearray(launch.loaded.static_bytes() + launch.shared_bytes)
        x, y, _ = launch.grid
        self.place = index % x, index // x % y, index // (x * y)
        x, y, z = launch.block
        self.live = threads = x * y * z
        self.warps = [Warp(self, w, range(min(32, threads - 32 * w))) for w in range(-(-threads // 32))]

    def run(self, turn):
        """Run for some steps of each warp; returns whether the block has ended."""
        while True:
            for warp in self.warps:
                warp.run(turn)
            waiting = [(warp, entry) for warp in self.warps for entry in warp.waiting]
            is_busy = any(warp.groups or warp.parked for warp in self.warps)
            if not waiting or not self._release(waiting, is_busy=is_busy):
                return not is_busy

    def _release(self, waiting, *, is_busy):
        """Let those go on whose barrier all have reached; returns whether there are such."""
        done = False
        for number in {entry[0] for _, entry in waiting}:
            here = [(warp, entry) for warp, entry in waiting if entry[0] == number]
            wanted = here[0][1][1] or self.live
            # A barrier counts whole warps: threads that have ended count as arrived.
            if len(here) < min(wanted, self.live):
                continue
            done = True
            for warp, entry in here:
                warp.waiting.remove(entry)
                if entry[4]:
                    self._reduce([e[4] for _, e in here], entry)
                warp.add(entry[3], [entry[2]])
        if not done and not is_busy:
            raise Fault(
                f"{self.launch.code.name}: {len(waiting)} of {self.live} threads wait at a barrier for ever"
            )
        return done

    def _reduce(self, truths, entry):
        column, how, _ = entry[4]
        values = [int(truth[2]) for truth in truths]
        column[entry[2]] = {"popc": sum(values), "and": int(all(values)), "or": int(any(values))}[how]

    def special(self, warp, name):
        """Give a special register's value for each lane."""
        launch = self.launch
        x, y, z = launch.block
        base = warp.index * 32
        axis = AXES.find(name[-1]) if "." in name else -1
        if name.startswith("%tid."):
            threads = [(base + l) for l in range(32)]
            return [(t % x, t // x % y, t // (x * y))[axis] for t in threads]
        if name.startswith("%lanemask_"):
            return [_lanemask(name[10:], l) for l in range(32)]
        per_lane = {"%laneid": list(range(32)), "carry": [0] * 32}
        if name in per_lane:
            return per_lane[name]
        value = {
            **{f"%ntid.{a}": v for a, v in zip(AXES, (x, y, z), strict=True)},
            **{f"%ctaid.{a}": v for a, v in zip(AXES, self.place, strict=True)},
            **{f"%nctaid.{a}": v for a, v in zip(AXES, launch.grid, strict=True)},
            **{f"%clusterid.{a}": v for a, v in zip(AXES, self.place, strict=True)},
            **{f"%nclusterid.{a}": v for a, v in zip(AXES, launch.grid, strict=True)},
            **{f"%cluster_ctaid.{a}": 0 for a in AXES},
            **{f"%cluster_nctaid.{a}": 1 for a in AXES},
            **{"%cluster_ctarank": 0, "%cluster_nctarank": 1, "%is_explicit_cluster": 0},
            **{
                "%warpid": warp.index,
                "%nwarpid": 64,
                "%smid": launch.smid(self.index),
                "%nsmid": SMS,
                "%gridid": 1,
            },
            "%dynamic_smem_size": launch.shared_bytes,
            "%total_smem_size": launch.shared_bytes + launch.loaded.shared_bytes,
        }.get(name)
        if value is None and name.startswith("%envreg"):
            # The driver tells cooperative kernels of their workspace by 1 (high) and 2 (low).
            value = {"1": launch.workspace >> 32, "2": launch.workspace & FULL}.get(name[7:], 0)
        if value is None:
            raise Fault(f"unknown register {name}")
        return [value] * 32


def _lanemask(kind, lane):
    bit = 1 << lane
    masks = {
        "eq": bit,
        "lt": bit - 1,
        "le": bit * 2 - 1,
        "gt": FULL & ~(bit * 2 - 1),
        "ge": FULL & ~(bit - 1),
    }
    return masks[kind]
