"""One trace from text to the last map: compile, arm, print until the end, undo.

Order of the end: unpatch the probes, run `end`, drain the ring, tell what was lost, print the maps. No probe
can fire between unpatching and `end`.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

from attachers.inject.dispositions import Old, handle, restore
from bpftime_cli.console import Console
from bpftime_cli.pipeline.arming import Arming
from bpftime_cli.pipeline.config import Config
from bpftime_cli.pipeline.debuginfo import ScriptDebug
from bpftime_cli.pipeline.headers import surroundings
from bpftime_cli.pipeline.kernels import Kernels, NoKernels, has_kernels, room_of
from bpftime_cli.pipeline.output import Output, open_output
from bpftime_cli.pipeline.pending import Pending
from bpftime_cli.pipeline.processes import Processes, Traced
from bpftime_cli.pipeline.programs import Programs
from bpftime_cli.pipeline.resolver import Names
from bpftime_cli.pipeline.samples import Samples
from bpftime_cli.pipeline.tracerfolder import TracerFolder
from bpftime_cli.pipeline.tracerside import TRACER_PROVIDERS, TracerProbes
from runtime.errors import Problem, TargetProblem, UsageProblem
from runtime.lang import Options, Script, ScriptProbe, compile_script
from runtime.shm.clock import SessionClock
from runtime.shm.session import Session
from runtime.unwind.directory import ROOM as UNWIND_ROOM
from runtime.verify import Verified

NAPS = (0.0005, 0.02)  # seconds: shortest and longest sleep between two looks at the ring
ENDING = ("begin", "end", "test", "bench")  # a script of such probes alone ends by itself
NOTIFY = "__BPFTRACE_NOTIFY_PROBES_ATTACHED"


class Trace:
    """One run of `bpftime trace`."""

    def __init__(self, config: Config, console: Console) -> None:
        self.config = config
        self.console = console
        self.names = Names()
        with suppress(OSError):
            Path("/proc/self/comm").write_text("bpftime")  # what `comm` is in probes that run in the tracer
        self._interrupts = 0
        self._stop_signal = 0
        self._print_now = False
        self._armed = False
        self._clock = time.monotonic()
        self.kernels: Kernels = NoKernels()

    def run(self) -> int:
        """Trace until the end; returns the exit status.

        Raises:
            Problem: the script is refused, or no target can be reached.
        """
        script, programs = self._prepare()
        if self.config.stages:
            from bpftime_cli.pipeline.stages import show  # lazy: only for -d

            self.console.talk(show(programs, self.config.stages, "rseq").encode())
        if self.config.emit_llvm:
            from bpftime_cli.pipeline.stages import write_modules  # lazy: LLVM

            write_modules(programs, self.config.emit_llvm, "rseq")
        if self.config.mode == "codegen" or (self.config.dry_run and not self.config.has_target):
            self._note("no target: nothing was placed")
            return 0
        self._check_target(script)
        if has_kernels(script) and self.config.pending is None and not self.config.command:
            self.config = replace(self.config, pending=True)  # drivers are opened when a kernel is wanted
        name = self.config.session or f"trace-{os.getpid()}"
        spare = UNWIND_ROOM if programs.walk_stacks else 0
        spare += room_of(script)
        session = Session.create(name, tuple(programs.maps.values()), spare=spare)
        self.console.out = open_output(self.config)
        self.output = Output(self.config, self.console, script, session, self.names)
        self.processes = Processes(self.config, self.console, session)
        self.samples = Samples(self.console, self.names, script, programs)
        self.output.on_unwatch = self.samples.unwatch
        self._join_kernels(script, programs, session)
        self.pending = Pending(self.config, self.console)
        self.clock = SessionClock(session.region)
        self.local = TracerProbes(script, programs, session, self.names)
        self.folder = TracerFolder.open("trace", session, console=self.console)
        try:
            with _Signals(self):
                return self._run(script, programs)
        finally:
            self.folder.remove()

    def _run_with(self, probe: ScriptProbe, context: bytes) -> None:
        self.local.run(probe, context)

    def _join_kernels(self, script: Script, programs: Programs, session: Session) -> None:
        if not has_kernels(script):
            return
        from bpftime_cli.pipeline.cuda import KernelProbes  # lazy: only here

        how = self.config.assembler, self.config.cuda_dump
        kernels = KernelProbes(self.console, self.names, script, programs, session, how, self._run_with)
        self.kernels = kernels
        self.processes.serve_cuda = kernels.serve
        self.output.more_records = kernels.payloads
        self.output.before_maps = kernels.collect

    def _note(self, text: str) -> None:
        now = time.monotonic()
        self.console.note(f"{text} ({(now - self._clock) * 1000:.1f} ms)", 1)
        self._clock = now

    def _prepare(self) -> tuple[Script, Programs]:
        """Return the script and its programs, compiled and verified now or by an earlier trace."""
        if self.config.view is None or self.config.stages:
            return self._made(self._compile(), None)
        from bpftime_cli.pipeline.kept import key_of, load, save  # lazy: only for the view

        key = key_of(self.config)
        found = load(key)
        script, programs = self._made(*found) if found else self._made(self._compile(), None)
        if not found:
            save(key, script, {p.name: programs.verified(p.name) for p in script.object.programs})
        return script, programs

    def _made(self, script: Script, verified: dict[str, Verified] | None) -> tuple[Script, Programs]:
        """Return a script with its programs; `verified`: those of an earlier trace, by name."""
        self._note(f"{'took' if verified else 'compiled'} {len(script.object.programs)} programs")
        self.names.demangles = script.config.flag("cpp_demangle")
        self.names.shows_lines = script.config.flag("show_debug_info")
        programs = Programs(script.object, verified)
        warnings = programs.verify_all()
        self.console.warn([*script.warnings, *warnings])
        self._note("verified")
        return script, programs

    def _compile(self) -> Script:
        from bpftime_cli.pipeline.stages import Trees  # lazy: it knows the compiler

        trees = Trees(self.config.stages)
        options = Options(
            params=self.config.params,
            environment=dict(os.environ),
            unsafe=self.config.unsafe,
            pid=bool(self.config.pids),
            checks=self.config.checks,
            child=bool(self.config.command),
            around=surroundings(self.config.headers, os.environ),
            debug=ScriptDebug(self.config.pids, self.config.command),
            observe=trees.note,
            inode=_inode,
        )
        try:
            return compile_script(self.config.program, self.config.file, options)
        finally:
            self.console.talk(trees.text.encode("utf-8", "surrogateescape"))

    def _check_target(self, script: Script) -> None:
        needing = next((p for p in script.probes if p.provider not in TRACER_PROVIDERS), None)
        if needing is not None and not self.config.has_target:
            raise UsageProblem(
                f"no target: this program has {needing.provider} probes",
                hint="add -p PID, or -- COMMAND to launch one",
            )

    def _run(self, script: Script, programs: Programs) -> int:
        try:
            self.folder.add(self.config.pids)
            self.processes.open()
            self.folder.add([t.target.pid for t in self.processes.traced])
            self.output.set_child(self.processes.child)
            self._note("opened the target")
            self._leave_if_told()
            self.clock.start()
            self.local.fire("begin")
            count = self.local.count + self._arm(script, programs)
            if self.config.dry_run:
                self._detach()
                return 0
            self._check_count(count)
            self._leave_if_told()
            self.processes.watch()
            self._announce(count)
            self._start()
            passed = self._run_mode()
            self._loop(only_begin=self._ends_by_itself(script) or self.config.mode != "trace")
            status = self._end() or int(not passed)
        except BrokenPipeError:
            # The reader of our pipe has left: the normal end, with nobody to print for.
            self._undo()
            self.output.abandon()
            return 0
        except (Problem, OSError, _Left) as end:
            self._undo()
            if isinstance(end, _Left):
                return end.status
            if self._interrupts and not self._armed:  # the same signal has ended the launched program
                return 128 + self._stop_signal
            raise
        self.pending.check()
        return status

    def _ends_by_itself(self, script: Script) -> bool:
        return all(p.provider in ENDING for p in script.probes) and not self.config.command

    def _run_mode(self) -> bool:
        """Run the `test:` or `bench:` probes if they are wanted; returns whether all is well."""
        if self.config.mode == "trace":
            return True
        from bpftime_cli.pipeline.probetests import RUNNERS  # lazy: only for --test and --bench

        self.output.drain(all_of_it=True)
        return RUNNERS[self.config.mode](self.local, self.output)

    def _arm(self, script: Script, programs: Programs) -> int:
        """Attach every probe in every process; returns how many were armed.

        Raises:
            Problem: a probe matches nothing, or nothing could be armed.
        """
        arming = Arming(
            self.config, self.console, self.names, script, programs, self.pending, self.samples, self.kernels
        )
        self.processes.arm = arming.arm
        count = 0
        for traced in self.processes.traced:
            count += self._arm_one(arming, traced)
            self._leave_if_told()
        self._note(f"armed {count} probes")
        return count

    def _check_count(self, count: int) -> None:
        """Refuse to wait for nothing.

        Raises:
            Problem: no probe was placed and none may come.
        """
        may_come = self.pending or (self.config.name and self.config.follows)
        if not count and not may_come and self.config.mode == "trace":
            raise Problem("No probes to attach")

    def _arm_one(self, arming: Arming, traced: Traced) -> int:
        """Attach in one process; one of several that ends meanwhile is told, and the others go on."""
        try:
            return arming.arm(traced)
        except TargetProblem as problem:
            if traced.target.is_alive or len(self.processes.traced) == 1:
                raise
            self.console.warn([problem])
            return 0

    def _announce(self, count: int) -> None:
        self._armed = True
        self.output.attached(count)
        if os.environ.get(NOTIFY):
            self.console.data(NOTIFY.encode() + b"\n")
            self.console.out.flush()
        if self.config.ready_fd >= 0:
            try:
                os.write(self.config.ready_fd, b"READY=1\n")
            except OSError as error:
                raise UsageProblem(f"--ready-fd {self.config.ready_fd}: {error.strerror}") from None

    # --- running ---

    def _start(self) -> None:
        """Let the launched program run, unless a `begin` probe has asked to exit: then it never does."""
        self.output.drain(all_of_it=True)
        if self.output.is_over:
            self.processes.cancel()
        else:
            self.processes.go()

    def _loop(self, *, only_begin: bool) -> None:
        """Print and sleep in turns until something ends the trace."""
        self.local.start_timers()
        start = time.monotonic()
        next_print = start + self.config.interval
        nap = NAPS[0]
        while not only_begin:
            busy = self.output.drain()
            if not self.output.is_over:
                self.local.fire_timers()
                self.output.drain()  # an exit() in a timer ends the trace before the timer's next turn
            now = time.monotonic()
            if self._print_now or (self.config.interval and now >= next_print):
                next_print = now + self.config.interval
                self._on_time()
            if self._is_over(now - start) or not self.processes.poll():
                return
            nap = NAPS[0] if busy else min(nap * 2, NAPS[1])
            self.processes.welcome()
            self.kernels.weave_ahead()
            self.samples.look()
            self.clock.correct()
            pause = min(nap, self.local.wait(), max(0.0, next_print - now) if self.config.interval else nap)
            self.processes.sleep(pause)

    def _on_time(self) -> None:
        """Print all maps, by -i or SIGUSR1, which first of all is what `self` probes wait for."""
        told, self._print_now = self._print_now, False
        if told and self.local.of("self"):
            self.local.fire("self")
            return
        self.output.print_maps()
        if self.config.clear:
            self.output.clear_maps()

    def _is_over(self, seconds: float) -> bool:
        return bool(
            self._interrupts
            or self.output.is_over
            or (self.config.duration and seconds >= self.config.duration)
        )

    # --- the end ---

    def _end(self) -> int:
        self.output.release()
        self.processes.poll()
        self._detach()
        self.output.drain(all_of_it=True)
        self.local.fire("end")
        self.processes.stop_child()
        self.output.drain(all_of_it=True)
        self._leave_if_told()
        self.kernels.report()
        self.output.report_lost()
        if self.config.view is not None:
            self.output.report_view(self.processes.child_status)
        elif self.output.script.config.flag("print_maps_on_exit"):
            self.output.print_maps()
        self.output.close()
        self.processes.close()
        return self._status()

    def _status(self) -> int:
        if self.output.exit_code:
            return self.output.exit_code
        if "lost" in self.config.fail_on and self.output.lost:
            return 4
        if "empty" in self.config.fail_on and not self.output.printed:
            return 4
        status = self.processes.child_status
        if self.config.exit_code and status is not None:
            return 128 - status if status < 0 else status
        return 0

    def _detach(self) -> None:
        """Take all probes out."""
        self.samples.close()
        self.kernels.detach()
        self.processes.detach()

    def _undo(self) -> None:
        self.processes.cancel()
        self._detach()
        self.processes.stop_child()
        self.processes.close()

    # --- signals ---

    def on_signal(self, number: int) -> None:
        """Note a signal: the first ends the trace, the second leaves at once.

        Nothing is done here: a signal may come in the middle of a visit to a process.
        """
        if number == signal.SIGUSR1:
            self._print_now = True
            return
        self._interrupts += 1
        self._stop_signal = number
        if self._interrupts > 1:
            self.output.stop()

    def _leave_if_told(self) -> None:
        """End without output where a signal came before all probes were armed, or a second one at any time.

        Raises:
            _Left: with the status.
        """
        if self._interrupts > int(self._armed):
            raise _Left(128 + self._stop_signal)


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except (OSError, ValueError):
        return 0


class _Left(Exception):
    """A signal told us to leave without the normal end; `status` is ours."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Signals:
    """Our signal handlers for the time of a trace."""

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._old: Old = {}

    def __enter__(self) -> None:
        self._old = handle(self.NUMBERS, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._trace.on_signal(number)

    def __exit__(self, *_: object) -> None:
        restore(self._old)
