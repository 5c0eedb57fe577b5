"""The folder of a session: who made it, which objects were loaded, which processes are probed.

`$XDG_RUNTIME_DIR/bpftime/NAME/`, else `/dev/shm/bpftime-UID/NAME/`, mode 0700. `meta.json` says the rest; it
is written beside and renamed, by one command at a time (a lock on the folder). A folder that is not ours,
that others may enter or that is a link is refused: what lies in it decides which code goes into processes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from runtime.agent import protocol
from runtime.errors import Problem, UsageProblem
from runtime.shm.region import Region, process_start

VERSION = 1
META = "meta.json"
REGION = "region"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
PATIENCE = 10.0  # seconds to wait for another command that holds the folder
UNFINISHED = 60.0  # seconds after which a folder without a description was left by a command that died
O_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """A process that may be probed; `start` tells it from a later one with the same number."""

    pid: int
    start: int

    @property
    def is_alive(self) -> bool:
        """Return whether this very process still runs."""
        return self.start != 0 and process_start(self.pid) == self.start


@dataclass(frozen=True, slots=True)
class KeptMap:
    """A map of an object: its handler's id, its place in the region, and shapes that verification chose."""

    id: int
    offset: int
    added_only: bool = False
    thread_keyed: bool = False


@dataclass(frozen=True, slots=True)
class KeptObject:
    """A loaded object: `sha256` names the file in `objects/`, `file` what the user called it.

    `values`: globals set before it was loaded. `programs`: handler ids by name; `sections`: where they are.
    """

    sha256: str
    file: str
    maps: dict[str, KeptMap] = field(default_factory=dict)
    programs: dict[str, int] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Meta:
    """What `meta.json` holds. `id`: the session's 16 bytes in hex. `region`: a path, while it can be opened.

    `detached`: the session outlives the command that made it.
    """

    id: str
    tracer: ProcessMark
    argv: tuple[str, ...]
    region: str
    detached: bool
    targets: tuple[ProcessMark, ...] = ()
    objects: tuple[KeptObject, ...] = ()

    def to_json(self) -> str:
        """Return the text of the file."""
        return json.dumps({"version": VERSION, "abi": protocol.ABI, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Meta:
        """Return what a file says; raises KeyError, TypeError or ValueError where it is not ours."""
        if data["version"] != VERSION or len(bytes.fromhex(data["id"])) != 16:
            raise ValueError
        objects = tuple(
            KeptObject(
                o["sha256"],
                o["file"],
                {n: KeptMap(**m) for n, m in o["maps"].items()},
                dict(o["programs"]),
                dict(o["sections"]),
                dict(o["values"]),
            )
            for o in data["objects"]
        )
        return cls(
            str(data["id"]),
            ProcessMark(**data["tracer"]),
            tuple(data["argv"]),
            str(data["region"]),
            bool(data["detached"]),
            tuple(ProcessMark(**t) for t in data["targets"]),
            objects,
        )


def base_folder() -> Path:
    """Return the folder of this user's sessions; it need not exist."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and os.path.isdir(runtime):  # noqa: PTH112 # no Path for a yes or no
        return Path(runtime) / "bpftime"
    return Path(f"/dev/shm/bpftime-{os.geteuid()}")


def check_private(path: Path) -> None:
    """Refuse a folder that is a link, another user's, or open to others.

    Raises:
        Problem: it is one of these.
    """
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise Problem(f"{path} is not a folder", hint="remove it, or set XDG_RUNTIME_DIR")
    if found.st_uid != os.geteuid():
        raise Problem(
            f"{path} belongs to another user (uid {found.st_uid})",
            hint="run as that user, or set XDG_RUNTIME_DIR to a folder of your own",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise Problem(
            f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):o})", hint=f"chmod 700 {path}"
        )


def check_name(name: str) -> str:
    """Return a session's name.

    Raises:
        UsageProblem: it would not do as the name of a folder.
    """
    if not NAME.fullmatch(name) or name.isdigit():
        raise UsageProblem(
            f"not a name for a session: '{name}'",
            hint="letters, digits, '-', '_' and '.', at most 63, not only digits",
        )
    return name


class SessionFolder:
    """One session's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """Return the session's name."""
        return self.path.name

    # --- making and finding ---

    @classmethod
    def create(cls, name: str) -> SessionFolder:
        """Make a new folder.

        Raises:
            Problem: there is one of that name, or none can be made.
        """
        base = base_folder()
        path = base / check_name(name)
        try:
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_private(base)
            path.mkdir(mode=0o700)
        except FileExistsError:
            raise Problem(f"session '{name}' exists", hint="choose another --session NAME") from None
        except OSError as error:
            raise Problem(
                f"cannot make the session's folder {path}: {error.strerror}",
                hint="set XDG_RUNTIME_DIR to a folder of your own",
            ) from None
        return cls(path)

    @classmethod
    def find(cls, name: str) -> SessionFolder | None:
        """Return the folder of a session, None where there is none.

        Raises:
            Problem: it is another user's.
        """
        path = base_folder() / check_name(name)
        if not os.path.lexists(path):
            return None
        check_private(path.parent)
        check_private(path)
        return cls(path) if (path / META).is_file() else None

    @classmethod
    def all(cls) -> list[SessionFolder]:
        """Return all sessions of this user, by name; what another user could have put there is left out."""
        base = base_folder()
        if not base.is_dir():
            return []
        check_private(base)
        found = []
        for path in sorted(base.iterdir()):
            try:
                check_private(path)
            except (Problem, OSError):
                continue
            if (path / META).is_file():
                found.append(cls(path))
            else:
                _remove_unfinished(path)
        return found

    # --- the description ---

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder: one command at a time changes a session.

        Raises:
            Problem: another command holds it for long, or the session is gone.
        """
        try:
            fd = os.open(self.path, O_READ | os.O_DIRECTORY)
        except OSError:
            raise gone(self.name) from None
        try:
            _lock(fd, self.name)
            yield
        finally:
            os.close(fd)

    def read(self) -> Meta:
        """Return the description.

        Raises:
            Problem: the session is gone, or the file is not ours.
        """
        try:
            with open(os.open(self.path / META, O_READ), "rb") as file:  # follows no link
                return Meta.from_json(json.loads(file.read(64 << 20)))
        except FileNotFoundError:
            raise gone(self.name) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise Problem(
                f"session '{self.name}' cannot be read: {self.path / META} is not what this version writes",
                hint=f"remove it: rm -r {self.path}",
            ) from None

    def write(self, meta: Meta) -> None:
        """Replace the description."""
        scratch = self.path / f".{META}.{os.getpid()}"
        scratch.unlink(missing_ok=True)
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(meta.to_json())
        scratch.rename(self.path / META)

    def add_targets(self, marks: list[ProcessMark]) -> None:
        """Note processes that are going to be probed: before they are, so that nothing is forgotten."""
        with self.locked():
            meta = self.read()
            known = [t for t in meta.targets if t.is_alive]
            self.write(replace(meta, targets=tuple(dict.fromkeys([*known, *marks]))))

    # --- contents ---

    def keep_object(self, data: bytes) -> str:
        """Keep an object file; returns its sha256 in hex."""
        digest = hashlib.sha256(data).hexdigest()
        place = self.path / "objects"
        place.mkdir(mode=0o700, exist_ok=True)
        if not (place / digest).is_file():
            scratch = place / f".{digest}.{os.getpid()}"
            with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(data)
            scratch.rename(place / digest)
        return digest

    def kept_object(self, digest: str) -> bytes:
        """Return a kept object file.

        Raises:
            Problem: it is gone or was changed.
        """
        try:
            with open(os.open(self.path / "objects" / digest, O_READ), "rb") as file:
                data = file.read()
        except OSError as error:
            raise Problem(
                f"session '{self.name}' has lost an object: {error.strerror}", hint="load it again"
            ) from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise Problem(f"an object of session '{self.name}' was changed", hint="load it again")
        return data

    def open_region(self, meta: Meta) -> Region:
        """Map the session's region.

        Raises:
            Problem: it cannot be opened any more, or it is another session's.
        """
        try:
            region = Region.open(Path(meta.region))
        except PermissionError:
            raise Problem(
                f"not allowed to open session '{self.name}'", hint="run as the user who made it"
            ) from None
        except OSError as error:
            raise Problem(
                f"session '{self.name}' has no region any more: {error.strerror}",
                hint="bpftime list cleans up what ended tracers left",
            ) from None
        if region.id.hex() != meta.id:
            region.close()
            raise Problem(f"session '{self.name}' has ended", hint="bpftime list cleans up what it left")
        return region

    @contextmanager
    def consuming(self, ring: str) -> Iterator[None]:
        """Be the one consumer of the session's rings.

        Raises:
            Problem: somebody else is.
        """
        fd = os.open(self.path / "consumer", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise Problem(
                f"another command is reading ring '{ring}' of session '{self.name}'",
                hint="a ring has one reader; end the other one first",
            ) from None
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def describe(region: Region, path: str, *, detached: bool) -> Meta:
    """Return the description of a new session made by this process."""
    return Meta(
        region.id.hex(), ProcessMark(os.getpid(), process_start(os.getpid())), tuple(sys.argv), path, detached
    )


def gone(name: str) -> Problem:
    """Return the error for a session that is not there."""
    return Problem(f"no session '{name}'", hint="bpftime list shows the sessions")


def _lock(fd: int, name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Problem(f"another command is changing session '{name}'", hint="try again") from None
            time.sleep(0.01)
        else:
            return


def _remove_unfinished(path: Path) -> None:
    try:
        if time.time() - path.stat().st_mtime > UNFINISHED:
            shutil.rmtree(path, ignore_errors=True)
    except OSError:
        return
