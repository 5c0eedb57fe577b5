"""What compiled code may touch, how images are linked and kept, and programs run in child processes."""

from __future__ import annotations

import dataclasses

import pytest

from runtime.agent import build as agent_build
from runtime.errors import Bug, Problem
from runtime.jit import cache, disasm, once
from runtime.jit.link import link, link_size
from runtime.jit.local import agent
from runtime.maps.spec import MapKind, MapSpec
from runtime.types import ContextKind
from runtime.verify.check import verify
from tests.tools.programs import (
    ADD_ONE,
    DELETE,
    EXIT,
    UPDATE,
    box,
    call,
    copy,
    emit_record,
    here,
    image,
    insn,
    linked,
    load,
    program,
)
from tests.tools.randprog import random_program

COUNT = MapSpec("count", MapKind.ARRAY, 4, 8, 1, added_only=True)
MAPS = {
    "count": COUNT,
    "hash": MapSpec("hash", MapKind.HASH, 8, 8, 64),
    "ring": MapSpec("ring", MapKind.RINGBUF, 0, 0, 4096),
}
FAR = 1 << 46


@pytest.mark.parametrize("parts", [ADD_ONE, UPDATE, DELETE, emit_record(48)])
@pytest.mark.parametrize("kind", ["rseq", "plain"])
def test_images_touch_no_vector_register(parts, kind):
    made = image(parts, MAPS, here(kind))
    assert disasm.vector_use(made.code) == ""


def test_the_agent_touches_no_vector_register():
    data = agent_build.library().read_bytes()
    sections = agent_build._sections(data)
    names = sections[int.from_bytes(data[62:64], "little")]
    text = next(s for s in sections if data[names[4] + s[0] :].startswith(b".text\0"))
    assert disasm.vector_use(data[text[4] : text[4] + text[5]]) == ""


@pytest.mark.parametrize(
    ("code", "returns", "what"),
    [
        ("0f28c1", True, "xmm0"),
        ("48ffc3", True, "rbx"),
        ("4889f8", False, "rax"),
        ("fd", True, "std"),
        ("0f05", True, "syscall"),
        ("d9e8", True, "fld1|st"),
    ],
)
def test_harmful_code_is_not_let_through(code, returns, what):
    with pytest.raises(Bug, match=what):
        disasm.check("bad", bytes.fromhex(code) + b"\xc3", returns=returns)


def test_one_image_serves_near_and_far_symbols():
    made = image(ADD_ONE, MAPS, here("plain"))
    size = link_size(made)
    near = link(made, FAR, lambda _: FAR + 4096)
    far = link(made, FAR, lambda _: 4096)
    assert len(near) == len(far) == size
    assert (4096).to_bytes(8, "little") in far
    assert near[:3].hex() in ("4c8d1d", "488d05")  # lea


def test_context_words_are_read_where_the_thunk_puts_them():
    parts = (insn(0x79, 6, 1, 40), insn(0x79, 7, 1, 112), call(174), insn(0x0F, 0, 6), insn(0x0F, 0, 7), EXIT)
    verified = verify(program(parts, ContextKind.UPROBE), {})
    from runtime.jit.compile import compile_program

    made = compile_program(verified, {}, here(), returns=True)
    assert made.words == ("rbx", "cookie")
    assert not made.frame


def test_an_image_is_kept_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("BPFTIME_CACHE", str(tmp_path))
    first = image(ADD_ONE, MAPS, here())
    (kept,) = (tmp_path / "image").iterdir()
    assert image(ADD_ONE, MAPS, here()) == first
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.chmod(0o666)
    assert cache.load_image(kept.name) is None
    kept.chmod(0o600)
    kept.write_bytes(kept.read_bytes()[:-1] + b"\xff")
    assert cache.load_image(kept.name) is None
    other = {**MAPS, "count": dataclasses.replace(COUNT, value_size=16)}
    image(ADD_ONE, other, here())
    assert len(list((tmp_path / "image").iterdir())) == 2


def test_scratch_memory_nests_and_comes_back():
    enter, leave = agent().function("frame_enter", 1), agent().function("frame_leave", 1)
    levels = [enter(100) for _ in range(4)]
    assert len(set(levels)) == 4
    assert enter(100) == 0
    for level in reversed(levels):
        leave(level)
    assert enter(1 << 20) not in (0, *levels[1:])
    leave(enter(8))


def runs(*programs, **options) -> list[once.Outcome]:
    items = [once.Run(str(i), program([code]), **options) for i, code in enumerate(programs)]
    return list(once.run_batch(items, workers=2, timeout=3))


def test_a_batch_answers_in_order_and_survives_everything():
    good, endless = load(0, 7) + EXIT, load(0, 0) + insn(0x05, off=-1) + EXIT
    out = runs(good, insn(0xFF), endless, insn(0x79, 0, 1, 8) + EXIT, good)
    assert [o.name for o in out] == ["0", "1", "2", "3", "4"]
    assert [o.r0 for o in out] == [7, 0, 0, 0, 7]
    assert "0xff" in out[1].error
    assert "loop" in out[2].error
    assert not out[3].error


def test_memory_is_given_and_read_back():
    (out,) = runs(insn(0x72, 1, 0, 2, 0x5A) + insn(0x69, 0, 1, 2) + EXIT, memory=bytes(8))
    assert (out.r0, out.memory) == (0x5A, bytes((0, 0, 0x5A, 0, 0, 0, 0, 0)))


def test_a_worker_that_dies_costs_one_program(monkeypatch):
    real = once.execute

    def execute(run):
        if run.name == "1":
            import os

            os.abort()
        return real(run)

    monkeypatch.setattr(once, "execute", execute)
    out = runs(*[load(0, 7) + EXIT] * 6)
    assert [bool(o.error) for o in out] == [False, True, False, False, False, False]
    assert "SIGABRT" in out[1].error


def test_running_once_raises_what_is_wrong():
    with pytest.raises(Problem, match="0xff"):
        once.run_once(once.Run("x", program([insn(0xFF)])))


def test_random_programs_pass_the_register_check():
    for seed in range(12):
        verified = verify(program([random_program(seed)]), {})
        from runtime.jit.compile import compile_program

        compile_program(verified, {}, here(), returns=True)


def test_counting_runs_on_a_thread_without_rseq():
    """The last block is used when the thread's CPU number is not one."""
    sandbox = box(COUNT)
    linked(ADD_ONE, sandbox, "plain")()
    view = sandbox.views["count"]
    last = view.offset + view.layout.data + (view.layout.cells - 1) * view.layout.block
    assert view.region[last] == 1


@pytest.mark.parametrize("returns", [True, False])
def test_tail_calls_jump_through_memory_and_end(returns):
    import ctypes

    from runtime.jit.compile import compile_program

    specs = {"progs": MapSpec("progs", MapKind.PROG_ARRAY, 4, 4, 4)}
    sandbox = box(*specs.values())
    again = (copy(6, 1), (2, "progs"), load(3, 2), call(12), insn(0x7A, 10, 0, -8, 1), load(0, 77), EXIT)
    verified = verify(program(again, ContextKind.UPROBE), specs)
    made = compile_program(verified, specs, here(), returns=returns, frame=True)
    linked_program = sandbox.program(made)
    sandbox.tables["progs"][2] = linked_program.address
    context = (ctypes.c_uint64 * 23)()
    assert linked_program(ctypes.addressof(context)) == (77 if returns else 0)
    assert context[21] == 33


def test_stacks_are_walked_by_frame_pointers_and_kept_once():
    import ctypes

    from runtime.jit.compile import compile_program

    specs = {"stacks": MapSpec("stacks", MapKind.STACK_TRACE, 4, 64, 16)}
    sandbox = box(*specs.values())
    parts = ((2, "stacks"), load(3, 0x100), call(27), EXIT)
    made = compile_program(verify(program(parts, ContextKind.UPROBE), specs), specs, here(), returns=True)
    frames = (ctypes.c_uint64 * 8)()
    base = ctypes.addressof(frames)
    frames[:] = [0xAAAA, 0, base + 32, 0xBBBB, 0, 0xCCCC, 0, 0]  # return address, -, outer frame
    words = {"ip": 0x1111, "rsp": base, "rbp": base + 16}
    walk = sandbox.program(made)
    first = walk(*[0] * 6, *(words[name] for name in made.words))
    assert walk(*[0] * 6, *(words[name] for name in made.words)) == first < 16
    ((key, value),) = sandbox.views["stacks"].items()
    assert int.from_bytes(key, "little") == first
    assert [int.from_bytes(value[i : i + 8], "little") for i in range(0, 40, 8)] == [
        *(0x1111, 0xAAAA, 0xBBBB, 0xCCCC, 0),
    ]
