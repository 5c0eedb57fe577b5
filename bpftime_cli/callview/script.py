"""The script that records calls: programs for their beginnings and ends, or three for all that only count."""

from __future__ import annotations

from collections.abc import Sequence

from bpftime_cli.callview.copies import Limits, Source, copy_of
from bpftime_cli.callview.shapes import ARGUMENTS, Entry, Shape

ENTER, EXIT = "tracepoint:raw_syscalls:sys_enter", "tracepoint:raw_syscalls:sys_exit"
BEGUN, ENDED = 0, 1  # what a record tells of: a call that begins, one that has ended
OPEN = 16384  # calls of one entry that are kept: those that never end, as execve does, make room for new ones
LISTING = 'str_trunc_trailer = "..."; max_strlen = '
COUNTS = "max_map_keys = 65536; print_maps_on_exit = false"


def entries_of(shapes: Sequence[Shape]) -> list[Entry]:
    """Return what begins calls of all these shapes, each once: the first programs of the script."""
    return list(dict.fromkeys(shape.entry for shape in shapes))


def script_of(shapes: Sequence[Shape], limits: Limits, *, counts: bool = False) -> str:
    """Return the script that prints a tuple for each call of some shapes, and where wanted counts all.

    First the programs of `entries_of`, then one for each shape that ends. The tuple: shape (where a call
    begins, the first with its entry), BEGUN or ENDED, process, thread, call, start and duration in ns,
    result, six arguments, copies.
    """
    entries = entries_of(shapes)
    settings = [f"{LISTING}{limits.text + 4}"] * bool(shapes) + [COUNTS] * counts
    parts = [f"config = {{ {'; '.join(settings)} }}"]
    parts += [f"let @{_map(n)} = lruhash({OPEN});" for n, entry in enumerate(entries) if entry.keeps]
    first = {shape.entry: number for number, shape in reversed(list(enumerate(shapes)))}
    parts += [_begin(number, entry, first[entry], limits) for number, entry in enumerate(entries)]
    parts += [
        _end(entries.index(shape.entry), number, shape, limits)
        for number, shape in enumerate(shapes)
        if shape.ends
    ]
    return "\n".join([*parts, *([COUNTING] if counts else [])])


def _begin(number: int, entry: Entry, shape: int, limits: Limits) -> str:
    """Return the program of one entry."""
    words = [f"$a{index}" for index in range(ARGUMENTS)]
    load = "".join(f" $a{index} = args.args[{index}];" for index in range(ARGUMENTS))
    copies = [copy_of(Source(c, words, "0", limits)) for c in entry.captures]
    load += "".join(before for before, _ in copies)
    values = ", ".join([*words, *(value for _, value in copies)])
    keep = f" @{_map(number)}[tid, args.id] = (nsecs, {values});" if entry.keeps else ""
    begun = (
        f" print(({shape}, {BEGUN}, pid, tid, args.id, nsecs, (uint64)0, (int64)0, {values}));"
        if entry.begins
        else ""
    )
    return f"{ENTER} {{{load}{keep}{begun} }}"


def _end(entry: int, number: int, shape: Shape, limits: Limits) -> str:
    """Return the program that ends calls of one shape."""
    kept = [f"$e.{1 + index}" for index in range(ARGUMENTS + len(shape.entry.captures))]
    copies = [copy_of(Source(c, kept, "$r", limits)) for c in shape.captures if c.after]
    values = ", ".join([*kept, *(value for _, value in copies)])
    wanted = "$e.0 != 0" + (" && $r != 0" if shape.forks else "")
    said = (
        "".join(before for before, _ in copies)
        + f" print(({number}, {ENDED}, pid, tid, args.id, $e.0, $ns, $r, {values}));"
    )
    said = f" if ($ns >= {limits.slow}) {{{said} }}" if limits.slow else said
    return (
        f"{EXIT} {{ $e = @{_map(entry)}[tid, args.id]; $r = args.ret; $ns = (uint64)(nsecs - $e.0);"
        f" if ({wanted}) {{{said} $gone = delete(@{_map(entry)}, (tid, args.id)); }} }}"
    )


def _map(number: int) -> str:
    return f"call{number}"


COUNTING = f"""{ENTER} {{ @began[tid] = nsecs; }}
{EXIT} {{
  $began = @began[tid];
  if ($began != 0) {{
    $ns = (uint64)(nsecs - $began);
    @calls[args.id] = count();
    @total[args.id] = sum($ns);
    @longest[args.id] = max($ns);
    @spread[args.id] = hist($ns, 3);
    if (args.ret < 0 && args.ret >= -4095) {{ @errors[args.id] = count(); }}
  }}
}}
"""
