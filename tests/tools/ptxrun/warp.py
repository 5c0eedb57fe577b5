"""A warp: 32 lanes, each at a place of some function; those at the smallest place run together.

A place is (depth of calls, function, step): deeper first, then by step, so lanes that parted meet again at the
first step that all of them pass. Registers belong to (depth, function); each lane uses its own column.
"""

from __future__ import annotations

from tests.tools.ptxrun.memory import CODE, LOCAL, PARAM, SHARED, WINDOW, Fault
from tests.tools.ptxrun.warpops import mask_of

LOCAL_BYTES = 1 << 16
DEEPEST = 64


class Frame:
    """Registers, parameters and return places of one function at one depth."""

    def __init__(self, warp, code):
        self.code = code
        self.registers = [warp.slot(*slot) for slot in code.slots]
        self.params = [[bytearray(size) for _ in range(32)] for size in code.params]
        self.returns = [None] * 32

    def enter(self, lanes, stack):
        """Give the lanes' local variables their addresses; returns nothing."""
        for index, slot in enumerate(self.code.slots):
            if slot[0] == "local":
                column = self.registers[index]
                for lane in lanes:
                    column[lane] = LOCAL + stack[lane] + slot[1]
        size = -(-self.code.frame // 16) * 16
        for lane in lanes:
            stack[lane] += size
            if stack[lane] > LOCAL_BYTES:
                raise Fault("the stack is full")


class Warp:
    """One warp of a block. `groups`: place → lanes that are there and may run."""

    def __init__(self, block, index, lanes):
        self.block, self.index, self.machine = block, index, block.launch.machine
        self.lanes = list(lanes)
        self.live = mask_of(self.lanes)
        self.specials = {}
        self.frames = {}
        self.groups, self.parked, self.waiting = {}, {}, []
        self.local = [bytearray(LOCAL_BYTES) if lane in self.lanes else None for lane in range(32)]
        self.stack = [0] * 32
        code = block.launch.code
        self.frame = self.frame_of(0, code)
        self.frame.enter(self.lanes, self.stack)
        self.groups[0, code.index, 0] = self.lanes

    # --- slots and memory

    def slot(self, kind, *value):
        if kind == "const":
            return self.machine.constant(value[0])
        if kind == "sreg":
            return self.special(value[0])
        return [0] * 32

    def special(self, name):
        if name not in self.specials:
            self.specials[name] = self.block.special(self, name)
        return self.specials[name]

    def frame_of(self, depth, code):
        key = depth, code.index
        if key not in self.frames:
            self.frames[key] = Frame(self, code)
        return self.frames[key]

    def at(self, address, size, lane):
        """Give view and offset for an access of a lane."""
        if address % (size if size & (size - 1) == 0 else 4):
            raise Fault(f"{size} bytes at {address:#x}: not aligned")
        if address >= 1 << 32:
            return self.machine.memory.at(address, size)
        for start, view in (
            (SHARED, self.block.shared),
            (LOCAL, self.local[lane]),
            (PARAM, self.block.launch.params),
        ):
            if start <= address < start + WINDOW:
                if address - start + size > len(view):
                    raise Fault(f"no memory at {address:#x} ({size} bytes)")
                return view, address - start
        raise Fault(f"no memory at {address:#x} ({size} bytes)")

    # --- running

    def run(self, turn):
        """Run until all lanes have ended or wait at a barrier, or `turn` steps are over."""
        stop = self.machine.ticks + turn
        while (self.groups or self.parked) and self.machine.ticks < stop:
            if not self.groups:
                self._unpark()
            place = min(self.groups)
            lanes = self.groups.pop(place)
            self._go(place, lanes)

    def _unpark(self):
        """Lanes that wait for others of their mask: those may have ended since."""
        for place, (lanes, step) in list(self.parked.items()):
            del self.parked[place]
            rest = self._synchronise(place, lanes, step)
            if len(rest) < len(lanes):
                return
            self.parked[place] = rest, step
        place, (lanes, step) = next(iter(self.parked.items()))
        raise Fault(f"lanes {lanes} wait for ever: {step.instruction.opcode} {step.instruction.operands}")

    def _next_of(self, place):
        """Give the step at which other lanes of this function wait."""
        depth, index, at = place
        return min(
            (p[2] for p in self.groups if p[0] == depth and p[1] == index and p[2] > at), default=1 << 60
        )

    def _go(self, place, lanes):
        depth, index, at = place
        code = self.block.launch.loaded.codes[index]
        self.frame = self.frame_of(-depth, code)
        registers, steps, machine = self.frame.registers, code.steps, self.machine
        limit = self._next_of(place)
        while at < limit:
            step = steps[at]
            on = lanes
            if step.guard >= 0:
                column = registers[step.guard]
                on = [l for l in lanes if column[l] != step.negated]
            machine.ticks += 1
            machine.executed += len(on)
            if step.kind == "run":
                if on:
                    for access in step.access:
                        machine.accesses[access] += len(on)
                    try:
                        step.run(registers, on, self)
                    except Fault as fault:
                        raise self.fault(fault, code, step) from None
                at += 1
                continue
            rest = [l for l in lanes if l not in on] if on is not lanes else []
            if rest:
                self.add((depth, index, at + 1), rest)
            if on:
                if machine.ticks > machine.limit:
                    raise Fault(f"more than {machine.limit} steps")
                try:
                    getattr(self, f"_{step.kind}")((depth, index, at), on, step)
                except Fault as fault:
                    raise self.fault(fault, code, step) from None
            return
        self.add((depth, index, at), lanes)

    def fault(self, fault, code, step):
        text = f"{step.instruction.opcode} {step.instruction.operands}" if step.instruction else "end"
        where = f"{code.name}, block {self.block.index}, warp {self.index}: {text}"
        return fault if str(fault).startswith(code.name) else Fault(f"{where}: {fault}")

    def add(self, place, lanes):
        """Let lanes go on at a place."""
        there = self.groups.get(place)
        self.groups[place] = sorted(there + lanes) if there else list(lanes)

    def end(self, lanes):
        """Lanes have exited."""
        self.live &= ~mask_of(lanes)
        self.block.live -= len(lanes)

    # --- what the kinds do

    def _fault(self, place, lanes, step):
        raise Fault(step.extra)

    def _trap(self, place, lanes, step):
        raise Fault("trap")

    def _exit(self, place, lanes, step):
        self.end(lanes)

    def _bra(self, place, lanes, step):
        self.add((place[0], place[1], step.extra), lanes)

    def _brx(self, place, lanes, step):
        for lane in lanes:
            index = self.frame.registers[step.run][lane]
            if index >= len(step.extra):
                raise Fault(f"branch {index} of {len(step.extra)}")
            self.add((place[0], place[1], step.extra[index]), [lane])

    def _ret(self, place, lanes, step):
        if not place[0]:
            self.end(lanes)
            return
        frame = self.frame
        size = -(-frame.code.frame // 16) * 16
        for lane in lanes:
            caller, back, returns = frame.returns[lane]
            self.stack[lane] -= size
            for (kind, number), parameter in zip(returns, frame.code.function.returns, strict=False):
                caller.put(kind, number, lane, frame.take(*frame.code.formals[parameter.name], lane))
            self.add(back, [lane])

    def _call(self, place, lanes, step):
        name, returns, arguments = step.extra
        if step.run is not None:
            for address in {self.frame.registers[step.run][l] for l in lanes}:
                here = [l for l in lanes if self.frame.registers[step.run][l] == address]
                self._enter(place, here, self.code_at(address), (returns, arguments))
            return
        code = self.block.launch.loaded.by_name.get(name)
        if code is None or code.function.body is None:
            self._builtin(place, lanes, name, (returns, arguments))
        else:
            self._enter(place, lanes, code, (returns, arguments))

    def code_at(self, address):
        codes, index = self.block.launch.loaded.codes, (address - CODE) // 16
        if address < CODE or not 0 <= index < len(codes):
            raise Fault(f"call of {address:#x}, which is no function")
        return codes[index]

    def _enter(self, place, lanes, code, passed):
        depth, index, at = place
        if -depth >= DEEPEST:
            raise Fault("calls are nested too deep")
        caller, frame = self.frame, self.frame_of(1 - depth, code)
        frame.enter(lanes, self.stack)
        for lane in lanes:
            frame.returns[lane] = caller, (depth, index, at + 1), passed[0]
            for (kind, number), parameter in zip(passed[1], code.function.params, strict=False):
                frame.put(*frame.code.formals[parameter.name], lane, caller.take(kind, number, lane))
        self.add((depth - 1, code.index, 0), lanes)

    def _builtin(self, place, lanes, name, passed):
        function = self.machine.builtins.get(name)
        if function is None:
            raise Fault(f"function {name} has no body")
        for lane in lanes:
            arguments = [int.from_bytes(self.frame.take(*a, lane), "little") for a in passed[1]]
            result = function(self, lane, arguments)
            for kind, number in passed[0]:
                self.frame.put(kind, number, lane, int(result or 0).to_bytes(8, "little"))
        self.add((place[0], place[1], place[2] + 1), lanes)

    def _bar(self, place, lanes, step):
        number, count, reduction = step.extra
        registers = self.frame.registers
        for lane in lanes:
            which = -1 if number is None else registers[number][lane]
            wanted = None if count is None else registers[count][lane]
            truth = None
            if reduction:
                target, how, (slot, negated) = reduction
                truth = registers[target], how, registers[slot][lane] ^ negated
            self.waiting.append((which, wanted, lane, (place[0], place[1], place[2] + 1), truth))

    def _sync(self, place, lanes, step):
        parked = self.parked.pop(place, None)
        together = sorted(lanes + parked[0]) if parked else lanes
        rest = self._synchronise(place, together, step)
        if rest:
            self.parked[place] = rest, step

    def _synchronise(self, place, lanes, step):
        """Run what waits for its mask where all lanes of the mask are there; returns the others."""
        depth, index, at = place
        frame = self.frame_of(-depth, self.block.launch.loaded.codes[index])
        self.frame = frame
        if step.extra is None:
            step.run(frame.registers, lanes, self)
            self.add((depth, index, at + 1), lanes)
            return []
        rest, masks = [], frame.registers[step.extra]
        for mask in {masks[l] for l in lanes}:
            here = [l for l in lanes if masks[l] == mask]
            if any(not mask >> l & 1 for l in here):
                raise Fault(f"lanes {here} are not in their mask {mask:#x}")
            if mask & self.live & ~mask_of(here):
                rest += here
                continue
            step.run(frame.registers, here, self)
            self.add((depth, index, at + 1), here)
        return sorted(rest)


def _put(frame, kind, number, lane, data):
    if kind == "param":
        buffer = frame.params[number][lane]
        buffer[:] = data[: len(buffer)].ljust(len(buffer), b"\0")
    else:
        frame.registers[number][lane] = int.from_bytes(data[:8], "little")


def _take(frame, kind, number, lane):
    if kind == "param":
        return bytes(frame.params[number][lane])
    return frame.registers[number][lane].to_bytes(8, "little")


Frame.put, Frame.take = _put, _take
