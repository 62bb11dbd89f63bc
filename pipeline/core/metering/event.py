"""A Kafka record in, an accepted event out, or the reason why not.

Owns: the order of the checks, the rules for time and data, the encoding of records.Event. Pure: "now"
is the broker's timestamp of the record, so that a replay decides alike. Does not own: JSON (values.strict_json),
attributes (cloudevent), repeats (dedupe), values (extract).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from orjson import dumps

from pipeline.core.metering.cloudevent import (
    MAX_ATTRIBUTE_BYTES,
    RecordHeaders,
    check_data_type,
    check_required,
    check_string,
    read_record,
    read_structured,
    says_only_structured,
    settle_optional,
    with_plain_data,
)
from pipeline.core.metering.identity import digests, subject_hash
from pipeline.core.values.timestamp import parse_ns
from pipeline.errors import Rejected

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000
_SURELY_SHORT = MAX_ATTRIBUTE_BYTES // 4  # characters; UTF-8 takes at most four bytes for one


class Limits:
    """What an event may be. Times count from the record's arrival."""

    __slots__ = ("future_limit_ns", "future_limit_s", "horizon_ns", "horizon_s", "max_event_bytes")

    def __init__(
        self, horizon_s: int = 32 * 86_400, future_limit_s: int = 86_400, max_event_bytes: int = 1_048_576
    ) -> None:
        self.horizon_s = horizon_s
        self.horizon_ns = horizon_s * _NS_PER_S
        self.future_limit_s = future_limit_s
        self.future_limit_ns = future_limit_s * _NS_PER_S
        self.max_event_bytes = max_event_bytes


class Accepted(NamedTuple):
    """An accepted event. The first four are what records.KEY packs.

    identity: 16 bytes of (namespace, source, id). content: 8 bytes, equal where a repeat says the same.
    subject_hash: u32 of (namespace, subject). encoded: the JSON text of records.Event.
    """

    identity: bytes
    content: bytes
    received_at_ms: int
    subject_hash: int
    encoded: bytes


_new = tuple.__new__  # half the time of Accepted(...)


def accept(
    value: bytes | None,
    headers: RecordHeaders,
    namespace: str,
    input_topic: str,
    partition: int,
    offset: int,
    received_at_ms: int,
    limits: Limits,
) -> Accepted:
    """Check one record of an input topic and put it into Tallymark's own form.

    A CloudEvent 1.0 in structured or binary mode (Kafka binding); a record without content type and `ce_`
    headers is taken as structured JSON. Content is each attribute and the data, whatever the order of members
    and the whitespace; numbers compare by their spelling. Raises Rejected with a reason of schemas/README.md.
    """
    source, id, type, subject, time, canonical, encodable = _judge(value, headers, limits.max_event_bytes)
    time_ns = received_at_ms * _NS_PER_MS
    if time is not None:
        time_ns = _check_time(time, time_ns, limits)
    identity, content = digests(namespace, source, id, canonical)
    encoded = dumps(
        (
            namespace, source, id, type, subject,
            time_ns, received_at_ms, input_topic, partition, offset,
            encodable,
        )
    )  # fmt: skip
    return _new(Accepted, (identity, content, received_at_ms, subject_hash(namespace, subject), encoded))


def check(value: bytes | None, headers: RecordHeaders, max_event_bytes: int) -> tuple[str, int | None]:
    """Check all of an event that does not depend on when it arrives; `accept` may then refuse its time only.

    Gives the type and the time in ns, None where the event has none. Raises Rejected as `accept`.
    """
    judged = _judge(value, headers, max_event_bytes)
    time = judged[4]
    return judged[2], None if time is None else _time_ns(time)


_Judged = tuple[str, str, str, str, Any, bytes, Any]
"""(source, id, type, subject, time as sent, canonical text, data to write)."""


def _judge(value: bytes | None, headers: RecordHeaders, max_event_bytes: int) -> _Judged:
    """Every check but those of the time."""
    if not value or len(value) > max_event_bytes or (headers and not says_only_structured(headers)):
        envelope = read_record(value, headers, max_event_bytes)
    else:
        envelope = read_structured(value)
    members, canonical, encodable = envelope
    get = members.get
    source: Any = get("source")
    id: Any = get("id")
    type: Any = get("type")
    subject: Any = get("subject")
    try:
        text = source + id + type + subject
        plain = (
            text.isprintable()
            and len(text) <= _SURELY_SHORT
            and source
            and id
            and type
            and subject
            and get("specversion") == "1.0"
        )
    except (TypeError, AttributeError):  # one of them is no string
        plain = False
    if not plain:
        check_required(members)
    time, data, media_type, schema = get("time"), get("data"), get("datacontenttype"), get("dataschema")
    known = 5 + (time is not None) + (data is not None) + (media_type is not None) + (schema is not None)
    if len(members) != known:  # extensions, or members that are null
        if value is not None and members.get("data_base64") is not None:
            return _judge(with_plain_data(value, members), headers, max_event_bytes)
        canonical = settle_optional(value, envelope)
    if media_type is not None and media_type != "application/json":
        check_data_type(media_type)
    if schema is not None:
        check_string("dataschema", schema, "bad-dataschema")
    if data.__class__ is not dict and data is not None:
        raise Rejected("bad-data", "The data has to be a JSON object.")
    return source, id, type, subject, time, canonical, encodable


def _check_time(time: Any, received_at_ns: int, limits: Limits) -> int:
    """The event's own time in ns, if it lies within the limits around its arrival (both ends included)."""
    time_ns = _time_ns(time)
    age_ns = received_at_ns - time_ns
    if age_ns > limits.horizon_ns:
        raise Rejected(
            "beyond-horizon", f"time {time[:40]!r} is over {limits.horizon_s} s before its arrival."
        )
    if age_ns < -limits.future_limit_ns:
        raise Rejected("future", f"time {time[:40]!r} is over {limits.future_limit_s} s after its arrival.")
    return time_ns


def _time_ns(time: Any) -> int:
    if time.__class__ is not str:
        raise Rejected("bad-time", "The attribute time has to be a string.")
    return parse_ns(time)
