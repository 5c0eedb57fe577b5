"""Probes of system calls: which calls, before or after them, and at which places of a process."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from attachers.patch.plan import Probe, When
from attachers.syscalls.sites import CallSite, call_sites
from attachers.syscalls.trail import NEVER_RETURN, Trail
from attachers.target import Target
from runtime.jit.image import Image
from runtime.symbols.modules import Module

# Functions of the agent that are probed: see runtime/agent/desk.c and dispatch.c
OURS = ("exec_call", "dispatched_call")
NO_RETURN = NEVER_RETURN | {15}  # rt_sigreturn: it goes on where the signal came


@dataclass(frozen=True, slots=True)
class CallProbe(Probe):
    """One program at one place that makes system calls.

    `numbers`: which calls (None: all). `leaves`: after the call, else before. `cookie_step`: the cookie of a
    call is `cookie` plus its number.
    """

    site: CallSite | None = None
    numbers: frozenset[int] | None = None
    leaves: bool = False
    cookie_step: bool = False

    @property
    def trail(self) -> Trail:
        """Return what surrounds the call."""
        assert self.site is not None
        return self.site.trail

    @property
    def tests(self) -> frozenset[int] | None:
        """Return the numbers that its thunk has to compare with, None where it need not."""
        return self.numbers if self.trail.number < 0 else None


@dataclass(frozen=True, slots=True)
class CallHook:
    """What to run at which calls. The fields are those of `CallProbe`."""

    image: Image
    numbers: frozenset[int] | None
    leaves: bool
    cookie: int = 0
    cookie_step: bool = False


def places(
    target: Target, session: bytes, hooks: Sequence[CallHook], seen: Collection[int] = ()
) -> list[CallProbe]:
    """Return the places of a process where these calls are made; `seen`: starts of modules to leave out.

    Places where the number is not known serve all calls: the thunk looks at it. At each place the probes are
    in the order of their hooks.
    """
    found: list[CallProbe] = []
    if not seen:
        found += _in_module(target.agent_module, session, hooks, is_ours=True)
    agent = target.constant("agent_base")
    for module in target.modules:
        if module.start not in seen and not module.start <= agent < module.end:
            found += _in_module(module, session, hooks)
    return found


def _in_module(
    module: Module, session: bytes, hooks: Sequence[CallHook], *, is_ours: bool = False
) -> Iterator[CallProbe]:
    """Yield the probes of one module; of the agent only where it calls in the program's stead."""
    for site in call_sites(module.elf):
        if is_ours and not site.name.startswith(OURS):
            continue
        returns = is_ours or site.trail.number not in NO_RETURN
        wanted = [hook for hook in hooks if site.serves(hook.numbers) and (returns or not hook.leaves)]
        moved = site.at(module.bias) if wanted else site
        yield from (_probe(module, moved, hook, session) for hook in wanted)


def _probe(module: Module, site: CallSite, hook: CallHook, session: bytes) -> CallProbe:
    return CallProbe(
        site.name or f"the call at {site.trail.address - module.bias:#x} of {module.path}",
        module,
        site.start,
        site.end - site.start,
        site.trail.address,
        When.INSIDE,
        hook.image,
        hook.cookie,
        0,
        session,
        site=site,
        numbers=hook.numbers,
        leaves=hook.leaves,
        cookie_step=hook.cookie_step,
    )
