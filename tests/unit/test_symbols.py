"""Where function names come from: versions, stubs, separate files, packed symbols, unwind entries, Go's table."""

from __future__ import annotations

import lzma
import os
from pathlib import Path

import pytest

from runtime.errors import AttachProblem
from runtime.symbols import debugfiles
from runtime.symbols.demangle import demangled, spellings
from runtime.symbols.elf import ElfFile
from runtime.symbols.functions import FunctionPoint, find
from runtime.symbols.gotable import go_functions, is_go
from runtime.symbols.modules import mapped_file, modules_of
from runtime.symbols.ranges import ranges_of
from tests.fuzz import symbols as fuzz
from tests.tools.languages import go, has, picker, run, stripped, whole
from tests.tools.target import build
from tests.tools.tracing import Running


def places(path: Path, text: str) -> list[FunctionPoint]:
    return find(ElfFile(path), text)


def starts(path: Path, text: str) -> list[int]:
    return [p.address for p in places(path, text)]


# --- separate symbols


def test_a_stripped_file_has_no_names_of_its_own(tmp_path: Path) -> None:
    path, _ = stripped(tmp_path)
    with pytest.raises(AttachProblem, match="no symbol 'add'") as caught:
        places(path, "add")
    assert "func_ADDRESS" in caught.value.hint


def test_symbols_are_found_by_build_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, symbols = stripped(tmp_path)
    build_id = ElfFile(path).build_id
    monkeypatch.setattr(debugfiles, "GLOBAL", str(tmp_path / "debug"))
    place = tmp_path / "debug" / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    place.parent.mkdir(parents=True)
    symbols.rename(place)
    assert places(path, "add") == places(whole(), "add")


def test_symbols_of_another_build_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = stripped(tmp_path)
    build_id = ElfFile(path).build_id
    monkeypatch.setattr(debugfiles, "GLOBAL", str(tmp_path / "debug"))
    place = tmp_path / "debug" / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    place.parent.mkdir(parents=True)
    run("objcopy", "--only-keep-debug", whole("-DOTHER"), place)
    if ElfFile(place).build_id == build_id:
        run("objcopy", "--only-keep-debug", build("shapes", "-Wl,--build-id=sha1"), place)
    with pytest.raises(AttachProblem, match="no symbol"):
        places(path, "add")


@pytest.mark.parametrize("folder", [".", ".debug"])
def test_symbols_are_found_by_a_link_with_the_right_checksum(tmp_path: Path, folder: str) -> None:
    path, symbols = stripped(tmp_path, "-Wl,--build-id=none")
    run("objcopy", f"--add-gnu-debuglink={symbols}", path)
    assert starts(path, "func_1*") != []
    beside = tmp_path / "there" / folder / "plain.debug"
    beside.parent.mkdir(parents=True)
    symbols.rename(beside)
    moved = path.rename(tmp_path / "there" / "plain")
    assert starts(moved, "add") == starts(whole("-Wl,--build-id=none"), "add")


def test_a_link_with_a_wrong_checksum_leads_nowhere(tmp_path: Path) -> None:
    path, symbols = stripped(tmp_path, "-Wl,--build-id=none")
    run("objcopy", f"--add-gnu-debuglink={symbols}", path)
    symbols.write_bytes(symbols.read_bytes() + b"\0")
    symbols.rename(tmp_path / "plain.debug")
    with pytest.raises(AttachProblem, match="no symbol"):
        places(path, "add")


def test_packed_symbols_are_read(tmp_path: Path) -> None:
    path, symbols = stripped(tmp_path)
    packed = tmp_path / "packed.xz"
    packed.write_bytes(lzma.compress(symbols.read_bytes()))
    run("objcopy", "--add-section", f".gnu_debugdata={packed}", path)
    assert places(path, "six") == places(whole(), "six")


@pytest.mark.parametrize("data", [b"", b"no xz", lzma.compress(b"no elf"), lzma.compress(b"\x7fELF" * 40)])
def test_damaged_packed_symbols_are_as_none(tmp_path: Path, data: bytes) -> None:
    path, _ = stripped(tmp_path)
    packed = tmp_path / "packed.xz"
    packed.write_bytes(data or b"\0")
    run("objcopy", "--add-section", f".gnu_debugdata={packed}", path)
    with pytest.raises(AttachProblem, match="no symbol"):
        places(path, "six")


def test_debuginfod_caches_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, symbols = stripped(tmp_path)
    monkeypatch.setenv("DEBUGINFOD_CACHE_PATH", str(tmp_path / "cache"))
    place = tmp_path / "cache" / ElfFile(path).build_id / "debuginfo"
    place.parent.mkdir(parents=True)
    symbols.rename(place)
    assert places(path, "outer") == places(whole(), "outer")


def test_code_without_a_name_is_found_by_its_address(tmp_path: Path) -> None:
    path, _ = stripped(tmp_path)
    [known] = places(whole(), "add")
    [point] = places(path, f"func_{known.address:x}")
    assert (point.address, point.size) == (known.address, known.size)
    assert known.address in starts(path, "*")
    assert places(path, f"{known.address:#x}")[0].address == known.address
    with pytest.raises(AttachProblem, match="no function starts at"):
        places(path, f"func_{known.address + 1:x}")


def test_stubs_and_moved_parts_are_no_functions(tmp_path: Path) -> None:
    path, _ = stripped(tmp_path)
    stubs = {p.address for p in places(path, "*@plt")}
    assert stubs
    assert not stubs & set(starts(path, "*"))


# --- versions, duplicates, stubs


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picker(tmp_path_factory.mktemp("versions"))


def test_versions(versions: Path) -> None:
    library = versions.with_name("libversions.so")
    one, two, three = (starts(library, f"pick_{n}") for n in (1, 2, 3))
    assert starts(library, "pick") == three
    assert starts(library, "pick@V1") == one
    assert starts(library, "pick@V2") == two
    assert starts(library, "pick@@V3") == starts(library, "pick@V3") == three


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("old", "old has 2 versions .* none is the default", "name one: old@V1 or old@V2"),
        ("pick@V9", "no version 'V9' of pick", "it has pick@V1, pick@V2 or pick@V3"),
        ("pock@V1", "no symbol 'pock@V1'", ""),
    ],
)
def test_versions_that_are_not_clear(versions: Path, text: str, said: str, hint: str) -> None:
    with pytest.raises(AttachProblem, match=said) as caught:
        places(versions.with_name("libversions.so"), text)
    assert hint in caught.value.hint


def test_local_functions_of_one_name(versions: Path) -> None:
    both = starts(versions, "same")
    assert len(both) == 2
    assert [starts(versions, "same#1"), starts(versions, "same#2")] == [[a] for a in both]
    with pytest.raises(AttachProblem, match="no symbol"):
        places(versions, "same#3")


def test_stubs_have_the_names_of_what_they_call(versions: Path) -> None:
    names = {p.name for p in places(versions, "*@plt")}
    assert {"puts@plt", "printf@plt", "pick@plt", "old@plt", "fflush@plt"} <= names


# --- names of other languages


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("shop::inner::f", {"_ZN4shop5inner1fEd", "_ZN4shop5inner1fEic"}),
        ("shop::inner::f(int, char)", {"_ZN4shop5inner1fEic"}),
        ("cpp:shop::inner::f(double)", {"_ZN4shop5inner1fEd"}),
        ("shop::till::add", {"_ZN4shop4till3addEi"}),
        ("shop::till::operator+", {"_ZNK4shop4tillplEi"}),
        ("shop::till::operator()", {"_ZNK4shop4tillclEi"}),
        ("shop::twice", {"_ZN4shop5twiceIdEET_S1_", "_ZN4shop5twiceIiEET_S1_"}),
        ("shop::twice<double>", {"_ZN4shop5twiceIdEET_S1_"}),
        ("cpp:*inner::*", {"_ZN4shop5inner1fEd", "_ZN4shop5inner1fEic"}),
        ("*hidden", {"_ZN12_GLOBAL__N_16hiddenEi"}),
        ("_ZN4shop4till3add*", {"_ZN4shop4till3addEi"}),
    ],
)
def test_names_of_cpp(text: str, names: set[str]) -> None:
    path = build("shop")
    found = {s for p in places(path, text) for s in [p.name]}
    assert {n.partition(".")[0] for n in found} == names


def test_near_names_of_cpp() -> None:
    with pytest.raises(AttachProblem) as caught:
        places(build("shop"), "shop::till::ad")
    assert "shop::till::add" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("ns::f(int, char) const", ["ns::f"]),
        ("std::function<void (int)>::operator()(int) const", ["std::function<void (int)>::operator()"]),
        ("(anonymous namespace)::g(long)", ["(anonymous namespace)::g"]),
        ("operator<(A const&, B)", ["operator<"]),
        ("void f<int (*)(int)>(int)", ["void f<int (*)(int)>", "f<int (*)(int)>", "f"]),
        ("A::operator->() const", ["A::operator->"]),
        ("operator new(unsigned long)", ["operator new"]),
        ("main", []),
        ("<r::shop::Till as r::shop::Show>::show", ["r::shop::Till::show"]),
        ("r[4dd8]::shop::generic::<&str>", ["r::shop::generic"]),
    ],
)
def test_spellings(text: str, forms: list[str]) -> None:
    found = spellings(text)
    assert found[0] == text
    assert set(forms) <= set(found)


def test_names_that_are_none_are_left_out() -> None:
    assert demangled(["main", "_Zno", "_Z", "_R", "_ZN1a1bEv"]) == {"_ZN1a1bEv": "a::b()"}


@pytest.mark.skipif(not has("go"), reason="no go")
def test_a_stripped_go_program_tells_its_functions(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    full, bare = go(tmp_path), go(tmp_path / "bare", "-ldflags", "-s -w")
    assert is_go(ElfFile(full))
    assert not ElfFile(bare).functions
    assert not is_go(ElfFile(build("plain")))
    for name in ("main.add", "main.(*box).Put", "main.main"):
        [wanted], [found] = places(full, name), places(bare, name)
        assert (found.address, found.size) == (wanted.address, wanted.size)
    assert len(go_functions(ElfFile(bare))) > 1000


# --- what is mapped but has no file any more


def test_a_file_is_put_together_from_what_is_mapped() -> None:
    """An ordinary user may not open the kernel's link to a deleted file: memory has all that is needed."""
    with Running(build("plain")) as target:
        for module in modules_of(target.pid):
            found = mapped_file(target.pid, module.text[0].start)
            known = {s.name for s in module.elf.symbols() if s.version or not module.elf.has_symtab}
            assert known <= {s.name for s in found.functions} | {s.name for s in found.symbols()}
            assert found.build_id == module.elf.build_id
            assert ranges_of(found).starts() == ranges_of(module.elf).starts()
            assert found.segments == module.elf.segments


def test_a_file_without_section_headers_has_its_exported_functions(tmp_path: Path) -> None:
    library = Path(next(m.path for m in modules_of(os.getpid()) if "libc.so" in m.path))
    data = bytearray(library.read_bytes())
    data[40:48] = bytes(8)  # e_shoff
    data[60:64] = bytes(4)  # e_shnum, e_shstrndx
    cut = tmp_path / "libcut.so"
    cut.write_bytes(data)
    assert starts(cut, "qsort") == starts(library, "qsort")
    assert ElfFile(cut).functions


def test_damaged_files_raise_problems_only() -> None:
    """A file may be anything: `python -m tests.fuzz symbols` goes on for longer."""
    assert "files" in fuzz.run(2.0, 20261)
