"""The attach context and simple attach: every row of the model's behaviour, with programs that really run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from attachers.base import SOFTWARE, Attacher, TextData
from attachers.context import FIRST_ID, AttachContext
from attachers.local import load_here
from attachers.simple import SimpleAttacher, add_simple_attach
from runtime.ebpf.asm import assemble
from runtime.ebpf.object import Program
from runtime.errors import AttachProblem, Unsupported
from runtime.helpers.custom import CustomHelper, MachineCode
from runtime.shm.handlers import Handlers, Link, LinkState, ProgramEntry
from runtime.shm.session import Session
from runtime.types import ContextKind

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "tests/examples/lines.py"
TYPE = 2001


def program(text: str, context: ContextKind = ContextKind.MEMORY) -> Program:
    return Program("p", "", context, "", assemble(text).code)


def errno_of(action, *arguments) -> int:
    with pytest.raises(AttachProblem) as caught:
        action(*arguments)
    return caught.value.errno


class Places(Attacher):
    """Keeps what is attached where; a text that begins with `-` is refused with that number."""

    types = (7,)

    def __init__(self, helpers: dict | None = None) -> None:
        super().__init__()
        self.live: dict[int, tuple[object, str]] = {}
        self.log: list[str] = []
        self.helpers = helpers or {}
        self.sticks = 0

    def register_custom_helpers(self, register) -> None:
        for number, (name, function) in self.helpers.items():
            register(number, name, function)

    def create_attach(self, program, private_data, attach_type) -> int:
        if private_data.text.startswith("-"):
            raise AttachProblem("not here", errno=int(private_data.text[1:]))
        assert attach_type in (7, 8)
        link = self.allocate_id()
        self.live[link] = program, private_data.text
        self.log.append(private_data.text)
        return link

    def detach_by_id(self, link: int) -> int:
        if self.sticks:
            raise AttachProblem("it sticks", errno=self.sticks)
        self.live.pop(link)
        return 0


def context_with(*types: int, **more) -> tuple[AttachContext, Places]:
    context, places = AttachContext(), Places(**more)
    context.register_attach_impl(types, places, TextData.from_string)
    return context, places


# --- simple attach


def test_one_live_attach_and_the_results_of_the_model() -> None:
    source = SimpleAttacher(TYPE, lambda text, event, run: int(event) + len(text) + run(b"abc")[1])
    runner = load_here(program("r0 = r2\nexit"), {}, {})
    create, data = source.create_attach_with_ebpf_callback, TextData("ab")
    assert source.trigger("5") == 1
    assert errno_of(source.detach_by_id, 1) == 1
    assert create(runner, data, TYPE + 1) == -1
    assert create(runner, data, TYPE) == 1
    assert create(runner, data, TYPE) == -1
    assert source.trigger("5") == 5 + 2 + 3
    assert errno_of(source.detach_by_id, 7) == 1
    assert source.detach_by_id(1) == 0
    assert source.trigger("5") == 1
    assert create(runner, data, TYPE) == 2  # ids are never used again


def test_the_example_runs_and_is_what_the_documentation_shows() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().splitlines() == ["[0, 8]", "1"]
    source = EXAMPLE.read_text()
    assert len(source.splitlines()) < 30
    assert f"```python\n{source}```" in (ROOT / "CONTRIBUTING.md").read_text()


def test_a_type_below_2000_is_not_ones_own() -> None:
    assert errno_of(add_simple_attach, AttachContext(), 1999, lambda *_: 0) == 22


# --- types, links, cookies


def test_a_later_registration_of_a_type_replaces_the_earlier() -> None:
    context, first = context_with(7, 8)
    second = Places()
    context.register_attach_impl((7,), second, TextData.from_string)
    context.attach(print, 7, "seven")
    context.attach(print, 8, "eight")
    assert (first.log, second.log) == (["eight"], ["seven"])


def test_unknown_types_unknown_links_and_refusals_keep_their_numbers() -> None:
    context, places = context_with(7)
    assert errno_of(context.attach, print, 99, "x") == 95
    assert errno_of(context.destroy_link, 12345) == 2
    assert errno_of(context.attach, print, 7, "-17") == 17
    link = context.attach(print, 7, "x")
    places.sticks = 16
    assert errno_of(context.destroy_link, link) == 16
    assert context.links == (link,)  # it is still there
    places.sticks = 0
    assert context.destroy_link(link) == 0
    assert errno_of(context.destroy_link, link) == 2


def test_each_link_has_its_cookie_though_they_share_a_program() -> None:
    context = AttachContext()
    triggers = [add_simple_attach(context, TYPE + i, lambda _, __, run: run(b"")[1]) for i in range(2)]
    timer = context.load(program("call get_attach_cookie\nexit", ContextKind.TIMER), {}, {})
    for i in range(2):
        context.attach(timer, TYPE + i, "", cookie=100 + i)
    assert [t("") for t in triggers] == [100, 101]
    assert [t("") for t in triggers] == [100, 101]


def test_reset_detaches_and_begins_to_count_anew() -> None:
    context, places = context_with(7)
    assert context.attach(print, 7, "a") == FIRST_ID + 1
    context.attach(print, 7, "b")
    context.reset()
    assert not places.live
    assert not context.links
    assert context.attach(print, 7, "c") == FIRST_ID + 1


# --- handlers


@pytest.fixture
def handlers() -> Handlers:
    return Handlers(Session.create("context", ()).region)


def add(handlers: Handlers, attach_type: int, text: str) -> int:
    """A program, a place and a link between them; gives the link's id."""
    number = handlers.add_program("p", 0, 2, bytes(32))
    event = handlers.add_event(attach_type, 0, text)
    link = handlers.add_link(number, event, 0, 0, 5)
    handlers.set_link(link, LinkState.ARMED, sites=1, refused=False)
    return link


def test_handlers_become_links_in_order_and_a_failing_one_is_skipped(handlers: Handlers) -> None:
    context, places = context_with(7, 8)
    kernel = add(handlers, 8, "kernel")
    good = add(handlers, 7, "first")
    bad = add(handlers, 7, "-2")
    lost = add(handlers, 99, "nobody")
    idle = add(handlers, SOFTWARE, "nothing")
    last = add(handlers, 7, "last")
    assert context.init_from_handlers(handlers, lambda entry: entry.name) == 0
    assert places.log == ["first", "last", "kernel"]  # kernels need everything else: they come last
    assert set(context.links) == {kernel, good, last}
    assert context.skipped[bad].errno == 2
    assert context.skipped[lost].errno == 2  # the place of the link has no attacher
    assert context.skipped[idle].errno == 95
    assert context.init_from_handlers(handlers, lambda entry: entry.name) == 0
    assert len(places.log) == 3  # once is enough
    context.destroy_link(good)
    context.init_from_handlers(handlers, lambda entry: entry.name)
    assert places.log[3:] == ["first"]  # a destroyed link can come back


def test_handlers_that_never_stand_still_are_given_up(handlers: Handlers) -> None:
    context, places = context_with(7)
    add(handlers, 7, "x")

    def load(entry: ProgramEntry) -> str:
        handlers.add_program("another", 0, 2, bytes(32))
        return entry.name

    assert errno_of(context.init_from_handlers, handlers, load) == 11
    assert not places.live


def test_handlers_in_a_circle_are_refused() -> None:
    context, _ = context_with(7)
    table = {
        1: Link(1, 2, 3, 0, 0, 0, 0, 0, LinkState.ARMED),
        2: Link(2, 1, 3, 0, 0, 0, 0, 0, LinkState.ARMED),
    }
    assert errno_of(context.instantiate, 1, table, lambda entry: entry) == 1


# --- registered helpers


def test_a_program_calls_a_registered_helper_with_all_its_arguments() -> None:
    seen = []

    def weigh(a: int, b: int, c: int, d: int, e: int) -> int:
        seen.append((a, b, c, d, e))
        return a + 10 * b + 100 * c + 1000 * d - e

    context, _ = context_with(7, helpers={20001: ("weigh", weigh)})
    text = "r6 = 77\nr1 = 1\nr2 = 2\nr3 = 3\nr4 = 4\nr5 = 5\ncall 20001\nr0 += r6\nexit"
    assert context.load(program(text), {}, {})(b"") == (0, 4321 - 5 + 77)
    assert seen == [(1, 2, 3, 4, 5)]


def test_results_of_registered_helpers_are_64_bits_and_the_last_registration_holds() -> None:
    context, _ = context_with(7, helpers={20001: ("first", lambda: 1), 20002: ("minus", lambda: -3)})
    context.register_attach_impl((8,), Places({20001: ("last", lambda: 2)}), TextData.from_string)
    assert context.load(program("call 20001\nexit"), {}, {})(b"") == (0, 2)
    assert context.load(program("call 20002\nexit"), {}, {})(b"") == (0, (1 << 64) - 3)


def test_a_helper_that_nobody_registered_is_refused() -> None:
    with pytest.raises(Unsupported, match="no helper 20001"):
        AttachContext().load(program("call 20001\nexit"), {}, {})


def six(a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    return a + b + c + d + e + f


@pytest.mark.parametrize(("number", "function"), [(1, lambda: 0), (0, lambda: 0), (20001, six)])
def test_helpers_that_cannot_be_are_refused(number: int, function) -> None:
    assert errno_of(CustomHelper.of, number, "h", function) == 22


def test_machine_code_does_not_run_in_the_tracer() -> None:
    helper = CustomHelper.of(20001, "h", MachineCode(b"\xc3", 0))
    assert errno_of(load_here, program("call 20001\nexit"), {}, {}, [helper]) == 95


def test_the_documentation_says_where_the_example_lies() -> None:
    assert re.search(r"tests/examples/lines\.py", (ROOT / "CONTRIBUTING.md").read_text())
