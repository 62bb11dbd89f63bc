"""A request's events: every mode, what is refused and in which words, and that a mode says nothing of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.metering.event import Accepted, Limits, accept, check
from pipeline.core.metering.http_batch import (
    MAX_EVENTS,
    MAX_WARNINGS,
    InvalidEvent,
    Request,
    RequestWarning,
    decode_header,
    mode_of,
    read,
    split,
    warnings,
)
from pipeline.errors import Rejected

ONE, BATCH, JSON = "application/cloudevents+json", "application/cloudevents-batch+json", "application/json"
NOW_MS = 1_750_000_000_000
MAX_BYTES = 1 << 20
HEADERS = [
    (b"ce-specversion", b"1.0"),
    (b"ce-id", b"1"),
    (b"ce-source", b"/s"),
    (b"ce-type", b"t"),
    (b"ce-subject", b"who"),
]


def line(id: str = "1", **members: object) -> dict[str, Any]:
    return {"specversion": "1.0", "id": id, "source": "/s", "type": "t", "subject": "who", **members}


def text(*events: dict[str, Any]) -> bytes:
    return json.dumps(list(events)).encode()


def body(content_type: str, value: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> Request:
    return read(content_type, headers or [], value, MAX_BYTES)


def refusal(content_type: str, value: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> Rejected:
    with pytest.raises(Rejected) as caught:
        body(content_type, value, headers)
    return caught.value


def taken(request: Request) -> list[Accepted]:
    """The events as INGEST takes them."""
    return [
        accept(item, (), "default", "events-http", 0, place, NOW_MS, Limits())
        for place, item in enumerate(split(request.packed))
    ]


@pytest.mark.parametrize(
    ("content_type", "binary", "mode"),
    [
        (ONE, False, "event"),
        (ONE, True, "event"),
        ("application/cloudevents", False, "event"),
        ("Application/CloudEvents+JSON; charset=UTF-8", False, "event"),
        ('application/cloudevents+json;charset="utf-8"', False, "event"),
        (BATCH, False, "batch"),
        (BATCH + "; charset=utf-8", True, "batch"),
        (JSON, False, "any"),
        ("application/json; charset=utf-8", False, "any"),
        (JSON, True, "binary"),
        ("application/vnd.acme+json; version=2", True, "binary"),
        ("text/json", True, "binary"),
        ("", True, "binary"),
    ],
)
def test_the_content_type_decides_the_mode(content_type: str, binary: bool, mode: str) -> None:
    assert mode_of(content_type, HEADERS if binary else []) == mode


@pytest.mark.parametrize(
    ("content_type", "binary"),
    [
        ("", False),
        ("text/plain", False),
        ("text/plain", True),
        ("application/xml", True),
        ("application/cloudevents+xml", False),
        ("application/cloudevents+avro", True),
        ("application/cloudevents-batch+xml", False),
        ("application/cloudeventsx+json", False),
        ("application/vnd.acme+json", False),
        ("application/json; charset=latin-1", False),
        ("application/cloudevents+json; charset=utf-16", False),
    ],
)
def test_any_other_content_type_is_refused(content_type: str, binary: bool) -> None:
    refused = refusal(content_type, b"{}", HEADERS if binary else [])
    assert refused.reason == "invalid-content-type"
    assert refused.detail == f"invalid content type: {content_type}"


def test_one_event_and_a_batch_are_packed_as_they_came() -> None:
    single = b'{"specversion":"1.0", "id":"1","source":"/s","type":"t","subject":"who","data":{"n":1.10}}'
    assert body(ONE, single).packed == b"[" + single + b"]"
    batch = b"[" + single + b" ,\n" + single.replace(b'"1",', b'"2",') + b"]"
    found = body(BATCH, batch)
    assert (found.packed, found.types, found.times_ns) == (batch, ["t", "t"], [None, None])


def test_plain_json_is_an_object_or_an_array() -> None:
    assert len(taken(body(JSON, json.dumps(line()).encode()))) == 1
    assert len(taken(body(JSON, b" \n" + text(line("1"), line("2"))))) == 2


@pytest.mark.parametrize("value", [b"", b" \n", b"[]", b" [ ]"])
def test_plain_json_without_events(value: bytes) -> None:
    assert (refusal(JSON, value).reason, refusal(JSON, value).detail) == ("no-events", "no events found")


def test_an_empty_batch_is_a_batch() -> None:
    assert body(BATCH, b"[]").types == []


@pytest.mark.parametrize(
    ("content_type", "value", "reason"),
    [
        (ONE, b"{", "bad-json"),
        (ONE, b"[]", "not-an-object"),
        (JSON, b"nonsense", "bad-json"),
        (JSON, b'"text"', "not-an-object"),
        (ONE, json.dumps(line()).encode() + b"," + json.dumps(line("2")).encode(), "bad-json"),
        (ONE, b"\xef\xbb\xbf{}", "bad-encoding"),
        (ONE, json.dumps(line(data=[1])).encode(), "bad-data"),
        (ONE, json.dumps(line(data="x")).encode(), "bad-data"),
        (ONE, json.dumps(line(time="yesterday")).encode(), "bad-time"),
        (ONE, json.dumps(line(time=5)).encode(), "bad-time"),
        (ONE, json.dumps(line(subject=None)).encode(), "missing-subject"),
        (ONE, json.dumps(line(specversion="0.3")).encode(), "bad-specversion"),
        (ONE, b'{"a":' * 100_000, "too-deep"),
    ],
)
def test_a_wrong_event_is_named(content_type: str, value: bytes, reason: str) -> None:
    refused = refusal(content_type, value)
    assert isinstance(refused, InvalidEvent)
    assert (refused.reason, refused.place) == (reason, 0)
    assert refused.detail.startswith("invalid event: ")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"[", "bad-json"),
        (b"[1,]", "bad-json"),
        (b"[] []", "bad-json"),
        (b"{}", "not-an-array"),
        (b"[" * 200_000, "too-deep"),
        (b"[" + b",".join([b"1"] * (MAX_EVENTS + 1)) + b"]", "too-many-events"),
    ],
)
def test_a_wrong_batch(value: bytes, reason: str) -> None:
    assert refusal(BATCH, value).reason == reason


def test_one_wrong_event_refuses_the_batch_and_is_named() -> None:
    refused = refusal(BATCH, text(line("1"), line("2"), line("3", data=[]), line("4", type="")))
    assert isinstance(refused, InvalidEvent)
    assert (refused.reason, refused.place) == ("bad-data", 2)
    assert "event 2 of 4" in refused.detail


@pytest.mark.parametrize("missing", ["specversion", "id", "source", "type", "subject"])
@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_each_required_attribute(missing: str, mode: str) -> None:
    if mode == "structured":
        event = {name: value for name, value in line().items() if name != missing}
        refused = refusal(ONE, json.dumps(event).encode())
    else:
        name = f"ce-{missing}".encode()
        refused = refusal(JSON, b"{}", [header for header in HEADERS if header[0] != name])
    assert refused.reason == f"missing-{missing}"


def test_as_many_events_as_a_request_may_have() -> None:
    events = [line(str(number)) for number in range(MAX_EVENTS)]
    assert len(body(BATCH, text(*events)).types) == MAX_EVENTS


def test_binary_mode_becomes_a_structured_event_with_its_data_as_sent() -> None:
    headers = [
        *HEADERS,
        (b"ce-time", b"2025-06-15T10:00:00.5Z"),
        (b"ce-traceparent", b"00-a%20b"),
        (b"x", b"y"),
    ]
    found = body("application/json; charset=utf-8", b' {"n": 1.10, "n2":1e3} ', headers)
    (item,) = split(found.packed)
    assert b'"data":{"n": 1.10, "n2":1e3}' in item
    event = json.loads(item)
    assert event["datacontenttype"] == "application/json; charset=utf-8"
    assert (event["time"], event["traceparent"]) == ("2025-06-15T10:00:00.5Z", "00-a b")
    assert found.times_ns == (1_749_981_600_500_000_000,)


def test_binary_mode_without_body_has_no_data() -> None:
    (item,) = split(body("", b"", HEADERS).packed)
    assert "data" not in json.loads(item)


def test_an_event_is_the_same_in_every_mode_and_in_kafka() -> None:
    data = b'{"tokens":12}'
    structured = json.dumps(line(datacontenttype="application/json", data=json.loads(data), seq="7")).encode()
    headers = [*HEADERS, (b"ce-seq", b"7")]
    in_base64 = json.dumps(
        {**json.loads(structured), "data": None, "data_base64": "eyJ0b2tlbnMiOjEyfQ=="}
    ).encode()
    data_type = (b"ce-datacontenttype", b"application/json")
    ways = [
        body(ONE, structured),
        body(ONE, structured, [data_type]),
        body(ONE, in_base64),
        body(JSON, structured),
        body(BATCH, b"[" + structured + b"]"),
        body(BATCH, b"[" + in_base64 + b"]"),
        body(JSON, data, headers),
        body(JSON, data, [*headers, data_type]),
        body("", data, [*headers, data_type]),
    ]
    seen = {(event.identity, event.content) for way in ways for event in taken(way)}
    kafka_headers = [("ce_" + name[3:].decode(), value) for name, value in headers]
    kafka = accept(
        data,
        [("content-type", b"application/json"), *kafka_headers],
        "default",
        "events",
        0,
        0,
        NOW_MS,
        Limits(),
    )
    assert seen == {(kafka.identity, kafka.content)}


@pytest.mark.parametrize(
    ("headers", "reason", "detail"),
    [
        ([(b"ce-datacontenttype", b"text/json")], "header-differs", "ce-datacontenttype"),
        ([(b"ce-datacontenttype", b"text/plain")], "header-differs", "ce-datacontenttype"),
        ([(b"ce-data", b"{}")], "bad-attribute-name", "ce-data"),
        ([(b"ce-my_attr", b"x")], "bad-attribute-name", "ce-my_attr"),
        ([(b"ce-id", b"2")], "repeated-header", "ce-id"),
        ([(b"ce-note", b"%C0%A0")], "bad-header", "ce-note"),
        ([(b"ce-note", b"\xff")], "bad-header", "ce-note"),
    ],
)
def test_wrong_headers_of_binary_mode(headers: list[tuple[bytes, bytes]], reason: str, detail: str) -> None:
    refused = refusal(JSON, b"{}", [*HEADERS, *headers])
    assert refused.reason == reason
    assert detail in refused.detail


def test_headers_beside_a_structured_event_may_repeat_it_and_not_contradict() -> None:
    assert body(ONE, json.dumps(line()).encode(), HEADERS).types == ("t",)
    assert refusal(ONE, json.dumps(line("2")).encode(), HEADERS).reason == "header-differs"
    assert body(BATCH, text(line("1"), line("2")), HEADERS).types == ["t", "t"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        (b"%e2%82%ac", "€"),
        (b"%41", "A"),
        (b"100%", "100%"),
        (b"%zz", "%zz"),
        (b'"quoted \\"text\\" \\\\"', 'quoted "text" \\'),
        (b'"%20"', " "),
        (b'"open', '"open'),
        (b"+", "+"),
    ],
)
def test_header_values_are_decoded(value: bytes, text: str) -> None:
    assert decode_header(value).decode() == text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_what_the_binding_encodes_is_decoded(text: str) -> None:
    plain = {chr(code) for code in range(0x21, 0x7F)} - {'"', "%"}
    encoded = "".join(
        sign if sign in plain else "".join(f"%{byte:02X}" for byte in sign.encode()) for sign in text
    )
    assert decode_header(encoded.encode()).decode() == text


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=5)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=12,
    ),
    st.sampled_from([ONE, BATCH, JSON]),
)
def test_what_is_taken_here_is_taken_by_ingest(value: Any, content_type: str) -> None:
    """Whatever the data is: refused before it is produced, or accepted after."""
    one = json.dumps(line(data=value)).encode()
    request = b"[" + one + b"]" if content_type == BATCH else one
    try:
        found = body(content_type, request)
    except Rejected:
        with pytest.raises(Rejected):
            accept(one, (), "default", "events", 0, 0, NOW_MS, Limits())
    else:
        assert len(taken(found)) == 1


def test_a_check_gives_type_and_time() -> None:
    assert check(json.dumps(line(time="1970-01-01T00:00:01Z")).encode(), (), MAX_BYTES) == ("t", 10**9)
    assert check(json.dumps(line()).encode(), (), MAX_BYTES) == ("t", None)


LIMITS = Limits(horizon_s=100, future_limit_s=10)
NOW_NS = NOW_MS * 1_000_000


def asked(
    types: list[str], times_ns: list[int | None], metered: frozenset[str] | None
) -> list[RequestWarning]:
    return warnings(Request(b"", types, times_ns), metered, NOW_MS, LIMITS)


def test_no_warning_without_reason() -> None:
    limits_ns = [None, NOW_NS - 100 * 10**9, NOW_NS + 10 * 10**9]
    assert asked(["t"] * 3, limits_ns, frozenset({"t", "u"})) == []
    assert asked(["t"], [None], None) == []


def test_warnings_are_summed_up() -> None:
    found = asked(
        ["a", "t", "a", "b"],
        [NOW_NS - 100 * 10**9 - 1, None, NOW_NS + 10 * 10**9 + 1, NOW_NS + 11 * 10**9],
        frozenset({"t"}),
    )
    assert [(one.code, one.events, one.first) for one in found] == [
        ("no-meter", 2, 0),
        ("no-meter", 1, 3),
        ("beyond-horizon", 1, 0),
        ("future", 2, 2),
    ]
    assert found[0].detail == "no meter found for event type: a"


def test_warnings_have_an_end() -> None:
    types = [f"type-{number}" for number in range(500)]
    found = asked(types, [0] * 500, frozenset())
    assert len(found) == MAX_WARNINGS
    assert found[-1].code == "beyond-horizon"
