"""What libbpf's `usdt.bpf.h` expects of whoever loads it: a table of argument places, one row a kind of site.

A program reads its row by the attach cookie and fetches the arguments itself, from its `pt_regs` and from
memory. Source: libbpf's `usdt.bpf.h` and `usdt.c`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from attachers.patch.plan import Probe
from runtime.btf.types import Btf, Kind, Type
from runtime.ebpf.context import REGISTERS
from runtime.errors import AttachProblem
from runtime.maps.reader import MapView
from runtime.symbols.notes import Marker
from runtime.symbols.operands import MOST, Operand, operands_of

SPECS = "__bpf_usdt_specs"
CONSTANT, REGISTER, MEMORY, INDEXED, UNREADABLE = 0, 1, 2, 3, 255
_OFFSETS = {name: 8 * i for i, name in enumerate(REGISTERS)}
Fields = dict[str, int]  # what one argument's structure holds, by the names of its members


def with_specs(probes: list[Probe], view: MapView | None, btf: Btf | None, cookie: int) -> list[Probe]:
    """Return the probes with the cookies by which their programs find their arguments.

    `view`: the object's table, None for an object without: its programs get the user's cookie. `btf`: its
    types, for where each member lies: newer headers know more.

    Raises:
        AttachProblem: the table is full, or of an unknown shape.
    """
    if view is None:
        return [replace(p, cookie=cookie) for p in probes]
    shape = _Shape.of(btf)
    return [replace(p, cookie=_row_of(view, shape.row(p, cookie))) for p in probes]


def _row_of(view: MapView, row: bytes) -> int:
    """Return the index of a row in the table: one that is there, else a free one that it is put into.

    Raises:
        AttachProblem: all rows are in use by other kinds of sites.
    """
    padded = row.ljust(view.spec.value_size, b"\0")
    for index in range(view.spec.max_entries):
        key = index.to_bytes(4, "little")
        known = view.get(key) or b""
        if known == padded:
            return index
        if not any(known):
            view.set(key, padded)
            return index
    raise AttachProblem(
        f"the object has room for {view.spec.max_entries} kinds of sites",
        errno=28,
        hint="define BPF_USDT_MAX_SPEC_CNT before including usdt.bpf.h",
    )


@dataclass(frozen=True, slots=True)
class _Shape:
    """The structures of the object's own header: a row and one argument in it, members with their bits."""

    row_members: dict[str, tuple[int, int]]
    members: dict[str, tuple[int, int]]
    size: int
    argument_size: int

    @classmethod
    def of(cls, btf: Btf | None) -> _Shape:
        """Read them from the object's types.

        Raises:
            AttachProblem: they are not among them.
        """
        rows = btf.find("__bpf_usdt_spec", Kind.STRUCT) if btf else None
        one = btf.find("__bpf_usdt_arg_spec", Kind.STRUCT) if btf else None
        if btf is None or rows is None or one is None:
            raise AttachProblem(
                f"the object has map {SPECS}, but not its types", errno=95, hint="compile it with -g"
            )
        return cls(_bits(btf, rows), _bits(btf, one), rows.size, one.size)

    def row(self, probe: Probe, cookie: int) -> bytes:
        """Return the row of a site."""
        marker = probe.marker
        operands = operands_of(marker.arguments)[:MOST] if marker else ()
        raw = bytearray(self.size)
        _put(raw, 0, self.row_members["usdt_cookie"], cookie)
        _put(raw, 0, self.row_members["arg_cnt"], len(operands))
        start = self.row_members["args"][0] // 8
        for number, operand in enumerate(operands if marker else ()):
            assert marker is not None
            for name, value in self._argument(probe, marker, operand).items():
                _put(raw, start + number * self.argument_size, self.members[name], value)
        return bytes(raw)

    def _argument(self, probe: Probe, marker: Marker, operand: Operand) -> Fields:
        """Return the members of one argument; one that cannot be read gives -EINVAL to whoever asks."""
        extent: Fields = {"arg_signed": operand.signed, "arg_bitshift": 64 - 8 * operand.size}
        if operand.kind == "constant":
            return {"arg_type": CONSTANT, "val_off": operand.number, **extent}
        if operand.kind == "register":
            return {"arg_type": REGISTER, "reg_off": _OFFSETS[operand.base] + operand.number, **extent}
        if operand.kind == "refused" or (operand.index and "idx_reg_off" not in self.members):
            return {"arg_type": UNREADABLE}
        if operand.symbol or operand.base in ("", "rip"):
            return _absolute(probe, marker, operand) | extent
        found = {"arg_type": MEMORY, "val_off": operand.number, "reg_off": _OFFSETS[operand.base], **extent}
        if operand.index:
            scale = operand.scale.bit_length() - 1
            found |= {"arg_type": INDEXED, "idx_reg_off": _OFFSETS[operand.index], "scale_bitshift": scale}
        return found


def _absolute(probe: Probe, marker: Marker, operand: Operand) -> Fields:
    """A place in the module itself: by its distance from the marker, which is where `ip` points."""
    elf = probe.module.elf
    value = elf.value_of(operand.symbol) if operand.symbol else marker.address if operand.base else -1
    if value < 0 or operand.index:
        return {"arg_type": UNREADABLE}
    distance = value + operand.number - marker.address
    return {"arg_type": MEMORY, "val_off": distance, "reg_off": _OFFSETS["ip"]}


def _bits(btf: Btf, shape: Type) -> dict[str, tuple[int, int]]:
    """Return the first bit and the bits of each member."""
    return {m.name: (m.offset, m.bits or 8 * btf.size_of(m.type)) for m in shape.members}


def _put(raw: bytearray, base: int, place: tuple[int, int], value: int) -> None:
    """Put a number into the bits of a member, little endian."""
    first, bits = place
    mask = (1 << bits) - 1
    whole = int.from_bytes(raw, "little") & ~(mask << 8 * base + first)
    raw[:] = (whole | (value & mask) << 8 * base + first).to_bytes(len(raw), "little")
