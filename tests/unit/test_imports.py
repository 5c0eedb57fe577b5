"""Imports: what is merged, in which order, and what is refused; errors name the imported file."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import Problem
from runtime.lang import Script, compile_script
from tests.tools.script import Session


def compiled(folder: Path, text: str, **files: str) -> Script:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return compile_script(text, str(folder / "main.bt"))


def printed(script: Script) -> str:
    session = Session(script)
    session.run([])
    return session.out.decode()


def test_parts_are_merged_and_dependencies_run_first(tmp_path: Path) -> None:
    script = compiled(
        tmp_path,
        'import "lib.bt"; import "d"; begin { print("main"); print(twice(4)); put(@x); }',
        lib_bt='#!/usr/bin/env bpftime\nimport "d/one.bt"; macro twice(x) { x * 2 } begin { print("lib"); }',
        d__one_bt='macro put(@m) { @m = 7; } begin { print("one"); }',
        d__two_bt='begin { print("two"); }',
        d__notes_txt="not a script",
    )
    assert printed(script) == "one\nlib\ntwo\nmain\n8\n@x: 7\n"


def test_each_file_is_taken_once_even_in_a_circle(tmp_path: Path) -> None:
    script = compiled(
        tmp_path,
        'import "a.bt"; import "b.bt"; begin { print(0); }',
        a_bt='import "b.bt"; begin { print(1); }',
        b_bt='import "a.bt"; begin { print(2); }',
    )
    assert printed(script) == "2\n1\n0\n"


def test_an_error_names_the_imported_file_and_its_line(tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        compiled(tmp_path, 'import "a.bt"; begin { }', a_bt="\n\nbegin { print($x); }\n")
    assert str(caught.value.span) == f"{tmp_path}/a.bt:3:15-17"
    assert caught.value.span is not None
    assert caught.value.span.text == "begin { print($x); }"


def test_a_syntax_error_in_an_imported_file_is_told_there(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="expected") as caught:
        compiled(tmp_path, 'import "a.bt"; begin { }', a_bt="\nbegin { 1 2 }")
    assert caught.value.span is not None
    assert (caught.value.span.file, caught.value.span.line) == (f"{tmp_path}/a.bt", 2)


REFUSED = {
    "missing": ('import "no.bt"; begin { }', "failed to import .*No such file"),
    "other kinds": ('import "a.txt"; begin { }', "only .bt and .h files"),
    "config": ('import "c.bt"; begin { }', "config is only allowed in the main script"),
    "after a probe": ('begin { } import "c.bt";', "import must appear before"),
    "no name": ("import 5; begin { }", "expected string after import"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    text, message = REFUSED[name]
    with pytest.raises(Problem, match=message):
        compiled(tmp_path, text, a_txt="", c_bt="config = { max_strlen = 9 } begin { }")


def test_a_folder_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "a.bt").write_text("begin { }")
    with pytest.raises(Problem, match="everybody may write there"):
        compiled(tmp_path, 'import "shared/a.bt"; begin { }')
