"""The script that records calls: two programs a shape, or three for all calls when they are only counted."""

from __future__ import annotations

from collections.abc import Iterable

from bpftime_cli.callview.shapes import ARGUMENTS, ARGV, Capture, Shape

ENTER, EXIT = "tracepoint:raw_syscalls:sys_enter", "tracepoint:raw_syscalls:sys_exit"
BEGUN, ENDED = 0, 1  # what a record tells of: a call that begins, one that has ended
LENGTH_OF = 'str_trunc_trailer = "..."; max_map_keys = 65536'


def recording(shapes: Iterable[Shape], limit: int, slow: int = 0) -> str:
    """Return the script that prints a tuple for each call.

    `limit`: bytes of texts and buffers that are copied. `slow`: only calls that took so many ns. The tuple:
    shape, BEGUN or ENDED, process, thread, call, start and duration in ns, result, six arguments, copies.
    """
    parts = [f"config = {{ max_strlen = {limit + 4}; {LENGTH_OF} }}"]
    for number, shape in enumerate(shapes):
        parts += _pair(number, shape, limit, slow)
    return "\n".join(parts)


def _pair(number: int, shape: Shape, limit: int, slow: int) -> list[str]:
    """Return the programs of one shape."""
    before = [c for c in shape.captures if not c.after]
    after = [c for c in shape.captures if c.after]
    arguments = [f"args.args[{index}]" for index in range(ARGUMENTS)]
    copies = [_copy(c, [f"$a{index}" for index in range(ARGUMENTS)], "0", limit) for c in before]
    load = "".join(f" $a{index} = {text};" for index, text in enumerate(arguments))
    values = ", ".join([f"$a{index}" for index in range(ARGUMENTS)] + copies)
    begun = (
        f" print(({number}, {BEGUN}, pid, tid, args.id, nsecs, (uint64)0, (int64)0, {values}));"
        if shape.begins
        else ""
    )
    if not shape.ends:
        return [f"{ENTER} {{{load}{begun} }}"]
    head = f"{ENTER} {{{load} @{_map(number)}[tid] = (nsecs, args.id, {values});{begun} }}"
    kept = [f"$e.{2 + index}" for index in range(ARGUMENTS)]
    old = [f"$e.{2 + ARGUMENTS + index}" for index in range(len(before))]
    new = [_copy(c, kept, "$r", limit) for c in after]
    all_of_it = ", ".join([*kept, *old, *new])
    tail = (
        f"{EXIT} {{ $e = @{_map(number)}[tid]; $r = args.ret; $ns = (uint64)(nsecs - $e.0);"
        f" if ($e.0 != 0 && $e.1 == args.id{' && $r != 0' if shape.forks else ''}) {{"
        f"{f' if ($ns >= {slow}) {{' if slow else ''}"
        f" print(({number}, {ENDED}, pid, tid, args.id, $e.0, $ns, $r, {all_of_it}));"
        f"{' }' if slow else ''} _ = delete(@{_map(number)}, tid); }} }}"
    )
    return [head, tail]


def _map(number: int) -> str:
    return f"call{number}"


def _copy(capture: Capture, arguments: list[str], result: str, limit: int) -> str:
    """Return the expression that copies."""
    pointer = arguments[capture.argument]
    if capture.kind == "text":
        return f"str({pointer})"
    if capture.kind == "words":
        words = (f"str(*(uint64 *)({pointer} + {8 * index}), 64)" for index in range(ARGV))
        return f"({', '.join(words)})"
    if capture.kind == "bytes":
        return f"buf({pointer}, {capture.size})"
    unit = max(1, capture.size)
    most = limit // unit
    if capture.length == -1:
        some = f"({result} < {most} ? (uint64){result} * {unit} : {most * unit})"
        return f"buf({pointer}, {result} > 0 ? {some} : 0)"
    if capture.length == -2:
        size = f"*(uint32 *){arguments[capture.size]}"
        return f"buf({pointer}, {result} >= 0 ? ({size} < 128 ? (uint64){size} : 128) : 0)"
    length = f"(uint64)(uint32){arguments[capture.length]}"
    return f"buf({pointer}, {length} < {most} ? {length} * {unit} : {most * unit})"


COUNTING = f"""config = {{ max_map_keys = 65536; print_maps_on_exit = false }}
{ENTER} {{ @began[tid] = nsecs; }}
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
