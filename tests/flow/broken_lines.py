"""Lines that are no event: one function a way to be wrong, each applied to a good event.

Every result must be refused by ingest, whatever came before. None holds a line feed, so files of lines work.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.flow.event_line import Made, line, time_text

DAY_NS = 86_400_000_000_000

Break = Callable[[Made, Random, int], bytes]


def broken(made: Made, rng: Random, now_ns: int) -> bytes:
    """`made` as a line that is wrong in one way."""
    return BREAKS[int(rng.random() * len(BREAKS))](made, rng, now_ns)


def _with(name: str, text: str) -> Break:
    def apply(made: Made, rng: Random, now_ns: int) -> bytes:
        kept = [member for member in made.attributes if member[0] != name]
        return line(Made([*kept, (name, text)], made.data))

    return apply


def _without(name: str) -> Break:
    def apply(made: Made, rng: Random, now_ns: int) -> bytes:
        return line(Made([member for member in made.attributes if member[0] != name], made.data))

    return apply


def _data(text: str) -> Break:
    def apply(made: Made, rng: Random, now_ns: int) -> bytes:
        return line(Made([*made.attributes, ("data", text)], None))

    return apply


def _raw(change: Callable[[bytes], bytes]) -> Break:
    return lambda made, rng, now_ns: change(line(made))


def _time(days: float) -> Break:
    def apply(made: Made, rng: Random, now_ns: int) -> bytes:
        return _with("time", f'"{time_text(rng, now_ns + int(days * DAY_NS))}"')(made, rng, now_ns)

    return apply


def _truncated(made: Made, rng: Random, now_ns: int) -> bytes:
    good = line(made)
    return good[: rng.randrange(1, len(good) - 1)]


def _random_bytes(made: Made, rng: Random, now_ns: int) -> bytes:
    return b"\xfe" + bytes(rng.randrange(32, 256) for _ in range(60))


BREAKS: list[Break] = [
    _truncated, _truncated, _truncated, _random_bytes,
    _raw(lambda good: good + b"x"),
    _raw(lambda good: good + good),
    _raw(lambda good: good.replace(b'"', b"'")),
    _raw(lambda good: good.replace(b'"id":"', b'"id":"\x01')),
    _raw(lambda good: good.replace(b'"subject":"', b'"subject":"\xff')),
    _raw(lambda good: good.replace(b'"subject":"', b'"subject":"\xc0\xaf')),
    _raw(lambda good: good.decode().encode("utf-16")),
    _raw(lambda good: b"[" + good + b"]"),
    _raw(lambda good: b'"event"'), _raw(lambda good: b"17"), _raw(lambda good: b"null"),
    _raw(lambda good: b"{}"),
    _without("id"), _without("source"), _without("type"), _without("specversion"), _without("subject"),
    _with("id", '""'), _with("id", "17"), _with("id", "null"), _with("id", '"a\\u0000"'),
    _with("source", '""'), _with("source", "{}"), _with("type", '""'), _with("type", "1"),
    _with("subject", '""'), _with("subject", "5"),
    _with("subject", '"\\ud800"'),
    _with("specversion", '"0.3"'), _with("specversion", '"1"'), _with("specversion", "1.0"),
    _with("time", '"yesterday"'), _with("time", '"2026-01-31"'), _with("time", '"2026-01-31T10:00:00"'),
    _with("time", '"2026-13-01T00:00:00Z"'), _with("time", '"2026-02-30T00:00:00Z"'),
    _with("time", '"2026-01-01T25:00:00Z"'), _with("time", "1767225600"), _with("time", '"1767225600"'),
    _with("time", '""'), _with("time", '"Sat, 31 Jan 2026 10:00:00 GMT"'),
    _time(3), _time(365), _time(36_500), _time(-40), _time(-4_000),
    _data("[]"), _data("[{}]"), _data('"{}"'), _data("17"), _data("true"),
    _data('{"duration_ms":NaN}'), _data('{"duration_ms":Infinity}'), _data('{"tokens":-Infinity}'),
    _data('{"tokens":0123}'), _data('{"tokens":+5}'), _data('{"tokens":.5}'), _data("{'tokens':5}"),
    _data('{"a":' + "[" * 50_000 + "]" * 50_000 + "}"),
    _with("data_base64", '"AQID"'),
]  # fmt: skip
