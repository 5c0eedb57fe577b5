r"""JSON lines with bpftrace's types and spelling: blanks after `:` and between members, none in arrays.

Integers that a double cannot hold exactly are strings; bytes that are no UTF-8 become `\u00NN`.
"""

from __future__ import annotations

from collections.abc import Callable

from bpftime_cli.render.base import Renderer
from bpftime_cli.render.series import iso_time
from runtime.events import Bucket, Buffer, Event, Failure, Histogram, MapData, Series, Stats, Value, text_of

ESCAPES = {
    **{code: f"\\u{code:04x}" for code in range(0x20)},
    **{0xDC00 + byte: f"\\u00{byte:02x}" for byte in range(0x80, 0x100)},  # from surrogateescape
    ord('"'): '\\"',
    ord("\\"): "\\\\",
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
}


class Json(Renderer):
    """One object a line."""

    def write(self, event: Event) -> None:
        """Write one event."""
        form = FORMS.get(event.type, _plain)
        stamp = ""
        if event.ns:
            stamp = (
                f', "ts": {event.ns}, "pid": {event.pid}, "tid": {event.tid}, "probe": {quoted(event.probe)}'
            )
        line = f'{{"type": {quoted(event.type)}, {form(event)}{stamp}}}\n'
        self.sink(line.encode("utf-8", "surrogateescape"))


def _plain(event: Event) -> str:
    if isinstance(event.data, MapData):
        return '"data": ' + map_json(event.data)
    return '"data": ' + (value_json(None) if isinstance(event.data, Failure) else value_json(event.data))


def _text(event: Event) -> str:
    return '"data": ' + (quoted(event.data) if isinstance(event.data, bytes | str) else value_json(None))


def _counted(word: str) -> Callable[[Event], str]:
    def form(event: Event) -> str:
        number = event.data if isinstance(event.data, int) else 0
        return f'"count": {number}, "data": {{"{word}": {number}}}'

    return form


def _message(event: Event) -> str:
    data = event.data
    text = f'"msg": {quoted(data if isinstance(data, bytes | str) else b"")}'
    if isinstance(data, Failure):
        text = f'"msg": {quoted(data.text)}'
        if data.helper:
            text += f', "helper": {quoted(data.helper)}, "retcode": {data.result}'
    if event.span is None:
        return text
    span = event.span
    return f'{text}, "filename": {quoted(span.file)}, "line": {span.line}, "col": {span.column}'


FORMS: dict[str, Callable[[Event], str]] = {
    **dict.fromkeys(("printf", "time", "cat", "join", "syscall", "debugf"), _text),
    "attached_probes": _counted("probes"),
    "lost_events": _counted("events"),
    **dict.fromkeys(("errorf", "warnf", "runtime_error", "helper_error"), _message),
}


def quoted(text: bytes | str) -> str:
    """Give a JSON string."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    return '"' + text.translate(ESCAPES) + '"'


def map_json(data: MapData) -> str:
    """Give the object of a map event."""
    if not data.keyed:
        return f"{{{quoted(data.name)}: {value_json(data.rows[0][1] if data.rows else None)}}}"
    rows = ", ".join(f"{quoted(_key(key))}: {value_json(value)}" for key, value in data.rows)
    return f"{{{quoted(data.name)}: {{{rows}}}}}"


def _key(key: Value) -> bytes:
    return b",".join(map(_compact, key)) if isinstance(key, tuple) else _compact(key)


def _compact(value: Value) -> bytes:
    if isinstance(value, tuple):
        return b"(" + b",".join(map(_compact, value)) + b")"
    return text_of(value)


def value_json(value: Value) -> str:
    """Give a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value)) if int(float(value)) == value else f'"{int(value)}"'
    if isinstance(value, Buffer):
        return "[" + ",".join(str(byte - 256 if byte > 127 else byte) for byte in value) + "]"
    return quoted(value) if isinstance(value, bytes | str) else _composite(value)


def _composite(value: Value) -> str:
    if isinstance(value, tuple | list):
        return "[" + ",".join(map(value_json, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(name)}: {value_json(item)}" for name, item in value.items()) + "}"
    if isinstance(value, Stats):
        return f'{{"count": {value.count}, "average": {value.average}, "total": {value.total}}}'
    if isinstance(value, Histogram):
        return "[" + ",".join(map(_bucket, value.buckets)) + "]"
    if isinstance(value, Series):
        shown = ((epoch, number) for epoch, number in value.values.items() if number is not None)
        return "[" + ",".join(_interval(value, epoch, number) for epoch, number in shown) + "]"
    return "null"


def _interval(value: Series, epoch: int, number: int) -> str:
    start = iso_time(epoch * value.interval + value.offset)
    return f'{{"interval_start":"{start}","value":{value_json(number)}}}'


def _bucket(bucket: Bucket) -> str:
    members = []
    if bucket.least is not None:
        members.append(f'"min": {bucket.least}')
    if bucket.most is not None:
        members.append(f'"max": {bucket.most}')
    members.append(f'"count": {bucket.count}')
    return "{" + ", ".join(members) + "}"
