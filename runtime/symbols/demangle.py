"""Names as the source has them: C++ and Rust, by whatever demangler the machine has; opened when first asked.

libstdc++'s own function is called where the library is (1 µs a name), else `c++filt` for all names at once.
Without either, names stay as they are. Sources: Itanium C++ ABI, 3.4; Rust's "legacy" mangling scheme.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Iterable
from functools import cache, lru_cache

_RUST_HASH = re.compile(r"::h[0-9a-f]{16}\Z")
_RUST_LEGACY = re.compile(r"17h[0-9a-f]{16}E(?:\.llvm\.\d+)?\Z")
_ESCAPE = re.compile(r"\$(SP|BP|RF|LT|GT|LP|RP|C|u[0-9a-f]+)\$")
_WORDS = {"SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ","}
_CRATE = re.compile(r"\b(\w+)\[[0-9a-f]+\]")
_TURBOFISH = re.compile(r"::<[^<>]*(?:<[^<>]*>[^<>]*)*>\Z")
_SELF = re.compile(r"<(?:&(?:mut )?)?([^<> ]+)(?: as [^<>]*(?:<[^<>]*>)?)?>")
PREFIXES = ("_Z", "_R", "__Z")
FILTER = "c++filt"
FILTER_TIME = 10  # seconds


def is_mangled(name: str) -> bool:
    """Return whether a name may be a mangled one."""
    return name.startswith(PREFIXES)


@lru_cache(maxsize=4096)
def source_name(name: str) -> str:
    """Return one symbol's name in the source, itself where it has no other."""
    return demangled([name]).get(name, name) if is_mangled(name) else name


def demangled(names: Iterable[str]) -> dict[str, str]:
    """Return what mangled names mean; those that are not understood are left out."""
    wanted = [n for n in names if is_mangled(n)]
    found = _by_library([n for n in wanted if not n.startswith("_R")])
    rest = [n for n in wanted if n not in found]
    if rest:
        found |= _by_filter(rest)
    return {name: _rust(name, text) for name, text in found.items()}


def without_parameters(text: str) -> str:
    """Return a function's name without its parameters and what follows them: `ns::f(int) const` is `ns::f`.

    The parameters begin at the last parenthesis at depth 0 that is not part of `operator()` or
    `(anonymous namespace)`.
    """
    depth, angle, start = 0, 0, -1
    for index, char in enumerate(text):
        if char in "<>" and not text[:index].rstrip("<>=-").endswith("operator"):
            angle += 1 if char == "<" else -1
        elif char == "(" and not angle:
            if depth == 0 and not _is_part_of_name(text, index):
                start = index
            depth += 1
        elif char == ")" and not angle:
            depth -= 1
    return text[:start] if start > 0 else text


def spellings(text: str) -> tuple[str, ...]:
    """Return the forms in which a pattern may mean a demangled name: whole, bare, without a return type.

    Rust's `<krate[1f]::Type as krate[1f]::Trait>::f::<u8>` may also be written `krate::Type::f`.
    """
    bare = without_parameters(text)
    short = _without_type(bare)
    found = [text, bare, short, _without_arguments(short)]
    plain = _CRATE.sub(r"\1", bare)
    if plain != bare or plain.startswith("<") or "::<" in plain:
        plain = _TURBOFISH.sub("", plain)
        found += [plain, _SELF.sub(r"\1", plain)]
    return tuple(dict.fromkeys(found))


def _without_type(text: str) -> str:
    """Return a name without the type in front of it: demanglers write one before functions from templates."""
    angle = 0
    for index in range(len(text) - 1, 0, -1):
        angle += (text[index] == ">") - (text[index] == "<")
        if text[index] == " " and not angle:
            return text if text[:index].endswith("operator") else text[index + 1 :]
    return text


def _without_arguments(text: str) -> str:
    """Return a name without the arguments of its template: `ns::f<int>` is `ns::f`."""
    if not text.endswith(">") or "operator" in text:
        return text
    angle = 0
    for index in range(len(text) - 1, 0, -1):
        angle += (text[index] == ">") - (text[index] == "<")
        if not angle:
            return text[:index]
    return text


def _is_part_of_name(text: str, index: int) -> bool:
    return text.startswith("(anonymous namespace)", index) or (
        text.startswith("()", index) and text[:index].endswith("operator")
    )


def _rust(name: str, text: str) -> str:
    """Finish a Rust name: the hashes of crates go; of the older scheme its own hash and escapes as well."""
    if name.startswith("_R"):
        return _CRATE.sub(r"\1", text)
    if not _RUST_LEGACY.search(name):
        return text
    text = _RUST_HASH.sub("", text.partition(" [clone")[0])
    text = _ESCAPE.sub(lambda found: _WORDS.get(found[1]) or chr(int(found[1][1:], 16)), text)
    return text.replace("..", "::").replace("::_<", "::<").removeprefix("_")


@cache
def _library() -> ctypes.CDLL | None:
    for name in ("libstdc++.so.6", "libc++abi.so.1"):
        try:
            library = ctypes.CDLL(name)
            library.__cxa_demangle.restype = ctypes.c_void_p
            library.__cxa_demangle.argtypes = [ctypes.c_char_p, *[ctypes.c_void_p] * 3]
        except (OSError, AttributeError):
            continue
        return library
    return None


def _by_library(names: list[str]) -> dict[str, str]:
    library = _library() if names else None
    if library is None:
        return {}
    demangle = library.__cxa_demangle
    size, status = ctypes.c_size_t(1 << 12), ctypes.c_int()
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    buffer = libc.malloc(size)  # it is enlarged by realloc when a name needs more
    found: dict[str, str] = {}
    size_at, status_at = ctypes.addressof(size), ctypes.addressof(status)
    for name in names:
        got = demangle(name.encode(), buffer, size_at, status_at)
        if got:
            buffer = got
            found[name] = ctypes.string_at(got).decode("utf-8", "replace")
    libc.free(buffer)
    return found


def _by_filter(names: list[str]) -> dict[str, str]:
    """Ask `c++filt`, which knows both schemes of Rust."""
    try:
        done = subprocess.run(
            [FILTER],
            input="\n".join(names) + "\n",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=FILTER_TIME,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    lines = done.stdout.splitlines()
    if len(lines) != len(names):
        return {}
    return {name: line for name, line in zip(names, lines, strict=True) if name != line}
