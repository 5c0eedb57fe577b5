"""A compiled script: the object with its programs and maps, and all that turns their output into events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runtime.ebpf.object import Object
from runtime.errors import Problem, Span
from runtime.events import Action, Event, Resolver
from runtime.lang import tree
from runtime.lang.c.definitions import Surroundings
from runtime.lang.config import Config
from runtime.lang.debug import Debug
from runtime.lang.decode import Decoder, decode_record
from runtime.lang.lines import decode_all
from runtime.lang.mapdecoder import MapDecoder
from runtime.lang.sampling import Counted
from runtime.types import Run


@dataclass(frozen=True, slots=True)
class Options:
    """What a script's text alone does not say.

    `checks`: reads and look-ups that fail are told (-k). `child`: a program is launched, so `cpid` is known.
    `inode`: gives the inode of a folder, 0 where there is none.
    `params`: positional parameters, and named ones as `--name=value`. `environment`: where configuration
    variables are looked up. `pid`: a target process is given, so probes may leave out the binary.
    `around`: what C definitions find around the script. `observe` is called with the trees of a stage: parse,
    ast (expanded and folded), types. `debug`: what probes' programs say of themselves. `anything`: in the
    name of a probe, a parameter that is not given is a wildcard.
    """

    params: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    unsafe: bool = False
    pid: bool = False
    checks: bool = False
    child: bool = False
    around: Surroundings = field(default_factory=Surroundings)
    observe: Callable[[str, Sequence[tree.Node]], None] = lambda _stage, _nodes: None
    anything: bool = False
    inode: Callable[[str], int] = lambda _path: 0
    debug: Debug | None = None


@dataclass(frozen=True, slots=True)
class ScriptProbe:
    """One attach point of a script.

    `program` names one of the object's programs; several probes may share it. `provider` is the full name,
    `parts` what follows it (`("libc.so.6", "malloc")`), unquoted. `uses_cookie`: the program asks for the
    attach cookie, which must be the probe's index in the tracer's table of names. `period` in ns (interval).
    """

    program: str
    provider: str
    parts: tuple[str, ...]
    span: Span
    text: str
    uses_cookie: bool = False
    name: str = ""
    period: int = 0
    event: Counted | None = None


@dataclass(frozen=True, slots=True)
class Failing:
    """A place of a script that may fail at run time; `runtime.lang.complaints` counts its failures."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Script:
    """One compiled script.

    `addresses`: what its programs ask the place of, each a binary and the name of its data. `probe_names`:
    texts that they compare names of probes with (`runtime.lang.probenames`).
    """

    object: Object
    probes: tuple[ScriptProbe, ...]
    maps: Mapping[str, MapDecoder]
    events: tuple[Decoder, ...]
    warnings: tuple[Problem, ...]
    config: Config
    failures: tuple[Failing, ...] = ()
    addresses: tuple[tuple[str, str], ...] = ()
    probe_names: tuple[str, ...] = ()

    def decode_record(self, payload: bytes, resolver: Resolver) -> Event | Action:
        """Decode one record of the ring `.events`.

        Raises:
            Problem: it is no record of this script.
        """
        return decode_record(self.events, payload, resolver)

    def decode(
        self, items: Iterable[bytes | Run], resolver: Resolver, *, joined: bool
    ) -> Iterator[tuple[Event | Action, int]]:
        """Decode records in order: payloads, and runs of records that look alike.

        Gives events with the number of records in each. `joined`: lines of text that follow one another may
        be one event.

        Raises:
            Problem: one is no record of this script.
        """
        return decode_all(self.events, items, resolver, joined=joined)
