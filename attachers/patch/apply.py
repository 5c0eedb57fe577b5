"""Carry a plan out in its process, and take links out again. The only place that changes a target's code."""

from __future__ import annotations

import signal
import struct
from dataclasses import dataclass, field
from pathlib import Path

from attachers.inject.frames import Reply, Request
from attachers.inject.visit import find_state
from attachers.patch import dispatched
from attachers.patch.chain import Node, chain
from attachers.patch.grace import free, settle
from attachers.patch.hooked import is_back, is_hooked, restore_tail
from attachers.patch.plan import HOOK_LINK, AttachPlan
from attachers.patch.semaphores import Owner, count_request, unowned
from attachers.target import SiteEntry, Target
from runtime.agent import protocol
from runtime.agent.protocol import Op, SiteKind, SiteState
from runtime.errors import AttachProblem, TargetProblem

WRITE_LIMIT = 512 << 10  # bytes of code in one frame
WORDS = {
    1: "this process may not map page 0 (see vm.mmap_min_addr)",
    16: "another kind of probe owns this place",
    22: "the plan does not fit this process",
    28: "no room for a jump or a thunk",
    116: "its code is not what was planned (another tracer?)",
}


class FramesRefused(Exception):
    """Nothing was armed: thunks of these links need unwind entries, and the process cannot be told of any."""

    def __init__(self, links: frozenset[int], reason: AttachProblem) -> None:
        super().__init__(str(reason))
        self.links = links
        self.reason = reason


def apply(target: Target, plan: AttachPlan) -> None:
    """Write the plan's code and arm its sites; what the agent refuses moves to `plan.refused`.

    Raises:
        TargetProblem: the process cannot be reached any more.
        FramesRefused: a part of the plan is impossible; nothing is armed, the rest must be planned anew.
    """
    writes = [
        _write(target, at, code, used)
        for start, whole, used in plan.chunks
        for at, code in _pieces(start, whole)
    ]
    if plan.reads_memory and may_catch(target.pid, signal.SIGSEGV, signal.SIGBUS):
        writes.append(Request(Op.FAULTS, struct.pack("<I", 1)))
    if plan.frames:
        _must_succeed(target, writes)
        writes = []
        _register_frames(target, plan)
    sites = plan.sites
    writes += relink_requests(plan.relinks, plan.heads)
    writes += count_request(target, (at for _, at in plan.counters), 1)
    if sites:
        places = [s.place.address for s in sites] + [s.place.hole for s in sites]
        writes.append(_arm_request(target, [s.pack() for s in sites], places))
    replies = _must_succeed(target, writes)
    if sites:
        statuses = struct.unpack(f"<{len(sites)}i", replies[-1].payload)
        _note_refusals(plan, statuses)
        refused = {s.place.address for s, status in zip(sites, statuses, strict=True) if status}
        unused = [at for (_, at), used in plan.counters.items() if used <= refused]
        _must_succeed(target, count_request(target, unused, -1))


def may_catch(pid: int, *signals: int) -> bool:
    """Return whether a handler of ours may be installed: the program has none, no thread blocks the signals.

    A fault while its signal is blocked would end the process (signal(7)).
    """
    mask = sum(1 << number - 1 for number in signals)
    try:
        statuses = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return False
    for status in statuses:
        words = dict(line.split(":\t", 1) for line in status.splitlines() if line.startswith("Sig"))
        if any(int(words.get(name, "0"), 16) & mask for name in ("SigBlk", "SigCgt", "SigIgn")):
            return False
    return True


def _pieces(at: int, code: bytes) -> list[tuple[int, bytes]]:
    return [(at + i, code[i : i + WRITE_LIMIT]) for i in range(0, len(code), WRITE_LIMIT)]


def _write(target: Target, at: int, code: bytes, used: int) -> Request:
    kept = any(a.is_kept and a.base <= at < a.base + a.size for a in target.arenas)
    return Request(Op.WRITE, struct.pack("<QII", at, used, kept) + code)


def _must_succeed(target: Target, requests: list[Request]) -> list[Reply]:
    replies = target.channel.exchange(requests) if requests else []
    for reply in replies:
        if reply.status:
            raise AttachProblem(
                f"process {target.pid} cannot be patched (errno {-reply.status})",
                errno=-reply.status,
                hint="a policy may forbid changing code; bpftime doctor -p PID tells more",
            )
    return replies


def _register_frames(target: Target, plan: AttachPlan) -> None:
    """Tell the target's unwinder of thunks that call function bodies, before they can be reached.

    Raises:
        FramesRefused: it has an unwinder that cannot be told: an exception would end the program.
    """
    for address, links in plan.frames:
        try:
            target.register_frame(address)
        except TargetProblem as problem:
            raise FramesRefused(links, AttachProblem(str(problem), errno=11, hint=problem.hint)) from None


def _note_refusals(plan: AttachPlan, statuses: tuple[int, ...]) -> None:
    for site, status in zip(plan.sites, statuses, strict=True):
        if status:
            words = WORDS.get(-status, f"errno {-status}")
            plan.refused[site.link] = AttachProblem(f"{site.name}: {words}", errno=-status)


def _ranges(target: Target, addresses: list[int]) -> bytes:
    ranges = target.text_ranges([a for a in addresses if a])
    packed = [protocol.RANGE.pack(start=a, end=b, protection=p) for a, b, p in ranges]
    return struct.pack("<I", len(packed)) + b"\0\0\0\0" + b"".join(packed)


def _arm_request(target: Target, sites: list[bytes], addresses: list[int]) -> Request:
    head = bytearray(_ranges(target, addresses))
    struct.pack_into("<I", head, 4, len(sites))
    return Request(Op.APPLY, bytes(head) + b"".join(sites))


def remove(
    target: Target,
    session: bytes | None = None,
    links: frozenset[int] | None = None,
    *,
    wait: bool = True,
) -> int:
    """Take out the thunks of a session (None: of all sessions), or only those of some of its links.

    Returns the number of thunks taken out. Sites without a thunk get their own bytes back; a whole session's
    shared memory is unmapped as well, once no thread can be inside code that uses it. `wait`: give padding
    and arenas back too, which takes until every thread was seen elsewhere; else a later plan or visit does.

    Raises:
        TargetProblem: the process cannot be reached.
        AttachProblem: somebody else has changed the code of a site meanwhile.
    """
    if not find_state(target.pid):
        return 0  # it has become another program: nothing of ours is in it
    target.refresh()
    if links is None and target.is_sampled:
        target.ask([Request(Op.UNSAMPLE, session or b"")])
    edits = _edits(target, session, links)
    _remove(target, edits.emptied, edits.rearmed, edits.relinks, edits.heads)
    _must_succeed(target, count_request(target, edits.counters, -1))
    target.read_tables()
    if wait:
        _give_back(target, session if links is None else None)
    return edits.count


@dataclass
class _Edits:
    """What taking thunks out changes: sites without any left, sites with another first one, jumps, heads."""

    emptied: list[SiteEntry] = field(default_factory=list)
    rearmed: list[tuple[SiteEntry, Node]] = field(default_factory=list)
    relinks: list[tuple[int, int]] = field(default_factory=list)
    heads: list[tuple[int, int]] = field(default_factory=list)
    counters: list[int] = field(default_factory=list)
    count: int = 0


def _edits(target: Target, session: bytes | None, links: frozenset[int] | None) -> _Edits:
    edits = _Edits()
    owners: dict[bool, list[Owner]] = {True: [], False: []}  # by whether the thunk stays
    hooked: list[SiteEntry] = []
    for site in target.sites:
        if site.state != SiteState.ARMED:
            continue
        if target.module_of(site.at) is None:
            free(target, site)  # its library was unloaded
            continue
        nodes = chain(target, site)
        kept = [n for n in nodes if not _matches(n, session, links)]
        for node in nodes:
            owners[node in kept].append((node.session, node.link, node.semaphore))
        if len(kept) == len(nodes):
            continue
        edits.count += sum(n.link < HOOK_LINK for n in nodes if n not in kept)
        if is_hooked(site):
            hooked.append(site)
            continue
        if not kept:
            edits.emptied.append(site)
            continue
        if kept[0].thunk != site.thunk:
            edits.rearmed.append((site, kept[0]))
        _close_gaps(kept, edits.relinks, edits.heads)
    edits.counters = unowned(owners[False], owners[True])
    edits.emptied += _unhooked(target, hooked)
    return edits


def _unhooked(target: Target, taken: list[SiteEntry]) -> list[SiteEntry]:
    """Forget places that Frida has hooked; returns those whose code nobody else will put back."""
    indices = {site.index for site in taken}
    shared = {s.at for s in target.sites if is_hooked(s) and s.index not in indices}
    left: dict[int, SiteEntry] = {}
    for site in taken:
        if site.at in shared or site.at in left or is_back(target, site):
            free(target, site)
        else:
            restore_tail(target, site)
            left[site.at] = site
    return list(left.values())


def _give_back(target: Target, session: bytes | None) -> None:
    """Return padding, code memory, the fault handler and a whole session's memory, where nobody uses them."""
    if not settle(target):
        return
    if target.is_dispatched and all(s.state == SiteState.FREE for s in target.sites):
        dispatched.stop(target)
    if target.has_handlers and all(s.state == SiteState.FREE for s in target.sites):
        target.ask([Request(Op.FAULTS, struct.pack("<I", 0))])
    if session is not None and session in target.sessions:
        target.forget(session)


def _matches(node: Node, session: bytes | None, links: frozenset[int] | None) -> bool:
    return (session is None or node.session == session) and (links is None or node.link in links)


def _close_gaps(kept: list[Node], relinks: list[tuple[int, int]], heads: list[tuple[int, int]]) -> None:
    """Note the jumps to change so that each kept thunk goes on to the next kept one, the last to its site."""
    for index, node in enumerate(kept):
        following = kept[index + 1] if index + 1 < len(kept) else None
        if node.next == (following.thunk if following else 0):
            continue
        onward = following.entered.entered_from(node.level) if following else node.base
        relinks.append((node.jump, onward))
        heads.append((node.thunk, following.thunk if following else 0))


def relink_requests(relinks: list[tuple[int, int]], heads: list[tuple[int, int]]) -> list[Request]:
    """Return what changes last jumps of thunks (jump, where to) and notes it in heads (thunk, next one)."""
    requests: list[Request] = []
    if relinks:
        requests.append(Request(Op.RELINK, b"".join(struct.pack("<QQ", *r) for r in relinks)))
    for thunk, following in heads:
        place = thunk - protocol.THUNK.size + protocol.THUNK.fields["next"].offset
        requests.append(Request(Op.WRITE, struct.pack("<QIIQ", place, 0, 0, following)))
    return requests


def _remove(
    target: Target,
    emptied: list[SiteEntry],
    rearmed: list[tuple[SiteEntry, Node]],
    relinks: list[tuple[int, int]],
    heads: list[tuple[int, int]],
) -> None:
    requests = relink_requests(relinks, heads)
    if rearmed:
        requests.append(
            _arm_request(
                target,
                [_repack(s, n) for s, n in rearmed],
                [s.at for s, _ in rearmed] + [s.hole for s, _ in rearmed],
            )
        )
    if emptied:
        head = bytearray(_ranges(target, [s.at for s in emptied]))
        struct.pack_into("<I", head, 4, len(emptied))
        requests.append(
            Request(Op.REMOVE, bytes(head) + struct.pack(f"<{len(emptied)}I", *(s.index for s in emptied)))
        )
    if not requests:
        return
    replies = target.ask(requests)
    if emptied:
        _check_removed(target, emptied, struct.unpack(f"<{len(emptied)}i", replies[-1].payload))


def _check_removed(target: Target, emptied: list[SiteEntry], statuses: tuple[int, ...]) -> None:
    changed = []
    for site in (s for s, status in zip(emptied, statuses, strict=True) if status):
        if target.memory.read(site.at, site.width) == site.live[: site.width]:
            free(target, site)  # its library was loaded anew, without our jump
        else:
            changed.append(site)
    if changed:
        raise AttachProblem(
            f"{len(changed)} places in {target.pid} were changed by somebody else and stay as they are",
            errno=116,
            hint=f"the first is {changed[0].at:#x}",
        )


def _repack(site: SiteEntry, node: Node) -> bytes:
    """Return a site's entry with another thunk in front."""
    want = bytearray(site.want)
    if site.kind in (SiteKind.NEAR5, SiteKind.TAIL):
        struct.pack_into("<i", want, 1, node.thunk - (site.at + 5))
    return protocol.SITE.pack(
        at=site.at,
        hole=site.hole,
        kind=site.kind,
        width=site.width,
        live=site.live,
        want=bytes(want),
        index=site.index,
        thunk=node.thunk,
        link=node.link,
        flags=site.flags,
    )
