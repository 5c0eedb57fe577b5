"""Helper calls: inlined where that is cheap, else a call into the agent with exactly its arguments.

`HELPERS` maps a helper id to what emits it. A row of `DIRECT` names a function of the agent and its
arguments: digits are the call's own arguments, `R` the region, `M` the header of the map, `G` its ring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.errors import Unsupported
from runtime.helpers.table import name_of
from runtime.jit.site import CallSite
from runtime.jit.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.maps.spec import MapSpec


class Site(CallSite[Unit]):
    """One call that is being lifted for the target's processor."""

    __slots__ = ()

    @property
    def spec(self) -> MapSpec | None:
        """The map of the call, None when several are possible."""
        return self.unit.maps.get(self.call.map)

    def known(self) -> MapSpec:
        """Give the map of the call.

        Raises:
            Unsupported: it is not the same map on all paths.
        """
        if self.spec is None:
            raise Unsupported(
                f"insn {self.index}: bpf_{name_of(self.call.helper)} with different maps on different paths"
            )
        return self.spec

    def invoke(self, name: str, arguments: list[str]) -> str:
        """Call a function of the agent."""
        return self.unit.call(self.code, name, arguments)


DIRECT: dict[int, tuple[str, str]] = {
    **dict.fromkeys((4, 112, 113, 148, 191), ("probe_read", "123")),
    **dict.fromkeys((45, 114, 115), ("probe_read_str", "123")),
    **dict.fromkeys((35, 158), ("current_task", "")),
    7: ("random_u32", ""),
    15: ("uid_gid", ""),
    16: ("comm", "12"),
    25: ("perf_output", "GR345"),
    28: ("csum_diff", "12345"),
    36: ("probe_write", "123"),
    42: ("numa_node", ""),
    80: ("cgroup_id", ""),
    93: ("spin_lock", "1"),
    94: ("spin_unlock", "1"),
    105: ("string_to_signed", "1234"),
    106: ("string_to_unsigned", "1234"),
    109: ("send_signal", "1"),
    117: ("send_signal_thread", "1"),
    120: ("ns_pid_tgid", "1234"),
    130: ("ring_output", "GR234"),
    131: ("ring_reserve", "GR2"),
    134: ("ring_query", "G2"),
    165: ("snprintf_text", "12345"),
    182: ("string_n_compare", "123"),
    195: ("map_lookup_cpu", "M23"),
    1004: ("path_join", "1234"),
    100003: ("zero", "12"),
    100004: ("copy", "123"),
    100005: ("string_compare", "1234"),
    100006: ("cells_sum", "M2"),
    100010: ("map_iterate", "M23"),
    100020: ("string_length", "12"),
    100021: ("string_find", "1234"),
    100022: ("string_append", "1234"),
    100023: ("memory_compare", "123"),
    100024: ("string_glob", "1234"),
    100025: ("parent_pid", ""),
    100026: ("comm_of", "123"),
    100028: ("map_length", "M"),
    100031: ("complain", "GR234"),
    100029: ("series_update", "12345"),
}


def _direct(site: Site) -> str:
    name, letters = DIRECT[site.call.helper]
    return site.invoke(name, [_argument(site, letter) for letter in letters])


def _custom(site: Site) -> str:
    """Call a registered helper, a C function: it may change what the calling convention lets it."""
    number = site.call.helper
    arguments = [site.arg(n) for n in range(1, site.unit.verified.custom[number] + 1)]
    return site.unit.call_c(site.code, f"helper:{number}", arguments)


def _argument(site: Site, letter: str) -> str:
    if letter == "R":
        return site.unit.address("region")
    if letter == "G":
        return site.unit.address(f"ring:{site.known().name}")
    if letter == "M":
        number = 1 if site.call.helper != 27 else 2
        return site.unit.address(f"head:{site.spec.name}") if site.spec else site.code.get(number)
    return site.arg(int(letter))


def lift(site: Site) -> None:
    """Lift one helper call: r0 becomes its result.

    Raises:
        Unsupported: no code exists for this helper.
    """
    from runtime.jit import calls_inline, calls_maps  # lazy: they use this module's Site

    number = site.call.helper
    emit: Callable[[Site], str] | None = calls_maps.MAPS.get(number) or calls_inline.INLINE.get(number)
    if emit is None and number in DIRECT:
        emit = _direct
    if emit is None and number in site.unit.verified.custom:
        emit = _custom
    if emit is None:
        raise Unsupported(f"insn {site.index}: helper bpf_{name_of(number)} ({number}) is not served here")
    result = emit(site)
    for register in range(1, 6):
        site.code.forget(register)
    site.code.set(0, result)
