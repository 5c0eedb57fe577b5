"""Attach type 2: programs at system calls of one process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import ClassVar

from attachers.base import SYSCALL, PrivateData
from attachers.patch.apply import apply
from attachers.patch.plan import AttachPlan
from attachers.patch.thunk import OVERRIDE_FLAG
from attachers.patched import PatchedAttacher
from attachers.syscalls.data import SyscallData
from attachers.syscalls.planner import CallPlanner
from attachers.syscalls.probes import NO_RETURN, CallHook, CallProbe, places
from attachers.syscalls.standing import carry_out
from runtime.errors import AttachProblem
from runtime.jit.image import Image
from runtime.types import ContextKind

BEFORE = (ContextKind.SYS_ENTER, ContextKind.RAW_SYS_ENTER, ContextKind.KSYSCALL)
AFTER = (ContextKind.SYS_EXIT, ContextKind.RAW_SYS_EXIT, ContextKind.KSYSCALL)


class CallAttacher(PatchedAttacher):
    """System calls of one process."""

    types: ClassVar[tuple[int, ...]] = (SYSCALL,)

    def resolve(self, image: Image, data: SyscallData, cookie: int = 0) -> list[CallProbe]:
        """Return the places of the process where these calls are made.

        Raises:
            AttachProblem: the program is not for them (22), or the process makes none of them (2).
        """
        check_program(image, data)
        hook = CallHook(image, data.numbers, data.leaves, cookie)
        found = places(self.target, self.session.region.id, [hook])
        if not found:
            raise AttachProblem(f"nothing in {self.target.pid} makes the system call {data.name}", errno=2)
        return found

    def plan(self, probes: Iterable[CallProbe]) -> AttachPlan:
        """Return what would be written for these places; nothing is changed."""
        return CallPlanner(self.target, self.session).plan(probes)

    def apply(self, plan: AttachPlan) -> None:
        """Carry a plan out; what turns out to be impossible moves to `plan.refused`."""
        self.target.map_session(self.session)
        carry_out(self.target, plan, partial(apply, self.target))
        self._links |= set(plan.sites_of)

    def create_attach(self, program: object, private_data: PrivateData, attach_type: int) -> int:
        """Hook an image on and return the id of the link.

        Raises:
            AttachProblem: the private data is no system call's (22), another type (95), or there is no place.
        """
        if attach_type != SYSCALL:
            raise AttachProblem(f"attach type {attach_type} is no system call", errno=95)
        if not isinstance(program, Image) or not isinstance(private_data, SyscallData):
            raise AttachProblem("a system call takes an image and the call's name", errno=22)
        self.target.refresh()  # the sites of links made since
        link = self.allocate_id()
        plan = self.plan(replace(p, link=link) for p in self.resolve(program, private_data))
        if link not in plan.sites_of:
            raise plan.refused[link]
        self.apply(plan)
        return link


def check_program(image: Image, data: SyscallData) -> None:
    """Make sure that a program is for what happens there.

    Raises:
        AttachProblem: it is for another context (22), or would change what never comes (22).
    """
    if image.context not in (AFTER if data.leaves else BEFORE):
        side = "end" if data.leaves else "beginning"
        raise AttachProblem(
            f"program '{image.name}' ({image.context.value}) is not for the {side} of a system call", errno=22
        )
    numbers = data.numbers
    if data.leaves and numbers is not None and numbers <= NO_RETURN:
        if OVERRIDE_FLAG in image.words:
            raise AttachProblem(f"{data.name} has no result that could be set", errno=22)
        raise AttachProblem(
            f"{data.name} never returns", errno=95, hint=f"attach to its beginning: enter:{data.name}"
        )
