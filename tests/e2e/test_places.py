"""Probes at places that are hard to name: other languages, stripped files, versions, other roots, deleted files."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tools.languages import go, has, marked, picker, run, rust, stripped, whole
from tests.tools.target import build
from tests.tools.tracing import Running, Tracer, changed, counts, text_of


def traced(argv: list[str | Path], program: str, *, status: int = 0) -> tuple[dict[str, int], str]:
    """Run a target under a tracer from before its work until after it; its own counts and what was printed."""
    with Running(*argv) as target:
        before = text_of(target.pid)
        with Tracer(("-q", "-p", str(target.pid), "-e", program)) as tracer:
            own = target.work()
            ended = tracer.end()
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == status
    assert ended.status == 0, ended.err
    return own, ended.out


def test_names_of_cpp_in_probes_and_in_output() -> None:
    program = """
        uprobe:shop:shop::inner::f { @f[func] = count(); }
        uprobe:shop:cpp:"shop::inner::f(int, char)" { @one = sum(arg1); }
        uretprobe:shop:shop::till::add { @add = max(retval); }
    """
    _, out = traced([build("shop"), "20"], program)
    assert out == ("@add: 190\n@f[shop::inner::f(double)]: 20\n@f[shop::inner::f(int, char)]: 20\n@one: 20\n")


def test_names_stay_mangled_on_demand() -> None:
    program = "config = { cpp_demangle = false } uprobe:shop:shop::till::add { @[func] = count(); }"
    assert traced([build("shop"), "3"], program)[1] == "@[_ZN4shop4till3addEi]: 3\n"


@pytest.mark.skipif(not has("go"), reason="no go")
@pytest.mark.parametrize(
    "flags", [(), ("-ldflags", "-s -w"), ("-buildmode=pie", "-ldflags", "-s -w")], ids=str
)
def test_go(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Each call counts once, also one whose stack grows; arguments are in Go's registers; returns in place."""
    program = """
        uprobe:till:main.add { @add = count(); @a = sum(arg0); @c = sum(arg2); @text[str(arg3, arg4 + 1)] = count(); }
        uretprobe:till:main.add { @returned = count(); @results = sum(retval); }
        uprobe:till:"main.(*box).Put" { @put = sum(arg1); }
    """
    own, out = traced([go(tmp_path, *flags)], program)
    got = counts(out.encode())
    assert (got["@add:"], got["@returned:"]) == (own["add"], own["add"])
    assert (got["@a:"], got["@c:"], got["@put:"]) == (4 * 4950 + 4950, 700 + 400, 4950)
    assert (got["@text[four]:"], got["@text[xy]:"]) == (100, 400)
    assert got["@results:"] == sum(i + 2 * i + 7 + 4 for i in range(100)) + sum(
        i + g + 1 + 2 for g in range(4) for i in range(100)
    )


@pytest.mark.skipif(not has("rustc"), reason="no rustc")
@pytest.mark.parametrize("mangling", ["v0", "legacy"])
def test_rust(tmp_path: Path, mangling: str) -> None:
    if mangling == "v0" and not has("c++filt"):
        pytest.skip("no c++filt")
    program = """
        uprobe:till:till::shop::Till::add { @add = sum(arg1); }
        uprobe:till:till::shop::generic { @generic = count(); }
        uprobe:till:till::shop::* { @[func] = count(); }
    """
    _, out = traced([rust(tmp_path, mangling)], program)
    got = counts(out.encode())
    assert (got["@add:"], got["@generic:"]) == (4950, 200)
    assert got["@[<till::shop::Till as till::shop::Show>::show]:"] == 100


def test_a_stripped_program_by_address_and_by_packed_symbols(tmp_path: Path) -> None:
    path, symbols = stripped(tmp_path)
    address = next(
        int(line.split()[0], 16)
        for line in subprocess.run(
            ["nm", whole()], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        if line.endswith(" T add")
    )
    program = (
        f"uprobe:plain:func_{address:x} {{ @ = count(); }} uprobe:{path}:{address:#x} {{ @same = count(); }}"
    )
    assert traced([path, "9"], program)[1] == "@: 18\n@same: 18\n"
    packed = tmp_path / "packed.xz"
    subprocess.run(["xz", "-k", str(symbols)], check=True)
    symbols.with_name(f"{symbols.name}.xz").rename(packed)
    run("objcopy", "--add-section", f".gnu_debugdata={packed}", path)
    assert traced([path, "9"], "uprobe:plain:add { @[func] = count(); }")[1] == "@[add]: 18\n"


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picker(tmp_path_factory.mktemp("versions"))


def test_versions_duplicates_and_stubs(versions: Path) -> None:
    program = """
        uprobe:libversions.so:pick { @default = count(); } uprobe:libversions.so:pick@V1 { @one = count(); }
        uprobe:libversions.so:pick@@V3 { @three = count(); } uprobe:libversions.so:old@V1 { @old = count(); }
        uprobe:picker:pick@plt { @stub = count(); } uprobe:picker:old@plt { @oldstub = count(); }
        uprobe:picker:same { @both = count(); } uprobe:picker:same#1 { @first = count(); }
        uretprobe:picker:same#2 { @second = count(); }
    """
    assert traced([versions], program)[1] == (
        "@both: 18\n@default: 12\n@first: 12\n@old: 3\n@oldstub: 3\n@one: 4\n@second: 6\n@stub: 22\n@three: 12\n"
    )


@pytest.mark.parametrize("kind", ["static", "static-pie", "no-pie", "musl", "musl-static"])
def test_programs_linked_in_every_way(tmp_path: Path, kind: str) -> None:
    if "musl" in kind and not has("musl-gcc"):
        pytest.skip("no musl-gcc")
    program = """
        usdt:marked:app:guarded { @guarded = count(); } usdt:marked:app:turn { @marker = sum(arg1); }
        uprobe:marked:turn { @entry = sum(arg1); } uretprobe:marked:turn { @result = sum(retval); }
        uprobe:marked:turn+1 { @inside = count(); }
    """
    out = traced([marked(tmp_path, kind), "20"], program)[1]
    assert out == "@entry: 1330\n@guarded: 20\n@inside: 20\n@marker: 1330\n@result: 1460\n"


def test_a_library_that_was_deleted_meanwhile(versions: Path, tmp_path: Path) -> None:
    """An update takes the file away while the process runs on: its code is read from the process."""
    for name in ("picker", "libversions.so"):
        shutil.copy(versions.with_name(name), tmp_path / name)
    with Running(tmp_path / "picker") as target:
        (tmp_path / "libversions.so").unlink()
        (tmp_path / "libversions.so").write_text("another file")
        with Tracer(
            ("-q", "-p", str(target.pid), "-e", "uprobe:libversions.so:pick { @ = count(); }")
        ) as tracer:
            target.work()
            assert tracer.end().out == "@: 12\n"
        assert target.end() == 0


@pytest.mark.skipif(os.geteuid() != 0 or not has("unshare"), reason="needs root and unshare")
def test_files_of_another_mount_namespace(tmp_path: Path) -> None:
    """The process's own file is meant, not the one that has its path here."""
    path = tmp_path / "plain"
    shutil.copy(build("shapes"), path)
    script = f"mount --bind {build('plain')} {path} && exec {path} 6"
    with Running("unshare", "-m", "--propagation", "private", "sh", "-c", script) as target:
        with Tracer(("-q", "-p", str(target.pid), "-e", f"uprobe:{path}:outer {{ @ = count(); }}")) as tracer:
            target.work()
            ended = tracer.end()
        assert target.end() == 0
    assert ended.out == "@: 6\n"
