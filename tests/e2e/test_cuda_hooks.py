"""The CUDA driver hooked in real processes: which images are swapped, and that all else is passed on unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attachers.cuda.driver import Swapped
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
    assert seen.copies[0].startswith(b"first")
    assert not seen.refused


def test_an_image_without_probes_is_passed_on(ptx: Path, tmp_path: Path) -> None:
    seen = run([str(app("vecadd")), str(ptx)], tmp_path, kept)
    assert seen.status == 0
    assert seen.loads() == [PTX + b"\0"]
    assert [i.swapped.reason for i in seen.images] == ["nothing to weave"]
    assert seen.copies == []
