"""Fuzz the language: random splices of tokens from valid scripts. Only a `Problem` may come out.

`attempt(seed)` is one try; a crash shows the seed and the text.
"""

from __future__ import annotations

import random
import re
import time
import tomllib
from pathlib import Path

from bpftime_cli import scripts
from runtime.errors import Problem, Problems
from runtime.lang import Options, Script, compile_script

CORPUS = (
    "uprobe:libc.so.6:malloc { @[arg0] = count(); }",
    'begin { printf("%d %s %x\\n", 5, comm, pid); @h = hist(5, 2); @a[1, "x", (2, 3)] = count(); exit(3); }',
    "uprobe:a:b /arg0 > 5 && pid == 3/ { @s[tid] = nsecs; } uretprobe:a:b /@s[tid]/"
    " { @ = hist(nsecs - @s[tid]); delete(@s, tid); }",
    "interval:s:1 { print(@x, 3, 2); clear(@x); zero(@y); } uprobe:a:b { @x[str(arg0, 8), pid] = sum(arg1);"
    " @y = max(arg0); @z = lhist(arg0, 0, 1000, 10); @w[comm] = avg((int32)arg1); }",
    'begin { $x = 1; $t = (1, "abc", (int64)5); let $u : uint8 = 3; $x += $t.0; print($t.1); print(($t, 2));'
    " for ($i : 0..10) { @q[$i] = $i * 2; if ($i == 3) { continue; } } while ($x < 10) { $x++; break; }"
    ' unroll(3) { @u -= 2; } @v = $x > 5 ? "yes" : "no"; if (comm == "bash") { print(comm) }'
    " else { return } }",
    'config = { max_strlen = 64; missing_probes = "warn" } let @m = hash(10); begin { @m[1] = 1; }',
    "macro f($a, @b) { $a + 1 } fn g($a : int64, $b : struct foo*) : int64 { return $a; }",
    "struct foo { int a; }; interval:hz:10 { print(1) }",
    "uprobe:a:b { $r = (a = 1, b = 2); print($r.a); print(sizeof(uint32)); print(sizeof((1, 2))); @x++;"
    " ++@y[1]; $p = (uint32 *)arg0; print(*$p); print($p[2]); _ = strlen(comm); print(-5 >> 1);"
    " print(~1 | 2 ^ 3); }",
    "self:signal:SIGUSR1, kprobe:f, usdt:x:y { print($1); print(str($2)); }",
    'uprobe:a:b { time("%H"); @c = (int64)@d; @d = count() }',
)
TOKEN = re.compile(r'\s+|"[^"]*"|[\w$@#]+|<<=|>>=|\+\+|--|->|\.\.|&&|\|\||[=!<>]=|.')
EXTRA = [
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ";",
    "-",
    "/",
    '"',
    "$",
    "@",
    "1e6",
    "0x",
    "\\",
    "//",
    "/*",
    "é",
    "\0",
    "\udcff",
]
CASES = Path(__file__).parent.parent / "cases" / "lang"
LONGEST = 10.0  # seconds that one text may take on a loaded machine


def texts() -> list[str]:
    """Give all scripts that we have: those above, the ready ones, and those of the cases, good and bad."""
    ready = [path.read_text() for name in scripts.names() if (path := scripts.find(name))]
    cases = [tomllib.loads(file.read_text())["case"] for file in sorted(CASES.glob("*.toml"))]
    return [*CORPUS, *ready, *(case["program"] for group in cases for case in group if "program" in case)]


TOKENS = [TOKEN.findall(text) for text in texts() if text]


def mutate(random_source: random.Random) -> str:
    """Make a text that is nearly a script."""
    tokens = list(random_source.choice(TOKENS))
    for _ in range(random_source.choice((1, 1, 2, 3, 6))):
        at = random_source.randrange(len(tokens) + 1)
        match random_source.randrange(4):
            case 0:
                del tokens[at : at + random_source.randint(1, 4)]
            case 1:
                tokens.insert(at, random_source.choice(EXTRA))
            case 2:
                other = random_source.choice(TOKENS)
                start = random_source.randrange(len(other))
                tokens[at:at] = other[start : start + random_source.randint(1, 12)]
            case _:
                if tokens:
                    tokens[at % len(tokens)] = random_source.choice(random_source.choice(TOKENS))
    return "".join(tokens)


def attempt(seed: int) -> Script | None:
    """Compile one mutated text; give the script if it is one."""
    text = mutate(random.Random(seed))
    start = time.monotonic()
    try:
        return compile_script(text, "fuzz", Options(params=("5", "a b")))
    except Problem as problem:
        for one in problem.items if isinstance(problem, Problems) else [problem]:
            assert str(one)
            assert one.span is not None, f"seed {seed}: no place for '{one}'\n{text}"
        return None
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error!r}\n{text}") from error
    finally:
        assert time.monotonic() - start < LONGEST, f"seed {seed} took too long\n{text}"


def run(seconds: float, seed: int) -> dict[str, int]:
    """Try mutated texts until the time is over; a crash raises with its seed."""
    end = time.monotonic() + seconds
    seen = {"compiled": 0, "refused": 0}
    while time.monotonic() < end:
        seen["refused" if attempt(seed) is None else "compiled"] += 1
        seed += 1
    return seen
