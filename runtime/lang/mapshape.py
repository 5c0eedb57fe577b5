"""The memory form of a script's map, which generator and decoder must agree on.

Keyed maps are hashes: key and value in their stored size. A map without a key is an array of one value;
where the value itself cannot tell whether it was ever set, a word behind it does.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.lang.config import Config
from runtime.lang.layout import stored_size
from runtime.lang.types import NONE, Aggregate, Type, settled
from runtime.lang.variables import MapFacts
from runtime.maps.spec import MapKind, MapSpec

SELF_TELLING = frozenset(["count", "min", "max", "avg", "stats", "hist", "lhist", "tseries"])
LRU_HASH = 9
MOST_BYTES = 16 << 30  # of all values; what is never touched takes no memory


@dataclass(frozen=True, slots=True)
class MapShape:
    """One map: types and sizes in bytes. `set_at`: offset of the word that says "is set", -1 none."""

    name: str
    scalar: bool
    key: Type
    value: Type
    entries: int
    kind: int

    @property
    def key_size(self) -> int:
        """Bytes of a key."""
        return 4 if self.scalar else stored_size(self.key)

    @property
    def set_at(self) -> int:
        """Offset of the word behind the value that is 1 once it is set; -1 where there is none."""
        if not self.scalar or (isinstance(self.value, Aggregate) and self.value.name in SELF_TELLING):
            return -1
        return stored_size(self.value)

    @property
    def value_size(self) -> int:
        """Bytes of a value, with the word that says whether it is set."""
        return stored_size(self.value) + (8 if self.set_at >= 0 else 0)

    @property
    def may_be_full(self) -> bool:
        """Whether a new key may find no room; kinds that evict make room."""
        return not self.scalar and self.kind != LRU_HASH

    def spec(self) -> MapSpec:
        """The map as objects describe it."""
        cells = isinstance(self.value, Aggregate) and self.value.added_only
        return MapSpec(self.name, self.kind, self.key_size, self.value_size, self.entries, added_only=cells)


def shape_of(facts: MapFacts, config: Config) -> MapShape:
    """Decide the form of a map whose types are known."""
    scalar = facts.scalar is not False
    entries = 1 if scalar else facts.entries or config.number("max_map_keys")
    entries = max(1, min(entries, MOST_BYTES // max(1, facts.value.size)))
    kind = (
        MapKind.ARRAY if scalar else LRU_HASH if facts.kind in ("lruhash", "percpulruhash") else MapKind.HASH
    )
    key = NONE if scalar else settled(facts.key)
    return MapShape(facts.name, scalar, key, settled(facts.value), entries, kind)
