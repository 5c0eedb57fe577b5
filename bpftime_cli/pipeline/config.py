"""What the user asked for, checked and frozen; everything below takes it and no command-line values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpftime_cli.pipeline.headers import Headers

if TYPE_CHECKING:
    from bpftime_cli.callview.view import View


@dataclass(frozen=True, slots=True)
class Config:
    """One trace. `mode`: trace, test, bench or format. Times in seconds.

    `view`: of system calls, instead of a program of the user. `to_stderr`: data goes there, as strace's does.
    `ways`: how system calls without room for a jump are probed.
    `command` is the argv to launch, empty for none. `assembler`: of woven kernels; `cuda_dump`: a folder
    where their images are kept.
    """

    program: str = ""
    file: str = "stdin"
    params: tuple[str, ...] = ()
    probe_filter: str = ""
    pids: tuple[int, ...] = ()
    name: str = ""
    command: tuple[str, ...] = ()
    output: str = ""
    format: str = "text"
    buffering: str = "line"
    quiet: bool = False
    warnings: bool = True
    checks: bool = False
    verbose: int = 0
    stages: tuple[str, ...] = ()
    mode: str = "trace"
    view: View | None = None
    to_stderr: bool = False
    emit_llvm: str = ""
    dry_run: bool = False
    unsafe: bool = False
    inject: str = "ptrace"
    backend: str = "auto"
    return_swap: bool = False
    ways: str = "jump"
    follow: bool | None = None
    pending: bool | None = None
    wait_dlopen: int = 100
    duration: float = 0.0
    max_events: int = 0
    interval: float = 0.0
    clear: bool = False
    exit_code: bool = False
    fail_on: frozenset[str] = frozenset()
    ready_fd: int = -1
    ring_bytes: int = 64 << 20
    session: str = ""
    assembler: str = "auto"
    cuda_dump: str = ""
    colour: str = "auto"
    headers: Headers = field(default_factory=Headers)

    @property
    def follows(self) -> bool:
        """Return whether children and exec are followed: if nothing else is said, those of a launch."""
        return bool(self.command) if self.follow is None else self.follow

    @property
    def waits_for_libraries(self) -> bool:
        """Return whether a library that is not loaded may come later."""
        return bool(self.command) if self.pending is None else self.pending

    @property
    def has_target(self) -> bool:
        """Return whether a process was named or is to be launched."""
        return bool(self.pids or self.command or self.name)
