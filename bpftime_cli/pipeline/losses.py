"""What is said at the end of events and runs that did not come to their end."""

from __future__ import annotations

from bpftime_cli.console import Console
from runtime.shm.region import Region


def report(console: Console, lost: int, region: Region) -> None:
    """Say how many records did not fit into their ring, and how many runs were cut short by a long loop."""
    if lost:
        console.warn([f"Total lost event count: {lost}"])
    if cut := region.get("cut_runs"):
        from runtime.jit.unit import FUEL  # lazy: seldom said

        runs = "1 run was" if cut == 1 else f"{cut} runs were"
        console.warn([f"{runs} ended by a loop that went round more than {FUEL} times"])
