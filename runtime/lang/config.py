"""The `config = { }` block and the same variables in the environment: one table of keys.

The environment wins over the block; `BPFTIME_X` wins over `BPFTRACE_X`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runtime.errors import Problem
from runtime.lang import tree
from runtime.lang.source import Source
from runtime.lang.suggest import near

Value = str | int | bool
WORDS = {
    "1": True,
    "0": False,
    "true": True,
    "false": False,
    "on": True,
    "off": False,
    "yes": True,
    "no": False,
}
LICENSES = ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")


def _boolean(value: Value) -> Value:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in WORDS:
        raise ValueError("expected true or false")
    return WORDS[word]


def _number(value: Value) -> Value:
    if (
        isinstance(value, bool)
        or not str(value).isascii()
        or not str(value).isdigit()
        or len(str(value)) > 15
    ):
        raise ValueError("expected a positive integer")
    return int(value)


def _text(value: Value) -> Value:
    return str(value)


def _one_of(*words: str) -> Callable[[Value], Value]:
    def check(value: Value) -> Value:
        word = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
        if word not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return word

    return check


@dataclass(frozen=True, slots=True)
class Key:
    """One configuration variable: its default and how a value is checked (ValueError: it is wrong)."""

    name: str
    default: Value
    check: Callable[[Value], Value]


_UNSTABLE = _one_of("error", "warn", "enable", "0", "1", "true", "false")
KEYS = {
    key.name: key
    for key in (
        Key(
            "cache_user_symbols",
            "PER_PID",
            _one_of("PER_PID", "PER_PROGRAM", "NONE", "0", "1", "true", "false"),
        ),
        Key("cpp_demangle", True, _boolean),
        Key("lazy_symbolication", True, _boolean),
        Key("license", "GPL", _one_of(*LICENSES)),
        Key("log_size", 1000000, _number),
        Key("max_bpf_progs", 1000000, _number),
        Key("max_cat_bytes", 10240, _number),
        Key("max_map_keys", 4096, _number),
        Key("max_probes", 1000000, _number),
        Key("max_strlen", 1024, _number),
        Key("missing_probes", "error", _one_of("error", "warn", "ignore")),
        Key("on_stack_limit", 32, _number),
        Key("perf_rb_pages", 0, _number),
        Key("print_maps_on_exit", True, _boolean),
        Key("show_debug_info", True, _boolean),
        Key("stack_mode", "bpftrace", _one_of("bpftrace", "perf", "raw", "build_id")),
        Key("str_trunc_trailer", "..", _text),
        Key("use_blazesym", True, _boolean),
        Key("unstable_tseries", "warn", _UNSTABLE),
        Key("unstable_dw_ustack", "warn", _UNSTABLE),
        Key("unstable_typeinfo", "error", _UNSTABLE),
        Key("unstable_import_statement", "error", _UNSTABLE),
    )
}
RENAMED = {
    "strlen": "max_strlen",
    "no_cpp_demangle": "cpp_demangle",
    "cat_bytes_max": "max_cat_bytes",
    "map_keys_max": "max_map_keys",
}
WITHOUT_EFFECT = frozenset(
    ("symbol_source", "max_type_res_iterations",
     "unstable_addr", "unstable_import", "unstable_macro", "unstable_map_decl")
)  # fmt: skip
ENVIRONMENT_ONLY = frozenset(["btf", "kernel_build", "kernel_source", "vmlinux"])
STRLEN_MOST = 1 << 20  # bytes; one string, as large as a frame can be


@dataclass(frozen=True, slots=True)
class Config:
    """Values by key name; `warnings` are messages with a place."""

    values: Mapping[str, Value]
    warnings: tuple[Problem, ...] = ()

    def number(self, name: str) -> int:
        """Value of an integer key."""
        return int(self.values[name])

    def text(self, name: str) -> str:
        """Value of a text key."""
        return str(self.values[name])

    def flag(self, name: str) -> bool:
        """Value of a boolean key."""
        return bool(self.values[name])


def read_config(source: Source, settings: list[tree.Setting], environment: Mapping[str, str]) -> Config:
    """Combine defaults, block and environment.

    Raises:
        Problem: an unknown key or a value that does not fit.
    """
    values: dict[str, Value] = {name: key.default for name, key in KEYS.items()}
    warnings: list[Problem] = []
    for setting in settings:
        _apply(source, setting, values, warnings)
    for key in KEYS.values():
        for prefix in ("BPFTRACE_", "BPFTIME_"):
            variable = prefix + key.name.upper()
            if variable in environment:
                values[key.name] = _from_environment(key, variable, environment[variable])
    if not 1 <= int(values["max_strlen"]) <= STRLEN_MOST:
        raise Problem(f"max_strlen must be 1 to {STRLEN_MOST}, not {values['max_strlen']}")
    return Config(values, tuple(warnings))


def _from_environment(key: Key, variable: str, text: str) -> Value:
    return _checked(key, text, lambda why: Problem(f"{variable}: {why}"))


def _checked(key: Key, value: Value, problem: Callable[[str], Problem]) -> Value:
    try:
        return key.check(value)
    except ValueError as error:
        raise problem(f"Invalid value for {key.name}: {error}") from None


def _apply(source: Source, setting: tree.Setting, values: dict[str, Value], warnings: list[Problem]) -> None:
    name = setting.key.lower().removeprefix("bpftrace_").removeprefix("bpftime_")
    value = setting.value
    if name in WITHOUT_EFFECT:
        warnings.append(source.problem(setting.at, f"{name} is deprecated and has no effect"))
        return
    if name in RENAMED:
        new = RENAMED[name]
        warnings.append(source.problem(setting.at, f"{name} has been renamed, please use {new}"))
        if name == "no_cpp_demangle":
            value = not _checked(KEYS[new], value, lambda why: source.problem(setting.value_at, why))
        name = new
    if name in ENVIRONMENT_ONLY:
        raise source.problem(setting.at, f"{name} can only be set as an environment variable")
    if name not in KEYS:
        raise source.problem(setting.at, f"{setting.key}: not a known configuration option", near(name, KEYS))
    values[name] = _checked(KEYS[name], value, lambda why: source.problem(setting.value_at, why))
