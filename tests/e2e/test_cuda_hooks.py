"""The CUDA driver hooked in real processes: which images are swapped, and that all else is passed on unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attachers.cuda.types import Swapped
from tests.tools.cuda import app
from tests.tools.cuda.hooked import run

if TYPE_CHECKING:
    from pathlib import Path

PTX = b"""//
.version 7.0
.target sm_75
.address_size 64
.visible .entry vecadd(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)
{
    ret;
}
"""
MARK = b"// __bpftime_ctx\n"


def woven(image: bytes) -> Swapped:
    """Stand for weaving: the driver finds the context's symbol in what it gets."""
    return Swapped(image.replace(b"//\n", MARK, 1))


def kept(image: bytes) -> Swapped:
    del image
    return Swapped(None, "nothing to weave")


def count(copy: bytes) -> int:
    """What the program's pokes add to: the first word of the only map."""
    return int.from_bytes(copy[:8], "little")


@pytest.fixture
def ptx(tmp_path: Path) -> Path:
    path = tmp_path / "kernels.ptx"
    path.write_bytes(PTX)
    return path


@pytest.mark.parametrize("flag", ["-DMODULE", "-DLIBRARY"])
def test_a_loaded_image_is_what_we_have_made_of_it(ptx: Path, tmp_path: Path, flag: str) -> None:
    seen = run([str(app("vecadd", flag)), str(ptx)], tmp_path, woven)
    assert seen.status == 0
    assert seen.offered == [PTX + b"\0"]
    assert seen.loads() == [PTX.replace(b"//\n", MARK, 1) + b"\0"]
    assert [(d.arch, d.driver, d.processors) for d in seen.devices] == [(90, 13000, 4)]
    assert len(seen.copies) == 1
    assert not seen.refused


def test_an_image_without_probes_is_passed_on(ptx: Path, tmp_path: Path) -> None:
    seen = run([str(app("vecadd")), str(ptx)], tmp_path, kept)
    assert seen.status == 0
    assert seen.loads() == [PTX + b"\0"]
    assert [i.swapped.reason for i in seen.images] == ["nothing to weave"]
    assert seen.copies == []


# case of `apps/cases.c` → what its pokes add up to, the number of loads, its status
SUMS = {
    "unload": (5, 1, 0),
    "destroy": (6, 2, 0),
    "reset": (9, 2, 0),
    "quit": (6, 1, 7),
    "many": (20, 20, 0),
    "threads": (40, 40, 0),
    "file": (2, 2, 0),
    "linked": (9, 1, 0),
    "early": (1, 1, 0),
    "forked": (2, 2, 0),
}


@pytest.mark.parametrize("case", SUMS)
def test_device_memory_is_read_before_it_goes(ptx: Path, tmp_path: Path, case: str) -> None:
    seen = run([str(app("cases")), case, str(ptx)], tmp_path, woven)
    total, loads, status = SUMS[case]
    assert sum(count(copy) for copy in seen.copies) == total
    assert len(seen.loads()) == loads
    assert all(b"__bpftime_ctx" in image for image in seen.loads())
    assert seen.status == status


def test_a_bad_image_gives_the_error_of_the_driver(
    ptx: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen = run([str(app("cases")), "bad", str(ptx)], tmp_path, woven)
    assert capfd.readouterr().out == "text: 200\nempty: 200\n"
    assert count(seen.copies[0]) == 2
    assert seen.status == 0
