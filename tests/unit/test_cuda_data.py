"""Private data of kernel probes, and what each context of a device gets: their forms, and that nothing overlaps."""

from __future__ import annotations

from itertools import pairwise

import pytest

from attachers.cuda.contexts import Context
from attachers.cuda.data import KernelData
from attachers.cuda.plan import MOST_RING, Plan, small
from runtime.errors import AttachProblem
from runtime.maps.spec import MapSpec
from runtime.nvptx.maps import Facts, place

TEXTS = {
    "vecadd": KernelData(("vecadd",)),
    "a, b,,c": KernelData(("a", "b", "c")),
    "mm<float, 16>,other": KernelData(("mm<float, 16>", "other")),
    "_Z6vecadd*": KernelData(("_Z6vecadd*",)),
    "__memcapture": KernelData(("*",), ("ld", "st", "atom", "red")),
    "__memcapture=ld|st@shared,mm": KernelData(("mm",), ("ld", "st"), ("shared",)),
    "vecadd,@libk.so": KernelData(("vecadd",), module="libk.so"),
    "nv_attach_private_data: func_name=a func_names=a,b comm_shared_mem=0": KernelData(("a", "b")),
}
BAD = ["", ",,", "__memcapture=load", "__memcapture=ld@texture"]


@pytest.mark.parametrize("text", TEXTS)
def test_every_form_is_read_and_comes_back(text: str) -> None:
    data = KernelData.from_string(text)
    assert data == TEXTS[text]
    assert KernelData.from_string(data.to_string()) == data


def test_the_first_name_is_the_canonical_one() -> None:
    text = KernelData.from_string("k1,k2").to_string()
    assert text == "nv_attach_private_data: func_name=k1 func_names=k1,k2 comm_shared_mem=0"


@pytest.mark.parametrize("text", BAD)
def test_what_names_no_kernel_is_refused(text: str) -> None:
    with pytest.raises(AttachProblem) as caught:
        KernelData.from_string(text)
    assert caught.value.errno == 22
    assert KernelData.initialize_from_string(text) == -22


def test_maps_lie_apart_and_the_constant_leads_to_them() -> None:
    specs = [
        MapSpec("a", 2, 4, 8, 10),
        small(MapSpec(".events", 27, 0, 0, 1 << 30)),
        MapSpec("host", 1513, 4, 8, 4),
        MapSpec("h", 1, 8, 8, 64),
    ]
    plan = Plan(place(specs, 4, 32), Facts(4, 32))
    ranges = sorted((at, at + plan.placed[i].size) for i, at in plan.devices().items())
    assert all(end <= start for (_, end), (start, _) in pairwise(ranges))
    assert ranges[-1][1] <= plan.size
    assert plan.hosts() == {2: plan.rings + -plan.rings % 4096}
    assert MOST_RING <= plan.rings < plan.shared
    words = memoryview(plan.constant(Context(1, 0, base=0x1000000, mapped=0x7000000), enabled=5)).cast("Q")
    assert words[0] == 5
    assert words[6] == 0x1000000 + plan.devices()[0]
    assert words[8] == 0x7000000 + plan.hosts()[2]


def test_without_shared_memory_nothing_runs_that_needs_it() -> None:
    plan = Plan(place([MapSpec(".events", 27, 0, 0, 4096)], 4, 32), Facts(4, 32))
    assert memoryview(plan.constant(Context(1, 0, base=0x1000000), enabled=1)).cast("Q")[0] == 0
