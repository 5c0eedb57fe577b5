"""Option values that several commands share, checked once."""

from __future__ import annotations

import re

UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
FAILURES = ("lost", "empty", "warning")


def parse_duration(text: str, option: str) -> float:
    """Return seconds from `500ms`, `10s`, `2m`, `1h` or a bare number of seconds; 0 for an empty text.

    Raises:
        UsageProblem: it is none of these.
    """
    from runtime.errors import UsageProblem

    if not text:
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text)
    if not match or not float(match[1]):
        raise UsageProblem(f"{option}: not a time: '{text}'", hint="write 500ms, 10s, 2m or 1h")
    return float(match[1]) * UNITS[match[2]]


def parse_fail_on(text: str) -> frozenset[str]:
    """Return the conditions of `--fail-on`.

    Raises:
        UsageProblem: one is unknown.
    """
    words = frozenset(w for w in text.split(",") if w)
    for word in sorted(words):
        check_choice("--fail-on", word, FAILURES, "Unknown condition")
    return words


def check_pattern(text: str) -> str:
    """Return a regular expression as it was given.

    Raises:
        UsageProblem: it is none.
    """
    from runtime.errors import UsageProblem

    try:
        re.compile(text)
    except re.error as error:
        raise UsageProblem(f"--probe-filter: not a regular expression: {error}") from None
    return text


def check_choice(option: str, value: str, choices: tuple[str, ...], text: str) -> None:
    """Refuse a value that is not among the choices.

    Raises:
        UsageProblem: with the list of choices.
    """
    from runtime.errors import UsageProblem

    if value not in choices:
        raise UsageProblem(f'{text} "{value}"', hint=f"{option} takes {', '.join(choices)}")
