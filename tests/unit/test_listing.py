"""The listing of a program is what the assembler reads: nothing is lost between the two."""

from __future__ import annotations

import pytest

from runtime.ebpf.asm import assemble
from runtime.ebpf.listing import listing
from runtime.lang import compile_script

TEXTS = [
    "r1 = 5\nw2 += w3\nr0 s/= r1\nw0 s%= 7\nr1 = -r1\nr1 = (s8) r2\nr1 = be16 r1\nr3 = bswap64 r3\nexit",
    "r1 = 0x123456789 ll\nr2 = map[counts] ll\nr3 = value[.data]+8 ll\nr0 = *(u32 *)(r1 + 4)\nexit",
    "*(u64 *)(r10 - 8) = r1\n*(u16 *)(r10 - 16) = -3\nr4 = *(s16 *)(r10 - 16)\nexit",
    "lock fetch_add u64 (r10 - 8) r1\nlock cmpxchg u32 (r10 - 8) r2\nlock add u64 (r10 - 8) r3\nexit",
    "top: if r1 s> 5 goto out\nif w2 & 3 goto out\ngoto top\nout: may_goto top\ncall ktime_get_ns\ncallx r3\nexit",
]


def _round(code: bytes, maps: dict[int, str]) -> bytes:
    return assemble("\n".join(text for _, text in listing(code, maps))).code


@pytest.mark.parametrize("text", TEXTS)
def test_a_listing_assembles_to_the_same_bytes(text: str) -> None:
    made = assemble(text)
    assert _round(made.code, made.map_refs) == made.code


def test_compiled_scripts_can_be_listed() -> None:
    script = compile_script(
        'BEGIN { @[1, "a"] = hist(5); printf("%d %s\\n", 1, str(0)); @x = avg(3); exit(); }'
    )
    for program in script.object.programs:
        assert _round(program.insns, program.map_refs) == program.insns
