"""Runs of ring records that look alike, found and taken as a whole: one by one costs more than decoding.

A record is `u32 length and flags, u32 tag`, its payload, padding to 8. The low bits of a tag follow from the
record's position, so the headers of a run are an arithmetic series once that is taken out of them.
"""

from __future__ import annotations

from runtime.types import RECORD_HEAD, Run

TAG_BITS = 22
TAG = (1 << TAG_BITS) - 1
EPOCH = (
    1 << 25
)  # bytes: within such a stretch the tags of records count up, and the rest of a tag is constant
FIRST, GROWTH = 64, 8  # records looked at first, and how many times more after each success
LEAST = 8  # fewer are no run


def run_at(chunk: bytes, at: int, position: int, secret: int, limit: int) -> Run | None:
    """Find the run that begins at an offset of a copy of the ring's data; None where it is none.

    `position`: that of the first byte of the copy. `limit`: records at most.
    """
    length = int.from_bytes(chunk[at : at + 4], "little")
    stride = RECORD_HEAD + (length + 7 & ~7)
    if length >= 1 << 30 or at + LEAST * stride > len(chunk):
        return None
    if chunk[at + stride : at + stride + 4] != chunk[at : at + 4]:
        return None
    place = position + at
    left = (EPOCH - place % EPOCH + stride - 1) // stride
    most = min((len(chunk) - at) // stride, left, limit)
    words = memoryview(chunk)[: len(chunk) & ~7].cast("Q")
    count, step = 0, FIRST
    while count < most:
        part = min(step, most - count)
        good = _matching(words, at + count * stride, place + count * stride, (length, stride, secret, part))
        count += good
        if good < part:
            break
        step *= GROWTH
    return Run(chunk, at, count, stride, length) if count >= LEAST else None


def _matching(words: memoryview, at: int, place: int, shape: tuple[int, int, int, int]) -> int:
    """Count the headers from an offset on that are those of finished records of one length."""
    length, stride, secret, part = shape
    column = words[at // 8 : at // 8 + part * stride // 8 : stride // 8].tobytes()
    constant = ((place >> 26 ^ secret) & TAG) << 32
    # All headers at once, as one large number: the producers' slots taken out, the constant part of tags too.
    mask = int.from_bytes((TAG << 32 | 0xFFFFFFFF).to_bytes(8, "little") * part, "little")
    flip = int.from_bytes(constant.to_bytes(8, "little") * part, "little")
    plain = (int.from_bytes(column, "little") & mask) ^ flip
    found = memoryview(plain.to_bytes(8 * part, "little")).cast("Q").tolist()
    first, step = (place >> 3 & TAG) << 32 | length, (stride >> 3) << 32
    wanted = list(range(first, first + part * step, step))
    if found == wanted:
        return part
    return next(index for index, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1])
