"""Near names for a wrong one: the text of a `did you mean` hint."""

from __future__ import annotations

from collections.abc import Iterable


def near(word: str, names: Iterable[str], form: str = "{}") -> str:
    """Give `did you mean x, y or z?` for names like the word, or an empty text.

    `form` dresses each name, for example `{}()`.
    """
    import difflib  # lazy: only on the way to an error message

    found = difflib.get_close_matches(word, list(names), n=3, cutoff=0.7)
    if not found:
        return ""
    dressed = [form.format(name) for name in found]
    listed = dressed[0] if len(dressed) == 1 else ", ".join(dressed[:-1]) + " or " + dressed[-1]
    return f"did you mean {listed}?"
