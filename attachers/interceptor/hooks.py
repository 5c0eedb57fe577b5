"""The script in the target: it hooks addresses with adapters, and unhooks them; no symbols, no callbacks.

A bare pointer makes a probe: it runs where the instruction is and touches no return address. `onLeave` and
`replace` make Interceptor replace the caller's return address while the function runs. (`replaceFast` does
not, but takes 16 bytes of a function and no probe beside it.)

Interceptor puts code back in several stores and frees what it led to. So the code is put back here before
that, as the agent does it (`runtime/agent/site.c`), also when the tracer was killed: `dispose` comes first.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from attachers.inject.borrow import threads
from attachers.inject.device import Script
from attachers.interceptor.plan import PlannedHook
from attachers.interceptor.standstill import standing_still
from runtime.errors import TargetProblem

SOURCE = """
const hooks = new Map();
const originals = new Map();
const probe = (at, run) => Interceptor.attach(at, run);
const leave = (at, run) => Interceptor.attach(at, { onLeave: run });
const replace = (at, run) => {
  Interceptor.replace(at, run);
  return { detach: () => Interceptor.revert(at) };
};
const counted = (at, enter, left) => Interceptor.attach(at, { onEnter: enter, onLeave: left });
const WAYS = [probe, leave, replace];
const syscall = new NativeFunction(Module.getGlobalExportByName('syscall'), 'long', ['long', 'long', 'long']);
const [MEMBARRIER, SYNC_CORE, REGISTER] = [324, 1 << 5, 1 << 6];
const sync = () => syscall(MEMBARRIER, SYNC_CORE, 0);
function putBack(place) {
  const code = originals.get(place);
  originals.delete(place);
  if (code === undefined) return;
  Memory.patchCode(ptr(place), code.length, (at) => {
    at.writeU16(0xfeeb);
    sync();
    at.add(2).writeByteArray(code.slice(2));
    sync();
    at.writeU16(code[0] | (code[1] << 8));
    sync();
  });
}
syscall(MEMBARRIER, REGISTER, 0);
rpc.exports = {
  add(rows) {
    const failed = [];
    for (const [id, at, adapter, way, place, code, enter, left] of rows) {
      try {
        const parts = way === 0 ? [] : [counted(ptr(at), ptr(enter), ptr(left))];
        parts.push(WAYS[way](ptr(at), ptr(adapter)));
        hooks.set(id, { detach: () => parts.forEach((part) => part.detach()) });
        originals.set(place, code);
      } catch (error) {
        failed.push([id, error.message]);
      }
    }
    Interceptor.flush();
    return failed;
  },
  restore(places) {
    places.forEach(putBack);
  },
  remove(ids) {
    for (const id of ids) {
      const hook = hooks.get(id);
      if (hook !== undefined) hook.detach();
      hooks.delete(id);
    }
    Interceptor.flush();
  },
  dispose() {
    if (originals.size === 0) return;
    [...originals.keys()].forEach(putBack);
    Thread.sleep(0.2);
  },
};
"""
INSTEAD = "--backend inline"
LEAVING = 5.0  # seconds
STILL = 1.0  # seconds: who needs a lock that a standing thread holds would wait for ever


class Hooks:
    """What is hooked in one process. Adapters of one address run in the order in which they were added."""

    def __init__(self, pid: int) -> None:
        """Bring Frida in.

        Raises:
            TargetProblem: it cannot come into this process.
        """
        self.pid = pid
        # Frida's own list of threads comes by ptrace and has been seen to hang: its threads are the new ones.
        before = frozenset(threads(pid))
        self._script = Script(pid, SOURCE, INSTEAD)
        self._fridas = frozenset(threads(pid)) - before

    def add(self, hooks: Mapping[int, PlannedHook]) -> dict[int, str]:
        """Hook adapters on by numbers of ours; returns those that Interceptor refuses, with its words.

        Raises:
            TargetProblem: the process has ended.
            AttachProblem: a thread stays in one of the windows.
        """
        windows = [(h.at, h.at + h.overwritten) for h in hooks.values()]
        call = _Call(self._script, "add", [_row(*item) for item in hooks.items()])
        with standing_still(self.pid, self._fridas, windows):
            call.start()
            call.join(STILL)
        return {number: str(text) for number, text in call.result()}

    def restore(self, places: Iterable[int]) -> None:
        """Put the code at some addresses back: no thread comes to Interceptor from there any more.

        Raises:
            TargetProblem: the process has ended.
        """
        self._script.call("restore", [hex(place) for place in places])

    def remove(self, numbers: Iterable[int]) -> None:
        """Take adapters out. No thread may be on its way to one, unless others stay at the same address.

        Raises:
            TargetProblem: the process has ended.
        """
        self._script.call("remove", list(numbers))

    def close(self, *, stays: bool) -> bool:
        """Take everything out; returns whether Frida has left the process. `stays`: it may not yet."""
        left = self._script.close(stays=stays)
        # Its threads go after that; a program that ends meanwhile may die of it.
        deadline = time.monotonic() + LEAVING
        with contextlib.suppress(OSError):  # the program has ended
            while left and time.monotonic() < deadline and self._fridas & frozenset(threads(self.pid)):
                time.sleep(0.002)
        return left


def _row(number: int, hook: PlannedHook) -> list[object]:
    code = list(hook.original[: hook.overwritten])
    return [
        number,
        hex(hook.probe.at),
        hex(hook.adapter),
        int(hook.way),
        hex(hook.at),
        code,
        *map(hex, hook.guard),
    ]


class _Call(threading.Thread):
    """One call of a script's function on a thread of its own."""

    def __init__(self, script: Script, name: str, rows: list[Any]) -> None:
        super().__init__(daemon=True)
        self._what = script, name, rows
        self._result: Any = None
        self._problem: TargetProblem | None = None

    def run(self) -> None:
        script, name, rows = self._what
        try:
            self._result = script.call(name, rows)
        except TargetProblem as problem:
            self._problem = problem

    def result(self) -> Any:  # noqa: ANN401 # JSON
        """Wait for the end and return what the function returned.

        Raises:
            TargetProblem: the process has ended, or the script failed.
        """
        self.join()
        if self._problem is not None:
            raise self._problem
        return self._result
