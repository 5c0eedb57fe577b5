"""The attach interface as a library: private data from strings, attach by every form of it, detach by id."""

from __future__ import annotations

import pytest

from attachers.base import UPROBE, URETPROBE, FunctionData
from attachers.resolve import find_modules, find_points
from attachers.target import Target
from attachers.uprobe import FunctionAttacher
from bpftime_cli.pipeline.programs import Programs
from runtime.errors import AttachProblem
from runtime.lang import compile_script
from runtime.shm.session import Session
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
