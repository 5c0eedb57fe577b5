"""Objects from clang whose programs are for GPU kernels: sections, maps and helpers, executed."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

import pytest

from runtime.elf.attach import role_of
from runtime.elf.load import load_object
from runtime.types import DEVICE_KINDS, ContextKind
from tests.tools.bodies import refusal
from tests.tools.compile_bpf import compile_bpf
from tests.tools.devicerun import SMS, DeviceRun

FOLDER = Path(__file__).parents[1] / "targets" / "gpu"


def run_object(name: str) -> DeviceRun:
    data = compile_bpf(FOLDER / f"{name}.bpf.c")
    if data is None:
        pytest.skip("there is no clang, or no header of libbpf")
    found = load_object(data, f"{name}.bpf.o")
    programs = [one for one in found.programs if one.context in DEVICE_KINDS]
    assert len(programs) == len(found.programs)
    return DeviceRun(programs, found.maps)


@pytest.mark.parametrize("name", ["counter", "threads"])
def test_objects_are_assembled(name: str, tmp_path: Path) -> None:
    for body in run_object(name).bodies:
        assert refusal(body, tmp_path) == ""


def test_entries_and_times_are_kept_by_thread() -> None:
    run = run_object("counter")
    run.launch(0, 3, 40)
    assert {int.from_bytes(key, "little") for key in run.rows("entered")} == set(range(40))
    assert len(run.rows("started")) == 40
    run.launch(1, 3, 40)
    assert run.rows("started") == {}
    assert len(run.rows("spent")) == 40


def test_each_thread_writes_its_own_value_and_record() -> None:
    run = run_object("threads")
    run.launch(0, 2, 50)
    own = struct.unpack("<256Q", run.rows("per_thread")[(1).to_bytes(4, "little")])
    assert own[:100] == (*range(50), *range(50))
    shared = struct.unpack(f"<{SMS}Q", run.rows("per_sm")[(1).to_bytes(4, "little")])
    assert shared == (50, 50, 0, 0)
    buckets = {n: run.number("buckets", n) for n in range(8)}
    assert buckets == {n: 2 * Counter(t.bit_length() for t in range(50))[n] for n in range(8)}
    records = [struct.unpack("<3Q", one)[:2] for one in run.rings["events"].payloads()]
    assert sorted(records) == [(b, t) for b in range(2) for t in range(50)]


def test_a_memory_program_gets_what_the_instruction_does() -> None:
    run = run_object("threads")
    run.launch(2, 1, 10, struct.pack("<4Q", 0, 0, 3, 0))
    assert run.number("buckets", 1) == 10 * (4 + 3)


@pytest.mark.parametrize(
    ("section", "name", "context", "attach"),
    [
        ("cuda/K", "f", ContextKind.CUDA, "K"),
        ("cudaret/K*", "f", ContextKind.CUDA_RETURN, "K*"),
        ("cudamem/K:ld,st", "f", ContextKind.CUDA_MEMORY, "K:ld,st"),
        ("cudarun", "f", ContextKind.CUDA, ""),
        ("kprobe/K", "cuda__f", ContextKind.CUDA, "K"),
        ("kretprobe/K", "cuda__f", ContextKind.CUDA_RETURN, "K"),
        ("kprobe/__memcapture", "cuda__f", ContextKind.CUDA_MEMORY, "__memcapture"),
        ("kprobe/__directly_run", "cuda__f", ContextKind.CUDA, "__directly_run"),
        ("kprobe/K", "f", ContextKind.KSYSCALL, "K"),
    ],
)
def test_sections_say_what_a_program_is(section: str, name: str, context: ContextKind, attach: str) -> None:
    role = role_of(section, name)
    assert (role.context, role.attach) == (context, attach)
