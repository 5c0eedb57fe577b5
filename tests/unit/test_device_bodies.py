"""Bodies for devices: what each helper, access and kind of map becomes is taken by NVIDIA's assembler."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtime.errors import Bug, Refused
from runtime.helpers.device import DEVICE
from runtime.maps.spec import MapSpec
from runtime.nvptx import worker
from runtime.nvptx.compile import Device
from runtime.types import ContextKind
from tests.tools.bodies import compiled, refusal

COUNTERS = MapSpec("counters", 2, 4, 8, 4, added_only=True)
ARRAY = MapSpec("array", 1503, 4, 16, 8)
PINNED = MapSpec("pinned", 1513, 4, 8, 8)
THREADS = MapSpec("threads", 1502, 4, 8, 2)
HASH = MapSpec("hash", 1, 8, 8, 100)
WIDE = MapSpec("wide", 1501, 20, 12, 64)
RING = MapSpec("ring", 27, 0, 0, 4096)
EVENTS = MapSpec(".events", 27, 0, 0, 4096)
TEXT = MapSpec(".rodata", 2, 4, 16, 1, 0x80, initial=b"value %d\n\0".ljust(16, b"\0"))
MAPS = (COUNTERS, ARRAY, PINNED, THREADS, HASH, WIDE, RING, EVENTS, TEXT)
KEY = "*(u64 *)(r10 - 8) = 0\n*(u64 *)(r10 - 16) = 0\n*(u64 *)(r10 - 24) = 0\nr2 = r10\nr2 += -24\n"
VALUE = "*(u64 *)(r10 - 32) = 0\n*(u64 *)(r10 - 40) = 7\nr3 = r10\nr3 += -40\nr4 = 0\n"
END = "r0 = 0\nexit\n"
ptxas = pytest.mark.skipif(shutil.which("ptxas") is None, reason="there is no ptxas")

THREE = "r1 = r10\nr1 += -8\nr2 = r10\nr2 += -16\nr3 = r10\nr3 += -24\n"
CALLS = {
    6: "r1 = value[.rodata] ll\nr2 = 10\nr3 = 5\nr4 = 0\nr5 = 0\n",
    25: f"r6 = r1\n{KEY}r1 = r6\nr2 = map[ring] ll\nr3 = 0\nr4 = r10\nr4 += -24\nr5 = 20\n",
    130: f"{KEY}r1 = map[ring] ll\nr3 = 12\nr4 = 0\n",
    134: "r1 = map[ring] ll\nr2 = 0\n",
    501: "r1 = value[.rodata] ll\n",
    **dict.fromkeys((503, 504, 505, 508), THREE),
    516: "r1 = 255\n",
    517: "r1 = 255\n",
    521: "r1 = 3\n",
}
MANY = (
    1,
    2,
    3,
    131,
    132,
    133,
    100000,
    100001,
    100002,
    100003,
    100004,
    100040,
    100043,
)  # have cases of their own


def check(text: str, folder: Path, context: ContextKind = ContextKind.CUDA) -> str:
    """Compile, assemble, and give the body's text; nothing may be left in local memory."""
    body = compiled(text, MAPS, context)
    assert refusal(body, folder) == ""
    assert body.local == 0
    return body.text


@ptxas
@pytest.mark.parametrize("number", sorted(set(DEVICE) - set(MANY)))
def test_each_helper_is_assembled(number: int, tmp_path: Path) -> None:
    if number == 25:
        maps = [MapSpec("ring", 1527, 4, 24, 64) if m.name == "ring" else m for m in MAPS]
        body = compiled(f"{CALLS[25]}call 25\n{END}", maps)
        assert refusal(body, tmp_path) == ""
        return
    check(f"{CALLS.get(number, '')}call {DEVICE[number].name}\n{END}", tmp_path)


@ptxas
@pytest.mark.parametrize("name", ["counters", "array", "pinned", "threads", "hash", "wide"])
@pytest.mark.parametrize("what", ["lookup", "update", "delete", "add", "find", "uniform"])
def test_each_kind_of_map_is_assembled(name: str, what: str, tmp_path: Path) -> None:
    call = {
        "lookup": "map_lookup_elem",
        "find": "find_or_add",
        "uniform": "find_uniform",
        "update": "map_update_elem",
        "delete": "map_delete_elem",
    }
    if what == "add":
        rest = "if r0 == 0 goto out\nr1 = 1\nlock add u64 (r0 + 0) r1\nout:\n"
        check(f"{KEY}r1 = map[{name}] ll\ncall map_lookup_elem\n{rest}{END}", tmp_path)
    else:
        check(f"{KEY}{VALUE}r1 = map[{name}] ll\ncall {call[what]}\n{END}", tmp_path)


@ptxas
@pytest.mark.parametrize("end", ["ringbuf_submit", "ringbuf_discard"])
def test_a_record_is_filled_in_place(end: str, tmp_path: Path) -> None:
    text = check(
        "r1 = map[ring] ll\nr2 = 16\nr3 = 0\ncall ringbuf_reserve\nif r0 == 0 goto out\n"
        "r1 = 5\n*(u64 *)(r0 + 0) = r1\n*(u32 *)(r0 + 8) = r1\n*(u32 *)(r0 + 12) = r1\n"
        f"r1 = r0\nr2 = 0\ncall {end}\nout:\n{END}",
        tmp_path,
    )
    assert "st.release.sys" in text


@ptxas
@pytest.mark.parametrize("operation", ["add", "or", "and", "xor", "fetch_add", "fetch_or", "xchg", "cmpxchg"])
@pytest.mark.parametrize("size", ["u32", "u64"])
def test_each_atomic_is_assembled(operation: str, size: str, tmp_path: Path) -> None:
    text = f"{KEY}r1 = map[array] ll\ncall map_lookup_elem\nif r0 == 0 goto out\nr6 = r0\ncall get_lane_id\n"
    check(f"{text}r1 = r0\nlock {operation} {size} (r6 + 0) r1\nout:\n{END}", tmp_path)


@ptxas
def test_bodies_for_old_architectures_are_assembled(tmp_path: Path) -> None:
    text = f"{KEY}r1 = map[hash] ll\ncall find_or_add\nif r0 == 0 goto out\nr1 = 1\nlock add u64 (r0 + 0) r1\nout:\n"
    output = f"{KEY}r1 = map[ring] ll\nr3 = 24\nr4 = 0\ncall ringbuf_output\n"
    body = compiled(f"{text}{output}{END}", MAPS, device=Device(61))
    assert refusal(body, tmp_path, target=61) == ""


def test_addresses_that_are_not_known_need_consent() -> None:
    text = "r1 = *(u64 *)(r1 + 64)\nr0 = *(u32 *)(r1 + 4)\nexit\n"
    with pytest.raises(Refused, match="not known to be valid") as caught:
        compiled(text)
    assert "--unsafe" in caught.value.hint
    compiled(text, device=Device(unsafe=True))


def test_too_many_maps_are_refused() -> None:
    maps = [MapSpec(f"m{n}", 2, 4, 8, 1) for n in range(27)]
    with pytest.raises(Refused, match="number 27: a GPU program sees 26 maps"):
        compiled("r1 = value[m26] ll\nr0 = *(u64 *)(r1 + 0)\nexit\n", maps)


def test_sizes_that_vary_are_refused() -> None:
    text = "call get_lane_id\nr3 = r0\nr3 &= 15\n*(u64 *)(r10 - 8) = 0\n*(u64 *)(r10 - 16) = 0\nr2 = r10\nr2 += -16\n"
    with pytest.raises(Refused, match="the size must be a constant on a device"):
        compiled(f"{text}r1 = map[ring] ll\nr4 = 0\ncall ringbuf_output\n{END}", MAPS)


def test_a_compiler_that_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BPFTIME_CACHE", "/nowhere")
    with pytest.raises(Bug, match="compiler for devices ended"):
        worker.assemblies([("this is no module", "sm_70", "+ptx63")])
