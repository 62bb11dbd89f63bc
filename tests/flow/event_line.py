"""One good event of the made stream: its members as JSON text, and the line that a producer would send.

Owns: types, subjects, values and times of good events. Does not own: what goes wrong (broken_lines), the mix
(stream). Members are kept as JSON text, so that a copy has the same digits, and only order and spaces differ.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from random import Random
from typing import NamedTuple

Members = list[tuple[str, str]]

CUSTOMERS = 2_000
LATE_S = 20 * 86_400
SPAN_S = 4 * 3_600

# Valid text that has broken others: all of it must come out as it went in.
_HOSTILE = [
    "a|b", "a/b", "a b", "a\\b", 'a"b', "'); DROP TABLE events; --", "${jndi:ldap://x}", "../../etc/passwd",
    "<script>", "__proto__", "null", "NaN", "true", "0", "Zo\u00eb", "Zoe\u0308", "\U0001f600",
    "\u5ba2\u6237", "a,b", "a;b", "a:b", "=1+1", "x" * 200,
]  # fmt: skip
SUBJECTS = [f"customer-{number:04d}" for number in range(CUSTOMERS - len(_HOSTILE))] + _HOSTILE
_SUBJECTS = [json.dumps(subject, ensure_ascii=number % 2 == 0) for number, subject in enumerate(SUBJECTS)]
_SOURCES = ["/eu/gateway", "/us/gateway", "urn:tokens:eu-1", "https://storage.example/disks", "/eu-gateway"]
_METHODS = ["GET", "GET", "GET", "POST", "POST", "PUT", "DELETE"]
_ROUTES = ["/v1/chat", "/v1/embed", "/v1/files", "/v1/a|b", "/v1/caf\u00e9", '/v1/"q"']
_ROUTES = [json.dumps(route, ensure_ascii=False) for route in _ROUTES]
# Some producers write a number in several ways, or as text: spellings of a number are one, a text is its own.
_STATUSES = ["200", "200", "200.0", "2e2", "201", "404", "40.40E1", "429", '"500"', '"200.0"']
_MODELS = ["small-1", "small-1", "large-2", "large-2-long"]
_KINDS = ["input", "output", "cached"]
_CLASSES = ["standard", "standard", "cold"]
_COUNTRIES = ["DE", "FR", "US", "JP"]


class Made(NamedTuple):
    """An event before it is written. `data` is None where it has none; the metered value comes first."""

    attributes: Members
    data: Members | None


def make(rng: Random, now_ns: int, at_fraction: float) -> Made:
    """A new event; its time is about `at_fraction` into the last `SPAN_S` before `now_ns`, or days ago."""
    kind, data = _event(rng)
    attributes = [
        ("specversion", '"1.0"'),
        ("id", f'"{rng.getrandbits(80):020x}"'),
        ("source", f'"{_SOURCES[int(rng.random() * len(_SOURCES))]}"'),
        ("type", f'"{kind}"'),
        ("subject", subject(rng)),
    ]
    if rng.random() > 0.004:
        attributes.append(("time", f'"{time_text(rng, time_ns(rng, now_ns, at_fraction))}"'))
    extra = rng.random()
    if extra < 0.30:
        attributes.append(("datacontenttype", '"application/json"'))
    if extra < 0.03:
        attributes.append(("tier", '"gold"'))
        attributes.append(("attempt", "1"))
    return Made(attributes, data)


def subject(rng: Random) -> str:
    """A subject as JSON text; a few subjects have most of the events."""
    return _SUBJECTS[int(CUSTOMERS * rng.random() ** 3)]


def time_ns(rng: Random, now_ns: int, at_fraction: float) -> int:
    """An instant that moves on with the stream, out of order by a minute or two, one in thirty much later."""
    back_s = SPAN_S * (1 - at_fraction) + rng.random() * 150
    if rng.random() < 0.033:
        back_s += rng.random() ** 2 * (LATE_S - SPAN_S - 600)
    if rng.random() < 0.01:
        return (now_ns - int(back_s * 1e9)) // 60_000_000_000 * 60_000_000_000  # a full minute, on the border
    return now_ns - int(back_s * 1e9) - rng.getrandbits(20)


def time_text(rng: Random, at_ns: int) -> str:
    """RFC 3339 with 0 to 9 decimals, in UTC or with an offset. Decimals are cut, not rounded."""
    second, fraction_ns = divmod(at_ns, 1_000_000_000)
    style = rng.random()
    if style < 0.10:
        hours = 14 if style < 0.02 else 2
        return f"{_second(second + hours * 3600)}.{fraction_ns:09d}+{hours:02d}:00"
    if style < 0.15:
        return f"{_second(second - 34200)}.{fraction_ns // 1000:06d}-09:30"
    if style < 0.20:
        return f"{_second(second)}Z"
    if style < 0.60:
        return f"{_second(second)}.{fraction_ns // 1_000_000:03d}Z"
    return f"{_second(second)}.{fraction_ns:09d}Z"


@lru_cache(100_000)
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _pick(rng: Random, choices: list[str]) -> str:
    return choices[int(rng.random() * len(choices))]


def _event(rng: Random) -> tuple[str, Members | None]:
    kind = rng.random()
    if kind < 0.45:
        return "api.request", _api_request(rng)
    if kind < 0.75:
        return "llm.tokens", _llm_tokens(rng)
    if kind < 0.87:
        return "storage.sample", _storage(rng)
    if kind < 0.97:
        return "session.seen", _session(rng)
    if kind < 0.98:
        return "credit.booked", [
            ("amount", _pick(rng, ["-0.000000000000000001", '"-12.5"', "3e-3", "1E2", "-0"]))
        ]
    return "page.viewed", None if kind < 0.99 else [("page", '"home"')]


def _api_request(rng: Random) -> Members:
    duration = f"{rng.randrange(1, 30_000) / 8:.3f}"
    style = rng.random()
    value = f'"{duration}"' if style < 0.1 else duration if style < 0.7 else str(rng.randrange(1, 4000))
    return [
        ("duration_ms", value if style < 0.995 else _unfit(rng)),
        ("method", f'"{_pick(rng, _METHODS)}"'),
        ("route", _pick(rng, _ROUTES)),
        ("status", _pick(rng, _STATUSES)),
    ]


def _llm_tokens(rng: Random) -> Members:
    tokens = str(rng.randrange(1, 8000)) if rng.random() < 0.995 else _unfit(rng)
    model = f'"{_pick(rng, _MODELS)}"'
    members = [("usage", f'{{"tokens":{tokens},"kind":"{_pick(rng, _KINDS)}"}}'), ("model", model)]
    if rng.random() < 0.9:  # else only one of its two meters counts it
        members.append(("latency_s", f"{rng.randrange(1, 9_000_000) / 1_000_000:.6f}"))
    return members


def _storage(rng: Random) -> Members:
    style = rng.random()
    if style < 0.5:
        value = f'"{rng.randrange(10**15)}.{rng.randrange(1, 10**17):017d}1"'
    elif style < 0.99:
        value = f"{rng.randrange(10**12)}.{rng.randrange(1, 10**6)}5"
    else:
        value = _unfit(rng)
    members = [("bytes", value), ("place", f'["disk-{int(rng.random() * 3)}","eu"]')]
    if style < 0.95:  # else the dimension is the empty string
        members.append(("storage class", f'"{_pick(rng, _CLASSES)}"'))
    return members


def _session(rng: Random) -> Members:
    number, style = int(rng.random() ** 2 * 5000), rng.random()
    if style < 0.97:
        value = f'"session-{number}"'
    else:
        value = _pick(
            rng, [str(number), f"{number}.0", f"{number}e0", f"{number}00E-2", f'"{number}.0"', "null"]
        )
    return [("session_id", value), ("country", f'"{_pick(rng, _COUNTRIES)}"')]


_UNFIT = [
    "null", "true", "[]", "{}", '""', '"NaN"', '"Infinity"', '"-inf"', '"abc"', '"1,5"', '"0x10"', '"1_000"',
    "1e400", "1000000000000000000", "0.0000000000000000001", '"9' + "9" * 60 + '"', '" 5 "', '"\uff15"',
]  # fmt: skip


def _unfit(rng: Random) -> str:
    """A value that no meter of numbers may take."""
    return _pick(rng, _UNFIT)


def line(made: Made, rng: Random | None = None) -> bytes:
    """The event as one line of JSON. With `rng`: the same content in another order with other white space."""
    attributes, data = made
    if rng is None:
        members = ",".join([f'"{name}":{text}' for name, text in attributes])
        if data is not None:
            members += ',"data":{' + ",".join([f'"{name}":{text}' for name, text in data]) + "}"
        return f"{{{members}}}".encode()
    spaced = list(attributes)
    if data is not None:
        inner = rng.sample(data, len(data))
        spaced.append(("data", "{ " + " , ".join([f'"{name}" :\t{text}' for name, text in inner]) + " }"))
    rng.shuffle(spaced)
    return ("{ " + ", ".join([f'"{name}": {text}' for name, text in spaced]) + "} ").encode()
