"""The script in the target: it hooks addresses with adapters, and unhooks them; no symbols, no callbacks.

A bare pointer makes a probe: it runs where the instruction is and touches no return address. `onLeave` and
`replace` make Interceptor replace the caller's return address while the function runs. (`replaceFast` does
not, but takes 16 bytes of a function and no probe beside it.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attachers.inject.device import Script
from attachers.interceptor.plan import Way

SOURCE = """
const hooks = new Map();
const probe = (at, run) => Interceptor.attach(at, run);
const leave = (at, run) => Interceptor.attach(at, { onLeave: run });
const replace = (at, run) => {
  Interceptor.replace(at, run);
  return { detach: () => Interceptor.revert(at) };
};
const WAYS = [probe, leave, replace];
rpc.exports = {
  add(rows) {
    const failed = [];
    for (const [id, at, adapter, way] of rows) {
      try {
        hooks.set(id, WAYS[way](ptr(at), ptr(adapter)));
      } catch (error) {
        failed.push([id, error.message]);
      }
    }
    Interceptor.flush();
    return failed;
  },
  remove(ids) {
    for (const id of ids) {
      const hook = hooks.get(id);
      if (hook !== undefined) hook.detach();
      hooks.delete(id);
    }
    Interceptor.flush();
  },
};
"""
INSTEAD = "--backend inline"


@dataclass(frozen=True, slots=True)
class Hook:
    """An adapter at an address, the function's own start where it stands for a function."""

    number: int
    at: int
    adapter: int
    way: Way


class Hooks:
    """What is hooked in one process. Adapters of one address run in the order in which they were added."""

    def __init__(self, pid: int) -> None:
        """Bring Frida in.

        Raises:
            TargetProblem: it cannot come into this process.
        """
        self._script = Script(pid, SOURCE, INSTEAD)

    def add(self, hooks: Iterable[Hook]) -> dict[int, str]:
        """Hook adapters on; returns the numbers of those that Interceptor refuses, with its words.

        Raises:
            TargetProblem: the process has ended.
        """
        rows = [[h.number, hex(h.at), hex(h.adapter), int(h.way)] for h in hooks]
        return {number: str(text) for number, text in self._script.call("add", rows)}

    def remove(self, numbers: Iterable[int]) -> None:
        """Take adapters out; none of them is called any more, but a thread may still be inside one.

        Raises:
            TargetProblem: the process has ended.
        """
        self._script.call("remove", list(numbers))

    def close(self) -> bool:
        """Take everything out; returns whether Frida has left the process."""
        return self._script.close()
