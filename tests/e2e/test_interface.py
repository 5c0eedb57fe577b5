"""The attach interface as a library: private data from strings, attach by every form of it, detach by id."""

from __future__ import annotations

import pytest

from attachers.base import UPROBE, URETPROBE, FunctionData
from attachers.context import AttachContext
from attachers.resolve import find_modules, find_points
from attachers.target import Target
from attachers.uprobe import FunctionAttacher
from bpftime_cli.pipeline.programs import Programs
from runtime.ebpf.asm import assemble
from runtime.ebpf.object import Program
from runtime.errors import AttachProblem
from runtime.helpers.custom import MachineCode
from runtime.jit.compile import compile_program
from runtime.jit.unit import Build
from runtime.lang import compile_script
from runtime.maps.layout import possible_cpus
from runtime.maps.spec import MapKind, MapSpec
from runtime.shm.session import Session
from runtime.types import ContextKind
from runtime.verify import verify
from tests.tools.target import build
from tests.tools.tracing import Running

GOOD = ["1234", "libc.so.6:malloc", "libc.so.6:malloc+16", "/a:b/c.so:4096", "/x.so:0x10"]
BAD = ["", ":16", "libc.so.6:", "what", "libc.so.6:12x", "libc.so.6:malloc+y", str(1 << 64)]


@pytest.mark.parametrize("text", GOOD)
def test_private_data_survives_its_string(text: str) -> None:
    data = FunctionData.from_string(text)
    assert FunctionData.from_string(data.to_string()) == data
    assert FunctionData.initialize_from_string(text) == 0


@pytest.mark.parametrize("text", BAD)
def test_bad_private_data_is_refused_with_the_number_of_the_model(text: str) -> None:
    with pytest.raises(AttachProblem) as caught:
        FunctionData.from_string(text)
    assert caught.value.hint
    assert FunctionData.initialize_from_string(text) == -22


def test_attach_by_every_form_and_detach_by_id() -> None:
    program = build("loop")
    script = compile_script("uprobe:loop:step { @ = count(); }")
    programs = Programs(script.object)
    programs.verify_all()
    with Running(program, "2", "1000") as running:
        session = Session.create("interface", tuple(programs.maps.values()))
        target = Target.open(running.pid)
        attacher = FunctionAttacher(target, session)
        image = programs.image(script.probes[0].program, target.build_kind)
        [module] = find_modules(target, str(program))
        [point] = find_points(target, module, "step")
        places = [
            (f"{program}:step", UPROBE),
            (f"{program}:{module.elf.to_offset(point.address)}", UPROBE),
            (str(module.bias + point.address), UPROBE),
            (f"{program}:step", URETPROBE),
        ]
        before = target.memory.read(module.bias + point.address, point.size)
        links = []
        for text, kind in places:
            links.append(attacher.create_attach(image, FunctionData.from_string(text), kind))
        assert links == [1, 2, 3, 4]
        assert attacher.detach_by_id(2) == 0
        running.work()
        for link in (1, 3, 4):
            attacher.detach_by_id(link)
        assert target.memory.read(module.bias + point.address, point.size) == before
        with pytest.raises(AttachProblem) as caught:
            attacher.detach_by_id(2)
        assert caught.value.errno == 2
        wrong = FunctionData.from_string(f"{program}:nothing")
        assert attacher.create_attach_with_ebpf_callback(image, wrong, UPROBE) == -2
        [(_, value)] = session.view("@").items()
        assert int.from_bytes(value[:8], "little") == 3 * 2000
        target.close()
        assert running.end() == 0


class Helpful(FunctionAttacher):
    """Function probes whose programs may call two helpers: one of machine code, one of Python."""

    def register_custom_helpers(self, register) -> None:
        register(20001, "sum_twice", MachineCode(bytes.fromhex("488d04374801c0c3"), 2))  # 2 * (rdi + rsi)
        register(20002, "here_only", lambda a: a)


def test_registered_machine_code_is_called_in_the_process_and_python_is_refused() -> None:
    cell = MapSpec("cell", MapKind.ARRAY, 4, 8, 1)
    text = (
        "r6 = *(u64 *)(r1 + 112)\nr1 = 20\nr2 = 1\ncall {}\nr7 = r0\n*(u32 *)(r10 - 4) = 0\nr2 = r10\nr2 += -4\n"
        "r1 = map[cell] ll\ncall map_lookup_elem\nif r0 == 0 goto out\n*(u64 *)(r0 + 0) = r7\nout:\nr0 = 0\nexit"
    )
    with Running(build("loop"), "1", "10") as running:
        session = Session.create("helpers", (cell,))
        target = Target.open(running.pid)
        context, attacher = AttachContext(), Helpful(target, session)
        context.register_attach_impl(attacher.types, attacher, FunctionData.from_string)
        signatures = {number: helper.signature for number, helper in context.helpers.items()}
        images = []
        for number in (20001, 20002):
            made = assemble(text.format(number))
            program = Program("p", "", ContextKind.UPROBE, "", made.code, made.map_refs)
            verified = verify(program, {"cell": cell}, helpers=signatures)
            images.append(
                compile_program(verified, {"cell": cell}, Build(target.build_kind, possible_cpus()))
            )
        link = context.attach(images[0], UPROBE, f"{build('loop')}:step")
        with pytest.raises(AttachProblem, match="no machine code") as caught:
            context.attach(images[1], UPROBE, f"{build('loop')}:step")
        assert caught.value.errno == 95
        running.work()
        context.destroy_link(link)
        [(_, value)] = session.view("cell").items()
        assert int.from_bytes(value, "little") == 42
        target.close()
        assert running.end() == 0
