"""Images are replaced where they can be, and stay with a reason where not; nothing a process hands over raises."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from attachers.cuda import extra, fatbin, files
from attachers.cuda.assemble import tools
from attachers.cuda.assemble.assembling import over_limit, with_limits
from attachers.cuda.assemble.cubin import arch_of, usage_of
from attachers.cuda.assemble.options import is_relocatable, replayed
from attachers.cuda.assemble.result import Usage
from attachers.cuda.images import swap
from attachers.cuda.ptx.reader import parse
from attachers.cuda.swapped import Action
from tests.tools.cudaprobes import PLACES, body, entry

CASES = Path(__file__).parents[1] / "cases/cuda"
PTX = (CASES / "samples.ptx").read_bytes()


@dataclass(frozen=True)
class Device:
    arch: int = 90
    driver: int = 13050


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BPFTIME_CACHE", str(tmp_path))


def needs(name):
    tool = next((tool for tool in tools.found() if tool.name == name), None)
    if tool is None:
        pytest.skip(f"no {name} on this machine")
    return tool


@pytest.mark.parametrize("mode", ["none", "size", "speed"])
def test_what_is_in_a_fatbin_however_it_is_compressed(mode):
    found = fatbin.parse((CASES / f"samples-{mode}.fatbin").read_bytes())
    ptx, elf = found.entries
    assert (ptx.kind, ptx.target, ptx.version) == (fatbin.PTX, "sm_75", (9, 0))
    assert (elf.kind, elf.target) == (fatbin.ELF, "sm_90")
    assert ptx.image().endswith(b"}") or b".entry" in ptx.image()
    assert elf.image()[:4] == b"\x7fELF"
    assert arch_of(elf.image()) == 90


def test_architectures_and_options_of_entries():
    entries = fatbin.parse((CASES / "samples-special.fatbin").read_bytes()).entries
    assert {entry.target for entry in entries} == {"sm_75", "sm_90a", "sm_100f", "sm_120"}
    ptx = next(entry for entry in entries if entry.kind == fatbin.PTX)
    assert replayed(ptx.options) == ("-O1", "-dlcm=cg", "-maxrregcount=64", "--generate-line-info")


def test_a_container_written_is_the_container_read():
    cubin = (CASES / "samples-sm_90.cubin").read_bytes()
    data = fatbin.pack([(fatbin.PTX, 75, (9, 0), PTX), (fatbin.ELF, 90, (1, 8), cubin)])
    ptx, elf = fatbin.parse(data).entries
    assert (ptx.image(), ptx.arch, ptx.version) == (PTX, 75, (9, 0))
    assert elf.image().rstrip(b"\0") == cubin.rstrip(b"\0")


def test_containers_of_a_section_are_found():
    one = fatbin.pack([(fatbin.PTX, 75, (9, 0), PTX)])
    section = b"\0" * 8 + one + b"\0" * 16 + one
    assert [at for at, _ in fatbin.containers(section)] == [8, 24 + len(one)]


def test_options_that_name_files_are_not_used():
    assert replayed("-O3 -o /etc/passwd --input-as-string=x -dlcm=cg -lineinfo") == (
        "-O3",
        "-dlcm=cg",
        "-lineinfo",
    )
    assert is_relocatable("-O2 --compile-only")


@pytest.mark.parametrize("assembler", ["ptxas", "nvjitlink"])
@pytest.mark.parametrize(
    "name", ["samples.ptx", "samples-size.fatbin", "samples-speed.fatbin", "samples-special.fatbin"]
)
def test_images_become_machine_code_for_the_device(name, assembler):
    needs(assembler)
    image = (CASES / name).read_bytes()
    done = swap(image, Device(), PLACES["all"], assembler)
    assert (done.action, done.reason) == (Action.REPLACE, "")
    assert arch_of(done.image) == 90
    assert set(done.kernels) <= set(usage_of(done.image))
    assert len(done.kernels) == 4
    assert done.report.before["_Z6vecaddPKfS0_Pfi"].registers > 0


def test_what_was_made_is_kept_on_disk():
    needs("ptxas")
    first = swap(PTX, Device(), PLACES["memory"])
    second = swap(PTX, Device(), PLACES["memory"])
    assert second.report.seconds == 0 < first.report.seconds
    assert replace(second, report=replace(second.report, seconds=first.report.seconds)) == first
    other = swap(PTX, Device(75), PLACES["memory"])
    assert other.report.seconds > 0


def test_the_driver_gets_text_where_no_assembler_fits():
    for device, assembler in ((Device(), "driver"), (Device(driver=11080), "auto")):
        done = swap(PTX, device, PLACES["all"], assembler)
        assert done.action is Action.PTX
        assert done.image.endswith(b"}\n\0") or done.image.endswith(b"\0")
        assert b"__bpftime_ctx" in done.image


def test_a_caller_that_wants_a_container_gets_one():
    done = swap(PTX, Device(), PLACES["entry"], "driver", container=True)
    (entry_,) = fatbin.parse(done.image).entries
    assert (entry_.kind, entry_.arch, entry_.version) == (fatbin.PTX, 90, (9, 0))
    assert entry_.image() == done.woven.encode("latin-1")


def test_images_of_no_interest_pass_without_a_word():
    for name in ("samples.ptx", "samples-size.fatbin", "samples-sm_90.cubin"):
        done = swap((CASES / name).read_bytes(), Device(), (entry(kernels=("other",)),))
        assert (done.action, done.reason) == (Action.PASS, "")


@pytest.mark.parametrize(
    ("name", "arch", "reason"),
    [
        ("samples-sm_90.cubin", 90, "machine code for sm_90 and no PTX"),
        ("samples-lto.fatbin", 90, "link-time IR only"),
        ("samples-rdc.fatbin", 90, "linked with other code"),
        ("samples-size.fatbin", 61, "kernel vecadd has PTX for sm_75, which sm_61 cannot run"),
    ],
)
def test_why_an_image_stays(name, arch, reason):
    kernels = ("vecadd",)
    done = swap((CASES / name).read_bytes(), Device(arch), (entry(kernels=kernels),))
    assert done.action is Action.PASS
    assert reason in done.reason


def test_machine_code_of_a_newer_kind_is_told():
    done = swap((CASES / "samples-size.fatbin").read_bytes(), Device(), PLACES["entry"], "driver")
    assert "code for sm_90 replaced by PTX for sm_75" in done.report.warnings[0]


def test_an_assembler_s_complaint_names_the_place():
    needs("ptxas")
    probe = entry()
    wrong = replace(probe, body=replace(body(), text="frobnicate.b32 %r1;\n$BT_end:"))
    done = swap(PTX, Device(), (wrong,), "ptxas")
    assert done.action is Action.PASS
    assert "frobnicate" in done.reason
    assert "entry probe" in done.reason
    assert "frobnicate" in done.woven


BAD = {
    "nothing": b"",
    "a byte": b"\x50",
    "zeros": b"\0" * 64,
    "no PTX": b"hello world\0",
    "a header alone": b".version 7.0\n",
    "half a container": (CASES / "samples-size.fatbin").read_bytes()[:200],
    "half a text": PTX[: len(PTX) // 2],
    "a statement without end": PTX.replace(b"ret;", b"ret"),
    "a brace too many": PTX.replace(b"ret;", b"ret; }"),
    "32 bits": PTX.replace(b".address_size 64", b".address_size 32"),
    "an ELF head": b"\x7fELF" + b"\xff" * 80,
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_images_stay_as_they_are(name):
    done = swap(BAD[name], Device(), PLACES["all"], "driver")
    assert done.action is Action.PASS


def test_numbers_have_an_end():
    for old, new in ((b"[];", b"[%s];"), (b"%rd<", b"%%rd<%s"), (b".loc\t1 ", b".loc\t1 %s")):
        assert old in PTX
        damaged = PTX.replace(old, new % (b"9" * 5000), 1)
        assert swap(damaged, Device(), PLACES["all"], "driver").action in (Action.PASS, Action.PTX)


def test_damaged_data_of_an_entry_is_named():
    for mode, word in (("size", "zstd"), ("speed", "lz4")):
        data = bytearray((CASES / f"samples-{mode}.fatbin").read_bytes())
        data[16 + 72 : 16 + 200] = b"\xee" * 128
        done = swap(bytes(data), Device(), PLACES["entry"], "driver")
        assert f"entry 0: damaged {word} data" in done.reason


def test_an_entry_may_not_unpack_to_more_than_it_says():
    data = bytearray((CASES / "samples-size.fatbin").read_bytes())
    for size in (10, 1 << 40):
        struct.pack_into("<Q", data, 16 + 56, size)
        done = swap(bytes(data), Device(), PLACES["entry"], "driver")
        assert done.action is Action.PASS
        assert "entry 0" in done.reason


def test_a_missing_package_names_the_extra(monkeypatch):
    def gone(module):
        raise ImportError(module)

    monkeypatch.setattr(extra.importlib, "import_module", gone)
    done = swap((CASES / "samples-size.fatbin").read_bytes(), Device(), PLACES["entry"], "driver")
    assert done.reason == "zstandard is not installed (pip install 'bpftime[cuda]')"


def test_a_kernel_keeps_the_threads_it_could_be_launched_with():
    used = {
        "plain": Usage(40, 0, 0),
        "bounded": Usage(40, 0, 0),
        "large": Usage(90, 0, 0),
        "same": Usage(30, 0, 0),
    }
    kernels = "".join(
        f".entry {name}(){' .maxntid 128, 1, 1' * (name == 'bounded')} {{ ret; }}\n" for name in used
    )
    module = parse(f".version 7.0\n.target sm_75\n.address_size 64\n{kernels}")
    after = {
        "plain": Usage(72, 0, 0),
        "bounded": Usage(120, 0, 0),
        "large": Usage(120, 0, 0),
        "same": Usage(64, 0, 0),
    }
    limits = over_limit(module, used, after)
    # 1024 threads of 64 registers fill a multiprocessor; 90 registers are given as 96.
    assert limits == {"plain": 64, "large": 96}
    limited = parse(with_limits(module, limits))
    assert {k.name: k.limits.get("maxnreg") for k in limited.kernels} == {
        **{"plain": (64,), "large": (96,), "bounded": None, "same": None}
    }


def test_registers_are_held_where_a_probe_takes_many():
    needs("ptxas")
    keep = "\n".join(
        f"ld.global.v4.u32 {{%r{4 * i + 1}, %r{4 * i + 2}, %r{4 * i + 3}, %r{4 * i + 4}}}, [%rd1+{16 * i}];"
        for i in range(20)
    )
    use = "\n".join(f"st.global.u32 [%rd1+{1024 + 4 * i}], %r{i};" for i in range(80, 0, -1))
    text = f".reg .b64 %rd<2>; .reg .b32 %r<99>; ld.__BPFTIME_CTX_SPACE.u64 %rd1, [__bpftime_ctx+48];\n{keep}\nmembar.gl;\n{use}\n$BT_end:"
    probe = entry(kernels=("vecadd",))
    done = swap(PTX, Device(), (replace(probe, body=replace(probe.body, text=text)),), "ptxas")
    assert done.report.limited == {"_Z6vecaddPKfS0_Pfi": 64}
    assert done.report.after["_Z6vecaddPKfS0_Pfi"].registers <= 64
    assert ".maxnreg 64" in done.woven


def test_programs_built_in_parts_are_linked_anew():
    needs("nvjitlink")
    whole, *parts = files.images_in((CASES / "parts.fatbin").read_bytes())
    probe = entry(kernels=("whole",))
    alone = swap(whole, Device(), (probe,))
    assert alone.action is Action.PASS
    done = swap(whole, Device(), (probe,), parts=lambda: [whole, *parts])
    assert (done.action, done.reason) == (Action.REPLACE, "")
    assert set(usage_of(done.image)) == {"_Z5wholePi"}
    assert b"__bpftime_ctx" in done.image


def test_parts_that_are_not_all_there_are_no_replacement():
    needs("nvjitlink")
    whole, *parts = files.images_in((CASES / "parts.fatbin").read_bytes())
    done = swap(whole, Device(), (entry(kernels=("whole",)),), parts=lambda: parts[:1])
    assert done.action is Action.PASS
    assert "other" in done.reason
