"""An HTTP request's events: what content type, headers and body say, as structured CloudEvents.

Owns: the mode (CloudEvents HTTP binding, section 3), percent-decoding of `ce-` headers, that each event is sound, what
the sender is warned of, and how `events-http` is packed. Pure: "now" is an argument. Does not own: the event's own
rules (event, cloudevent), limits on bytes in flight (api).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
from orjson import dumps

from pipeline.core.metering.cloudevent import is_json_type, read_record
from pipeline.core.metering.event import Limits, check
from pipeline.errors import Rejected

TOPIC = "events-http"
NAMESPACE_HEADER = "tallymark_namespace"
MAX_EVENTS = 1000  # of a request; also how many places one record of TOPIC takes
NO_NAMESPACE = "-"  # of a record of TOPIC that names none; never the name of a namespace
MAX_WARNINGS = 10

Mode = Literal["event", "batch", "binary", "any"]
RequestHeaders = Iterable[tuple[bytes, bytes]]

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000
_MODES: tuple[tuple[str, Mode], ...] = (
    ("application/cloudevents-batch+json", "batch"),
    ("application/cloudevents-batch", "batch"),
    ("application/cloudevents+json", "event"),
    ("application/cloudevents", "event"),
)
_STRUCTURED = ("content-type", b"application/cloudevents+json")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL).fullmatch
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


class RequestWarning(NamedTuple):
    """Events that are taken, and will not be counted as they are. `first` is the place in the request of one.

    meter, reason: of `refused`, who will not count them, and why as a slug of core.metering.refusal.
    """

    code: Literal["no-meter", "refused", "beyond-horizon", "future"]
    detail: str
    events: int
    first: int
    meter: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """Sound events of one request. `packed`: the JSON array that goes to TOPIC.

    types: each event's type. times_ns: each event's own time, None where it has none.
    """

    packed: bytes
    types: Sequence[str]
    times_ns: Sequence[int | None]


class InvalidEvent(Rejected):
    """One event is wrong, so none is taken. `place` counts from 0."""

    def __init__(self, cause: Rejected, place: int, events: int) -> None:
        where = f" (event {place} of {events}, counted from 0)" if events > 1 else ""
        super().__init__(cause.reason, f"invalid event: {cause.detail}{where}")
        self.place = place


def mode_of(content_type: str, headers: RequestHeaders) -> Mode:
    """How the events stand in the request. Raises Rejected("invalid-content-type").

    CloudEvents HTTP binding 3: the content type decides; with `ce-` attributes a JSON type means binary mode.
    Parameters are allowed; a charset has to be UTF-8.
    """
    binary = any(name[:3] == b"ce-" for name, _ in headers)
    return _mode(content_type, binary)


@lru_cache(256)
def _mode(content_type: str, binary: bool) -> Mode:
    media_type, _, parameters = content_type.partition(";")
    media_type = media_type.strip(" \t").lower()
    if not _is_utf8(parameters):
        raise _invalid_type(content_type)
    for name, mode in _MODES:
        if media_type == name:
            return mode
    if binary and (not media_type or (is_json_type(media_type) and "cloudevents" not in media_type)):
        return "binary"
    if media_type == "application/json":
        return "any"
    raise _invalid_type(content_type)


def _invalid_type(content_type: str) -> Rejected:
    return Rejected("invalid-content-type", f"invalid content type: {content_type[:100]}")


def _is_utf8(parameters: str) -> bool:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip(" \t").lower() == "charset":
            return value.strip(' \t"').lower() in ("utf-8", "utf8")
    return True


def read(content_type: str, headers: RequestHeaders, body: bytes, max_event_bytes: int) -> Request:
    """The events of a request, each checked as INGEST will check it, but for the limits of its time.

    headers: lower-case names, as ASGI gives them. Raises InvalidEvent; Rejected with invalid-content-type, no-events,
    too-many-events, or as strict_json for a body that is no JSON.
    """
    listed = list(headers)
    mode = mode_of(content_type, listed)
    if mode == "binary":
        return _one(_from_binary(content_type, listed, body, max_event_bytes), max_event_bytes)
    if not body.strip(b" \t\r\n"):
        raise Rejected("no-events", "no events found")
    if mode == "batch" or (mode == "any" and body.lstrip(b" \t\r\n")[:1] == b"["):
        return _several(body, mode, max_event_bytes)
    copies = _copies(listed)
    return _one(body, max_event_bytes, [*copies, _STRUCTURED] if copies else ())


def _several(body: bytes, mode: Mode, max_event_bytes: int) -> Request:
    items = split(body)
    if not items and mode == "any":
        raise Rejected("no-events", "no events found")
    types: list[str] = []
    times_ns: list[int | None] = []
    for item in items:
        try:
            type, time_ns = check(item, (), max_event_bytes)
        except Rejected as refusal:
            raise InvalidEvent(refusal, len(types), len(items)) from None
        types.append(type)
        times_ns.append(time_ns)
    return Request(body, types, times_ns)


def _one(event: bytes, max_event_bytes: int, copies: Sequence[tuple[str, bytes]] = ()) -> Request:
    try:
        type, time_ns = check(event, copies, max_event_bytes)
    except Rejected as refusal:
        raise InvalidEvent(_in_http_words(refusal), 0, 1) from None
    return Request(b"[" + event + b"]", (type,), (time_ns,))


def split(packed: bytes) -> list[bytes]:
    """The events of a JSON array, as the text of each. Raises Rejected: bad-json, too-deep, too-many-events."""
    try:
        items = _items(packed)
    except RecursionError:
        raise Rejected("too-deep", "invalid event: The JSON text is nested too deep.") from None
    except msgspec.ValidationError:
        raise Rejected("not-an-array", "invalid event: A batch has to be a JSON array of events.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected("bad-json", f"invalid event: The text is not JSON: {error}.") from None
    if len(items) > MAX_EVENTS:
        raise Rejected(
            "too-many-events", f"The request holds {len(items)} events; the limit is {MAX_EVENTS}."
        )
    return [bytes(item) for item in items]


def _from_binary(content_type: str, headers: RequestHeaders, body: bytes, max_event_bytes: int) -> bytes:
    """The event of binary mode in structured mode; the data stays as sent."""
    attributes = _copies(headers)
    if content_type:
        attributes.append(("content-type", content_type.encode()))
    try:
        members, _, data = read_record(body, attributes, max_event_bytes)
    except Rejected as refusal:
        raise InvalidEvent(_in_http_words(refusal), 0, 1) from None
    event: dict[str, Any] = {name: text for name, text in members.items() if name != "data"}
    if "data" in members:
        event["data"] = data
    return dumps(event)


def _in_http_words(refusal: Rejected) -> Rejected:
    return Rejected(refusal.reason, refusal.detail.replace("ce_", "ce-", 1))


def _copies(headers: RequestHeaders) -> list[tuple[str, bytes]]:
    """The attributes in `ce-` headers, by their names of the Kafka binding. Raises InvalidEvent."""
    return [
        ("ce_" + name[3:].decode("latin-1"), decode_header(value))
        for name, value in headers
        if name[:3] == b"ce-"
    ]


def decode_header(value: bytes) -> bytes:
    """An attribute's UTF-8 text from a header value (HTTP binding 3.1.3.2); whether it is UTF-8 is checked later.

    >>> decode_header(b"Euro%20%E2%82%AC%20%F0%9F%98%80").decode()
    'Euro € 😀'
    >>> decode_header(b'"a \\\\"b\\\\" c"')
    b'a "b" c'
    """
    if (quoted := _QUOTED(value)) is not None:
        value = re.sub(rb"\\(.)", rb"\1", quoted[1], flags=re.DOTALL)
    return unquote_to_bytes(value) if b"%" in value else value


def warnings(
    request: Request,
    metered: frozenset[str] | None,
    now_ms: int,
    limits: Limits,
    refused: Sequence[RequestWarning] = (),
) -> list[RequestWarning]:
    """What the sender should know, at most MAX_WARNINGS, the gravest last.

    metered: types that a meter wants; None: not known. refused: what meters will refuse.
    """
    found: list[RequestWarning] = []
    if metered is not None and not metered.issuperset(request.types):
        found += _unmetered(request.types, metered)
    found += refused
    now_ns = now_ms * _NS_PER_MS
    earliest_ns, latest_ns = now_ns - limits.horizon_ns, now_ns + limits.future_limit_ns
    times = [(time_ns, place) for place, time_ns in enumerate(request.times_ns) if time_ns is not None]
    if old := [place for time_ns, place in times if time_ns < earliest_ns]:
        detail = f"older than {limits.horizon_s} s: will be rejected"
        found.append(RequestWarning("beyond-horizon", detail, len(old), old[0]))
    if early := [place for time_ns, place in times if time_ns > latest_ns]:
        detail = f"over {limits.future_limit_s} s ahead: will be rejected"
        found.append(RequestWarning("future", detail, len(early), early[0]))
    return found[-MAX_WARNINGS:]


def _unmetered(types: Sequence[str], metered: frozenset[str]) -> list[RequestWarning]:
    places: dict[str, list[int]] = {}
    for place, type in enumerate(types):
        if type not in metered:
            places.setdefault(type, []).append(place)
    return [
        RequestWarning("no-meter", f"no meter found for event type: {type[:100]}", len(found), found[0])
        for type, found in list(places.items())[:MAX_WARNINGS]
    ]
