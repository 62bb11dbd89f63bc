"""A second opinion: recounts usage from the lines alone, in plain Python, knowing nothing of the pipeline.

Owns: the fate of each line, exact minute windows, the comparison with the rows that `tallymark usage` prints.
Uses json, decimal and dicts only. It is slow and keeps everything in memory, and that is how it stays plain.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, NamedTuple, NoReturn

EXACT = Context(prec=60)
SMALLEST = Decimal(1).scaleb(-18)
HORIZON_NS = 32 * 86_400 * 10**9
FUTURE_NS = 86_400 * 10**9
LARGEST_BYTES = 1 << 20
MINUTE_NS = 60 * 10**9
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,6})?", re.ASCII)
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]|\['([^']+)'\]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Arrived(NamedTuple):
    """A line with its place: what the broker noted of it. Lines are given in the order of arrival."""

    value: bytes
    received_at_ms: int
    partition: int = 0
    offset: int = 0


class WindowKey(NamedTuple):
    """A minute window; `dimensions` are (name, value) pairs sorted by name, `start_s` seconds since 1970."""

    meter: str
    subject: str
    dimensions: tuple[tuple[str, str], ...]
    start_s: int


class WindowValue(NamedTuple):
    """value: a plain decimal string. events: how many are in it."""

    value: str
    events: int


class RefusedError(Exception):
    """The line is no event."""


@dataclass
class Recount:
    """What must come out: every window of every meter, how many lines had which fate, and each line's fate in order."""

    windows: dict[WindowKey, WindowValue] = field(default_factory=dict)
    fates: Counter[str] = field(default_factory=Counter)
    each: list[str] = field(default_factory=list)


class _Event(NamedTuple):
    source: str
    id: str
    type: str
    subject: str
    time_ns: int
    data: dict[str, Any] | None
    content: bytes


def recount(arrived: Iterable[Arrived], meters: Iterable[Mapping[str, Any]]) -> Recount:
    """Counts the first event of each (source, id); every line gets exactly one fate."""
    wanted: dict[str, list[_Meter]] = {}
    for definition in meters:
        wanted.setdefault(definition["eventType"], []).append(_Meter(definition))
    result = Recount()
    seen: dict[tuple[str, str], bytes] = {}
    for line in arrived:
        result.each.append(_fate(line, seen, wanted))
    result.fates.update(result.each)
    for listed in wanted.values():
        for meter in listed:
            result.windows.update(meter.finish())
    return result


def _fate(line: Arrived, seen: dict[tuple[str, str], bytes], wanted: Mapping[str, list[_Meter]]) -> str:
    try:
        event = _read(line)
    except RefusedError:
        return "rejected"
    first = seen.setdefault((event.source, event.id), event.content)
    if first is not event.content:
        return "duplicate" if first == event.content else "conflict"
    meters = wanted.get(event.type)
    if not meters:
        return "unmetered"
    taken = [meter.take(event, line) for meter in meters]
    return "counted" if any(taken) else "invalid"


def _read(line: Arrived) -> _Event:
    if len(line.value) > LARGEST_BYTES:
        _refuse("too large")
    try:
        members = json.loads(
            line.value.decode(), parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse
        )
    except (ValueError, RecursionError) as error:
        raise RefusedError(str(error)) from None
    if not isinstance(members, dict):
        _refuse("not an object")
    for name in ("specversion", "id", "source", "type", "subject"):
        text = members.get(name)
        if not isinstance(text, str) or not text or _CONTROL.search(text):
            _refuse(name)
    if members["specversion"] != "1.0" or "data_base64" in members:
        _refuse("specversion or data_base64")
    data = members.get("data")
    if data is not None and not isinstance(data, dict):
        _refuse("data")
    time_ns = line.received_at_ms * 1_000_000
    if "time" in members:
        received_ns, time_ns = time_ns, _time_ns(members["time"])
        if time_ns < received_ns - HORIZON_NS or time_ns > received_ns + FUTURE_NS:
            _refuse("too old or too far in the future")
    content = hashlib.sha256(json.dumps(members, sort_keys=True, default=_digits).encode()).digest()
    return _Event(
        members["source"], members["id"], members["type"], members["subject"], time_ns, data, content
    )


def _refuse(why: str) -> NoReturn:
    raise RefusedError(why)


def _digits(number: Decimal) -> list[str]:
    return [str(number)]


def _time_ns(text: Any) -> int:
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        _refuse("time")
    whole, fraction, offset = found.groups()
    try:
        instant = datetime.fromisoformat(whole + offset)
    except ValueError:
        _refuse("time")
    return (instant - EPOCH) // timedelta(seconds=1) * 10**9 + int((fraction or "0").ljust(9, "0"))


class _Meter:
    """One meter: reads events into windows as lists of what each window must be made of."""

    def __init__(self, definition: Mapping[str, Any]) -> None:
        self.slug: str = definition["slug"]
        self.aggregation: str = definition["aggregation"]
        self.value_path = _steps(definition["valueProperty"]) if "valueProperty" in definition else None
        self.group_by = sorted((name, _steps(path)) for name, path in definition.get("groupBy", {}).items())
        self.values: dict[WindowKey, list[Any]] = {}

    def take(self, event: _Event, line: Arrived) -> bool:
        """Whether the meter counts the event."""
        value: Any = None
        if self.value_path is not None:
            found = _at(self.value_path, event.data)
            value = _text(found) if self.aggregation == "UNIQUE_COUNT" else _number(found)
            if found is None or value is None:
                return False
        if self.aggregation == "LATEST":
            value = (event.time_ns, line.received_at_ms, line.partition, line.offset, value)
        dimensions = tuple((name, _text(_at(steps, event.data))) for name, steps in self.group_by)
        start_s = event.time_ns // MINUTE_NS * 60
        self.values.setdefault(WindowKey(self.slug, event.subject, dimensions, start_s), []).append(value)
        return True

    def finish(self) -> Iterator[tuple[WindowKey, WindowValue]]:
        for key, values in self.values.items():
            yield key, WindowValue(self._total(values), len(values))

    def _total(self, values: list[Any]) -> str:
        if self.aggregation == "COUNT":
            return str(len(values))
        if self.aggregation == "UNIQUE_COUNT":
            return str(len(set(values)))
        if self.aggregation == "LATEST":
            return plain(max(values)[-1])
        if self.aggregation in ("MIN", "MAX"):
            return plain(min(values) if self.aggregation == "MIN" else max(values))
        total = Decimal(0)
        for value in values:
            total = EXACT.add(total, value)
        if self.aggregation == "AVG":
            total = Context(prec=120).divide(total, Decimal(len(values)))
            total = total.quantize(SMALLEST, ROUND_HALF_EVEN, EXACT)
        return plain(total)


def _steps(path: str) -> list[str | int]:
    return [int(index) if index else name or quoted for name, index, quoted in _STEP.findall(path)]


def _at(steps: list[str | int], data: Any) -> Any:
    for step in steps:
        if isinstance(step, str):
            data = data.get(step) if isinstance(data, dict) else None
        else:
            data = data[step] if isinstance(data, list) and step < len(data) else None
    return data


def _text(value: Any) -> str:
    """A JSON number is one text however it is spelled; the stream has none that would take many zeros."""
    if isinstance(value, Decimal):
        return plain(value)
    return "" if value is None else str(value)


def _number(value: Any) -> Decimal | None:
    """The number that a meter may take: below 10^18, at most 18 decimals; also as text."""
    if isinstance(value, str):
        value = Decimal(value) if _NUMBER.fullmatch(value) else None
    if not isinstance(value, Decimal) or abs(value) >= 10**18:
        return None
    try:
        return value if value == value.quantize(SMALLEST, context=EXACT) else None
    except ArithmeticError:
        return None


def plain(value: Decimal) -> str:
    """Without exponent, trailing zeros or the sign of zero."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def window_of(row: Mapping[str, Any]) -> tuple[WindowKey, WindowValue]:
    """A row of `tallymark usage --window MINUTE --format jsonl`. Raises ValueError if it is no minute."""
    start, end = datetime.fromisoformat(row["start"]), datetime.fromisoformat(row["end"])
    if row["window"] != "MINUTE" or end - start != timedelta(minutes=1):
        raise ValueError(f"no minute: {row}")
    dimensions = tuple(sorted(row["group"].items()))
    key = WindowKey(row["meter"], row["subject"], dimensions, int((start - EPOCH).total_seconds()))
    return key, WindowValue(row["value"], row["count"])


def compare(expected: Mapping[WindowKey, WindowValue], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every difference as one sentence: a missing, extra, repeated or unequal window. Empty: all is equal."""
    differences: list[str] = []
    found: set[WindowKey] = set()
    for row in rows:
        key, value = window_of(row)
        if key in found:
            differences.append(f"twice: {_shown(key)}")
        elif key not in expected:
            differences.append(f"extra: {_shown(key)} has {value.value} of {value.events} events")
        elif expected[key] != value:
            differences.append(f"unequal: {_shown(key)} has {tuple(value)}, expected {tuple(expected[key])}")
        found.add(key)
    differences += [
        f"missing: {_shown(key)}, expected {tuple(value)}"
        for key, value in expected.items()
        if key not in found
    ]
    return differences


def _shown(key: WindowKey) -> str:
    at = datetime.fromtimestamp(key.start_s, UTC).isoformat()
    return f"{key.meter} {key.subject!r} {dict(key.dimensions)} {at}"
