"""Accepted events: the conformance vectors, what the record says, and laws over arbitrary input."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.metering.identity import identity, identity_hash, subject_hash
from pipeline.core.values.timestamp import parse_ns
from pipeline.errors import Rejected
from tests.fixtures.kafka_record import ABSENT, GOOD, RECEIVED_AT_MS, binary, event, read, reason, take, text

VECTORS = json.loads((Path(__file__).parents[2] / "cases" / "cloudevents.json").read_text())
RECEIVED_2018_MS = 1_522_900_600_000


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_conformance_vector(vector: dict[str, Any]) -> None:
    headers = [
        (name.lower().replace("ce-", "ce_"), value.encode()) for name, value in vector["headers"].items()
    ]
    body = vector["body"].encode()
    assert reason(body, headers, RECEIVED_2018_MS) == "missing-subject"
    if "ce_id" in dict(headers):
        headers.append(("ce_subject", b"customer"))
    else:
        body = json.dumps({**json.loads(body), "subject": "customer"}).encode()
    expected = VECTORS["expected"]
    taken = read(take(body, headers, RECEIVED_2018_MS))
    assert (taken.id, taken.source, taken.type) == (expected["id"], expected["source"], expected["type"])
    assert taken.time_ns == parse_ns(expected["time"])
    assert json.loads(bytes(taken.data)) == expected["data"]


def test_what_an_accepted_event_says() -> None:
    accepted = take(text())
    taken = read(accepted)
    assert accepted.identity == identity("default", GOOD["source"], GOOD["id"])
    assert accepted.subject_hash == subject_hash("default", GOOD["subject"])
    assert (accepted.received_at_ms, len(accepted.content)) == (RECEIVED_AT_MS, 8)
    assert (taken.namespace, taken.input_topic, taken.partition, taken.offset) == (
        "default",
        "events",
        3,
        123_456,
    )
    assert (taken.time_ns, taken.received_at_ms) == (1_717_245_296_789_000_000, RECEIVED_AT_MS)
    assert bytes(taken.data) == b'{"model":"gpt-4o","tokens":1234}'
    assert bytes(read(take(text(data=ABSENT))).data) == b"null"


def test_the_digests_stay_as_they_are() -> None:
    """They stand in state and on topics: other values would make repeats pass after an upgrade."""
    accepted = take(text())
    assert (accepted.identity.hex(), accepted.content.hex()) == (
        "64933f27e7eb4d1cf4d76fc0351a7e5b",
        "03a466de50ae8281",
    )
    assert (identity_hash(accepted.identity), accepted.subject_hash) == (658_477_924, 2_687_421_027)


@pytest.mark.parametrize("data", [GOOD["data"], None], ids=["data", "no data"])
def test_both_modes_of_the_cloudevents_package_say_the_same(data: dict[str, Any] | None) -> None:
    attributes = {name: value for name, value in GOOD.items() if name not in ("data", "time")}
    at = datetime(2024, 6, 1, 12, 34, 56, tzinfo=UTC)
    sent = CloudEvent({**attributes, "time": at, "datacontenttype": "application/json"}, data)
    messages = [write(sent) for write in (to_binary_event, to_structured_event)]
    taken = [take(message.value, list(message.headers.items())) for message in messages]
    assert taken[0].identity == taken[1].identity
    assert taken[0].content == taken[1].content
    assert json.loads(bytes(read(taken[0]).data)) == json.loads(bytes(read(taken[1]).data)) == data


def content(value: bytes) -> bytes:
    return take(value).content


def test_content_is_blind_to_layout_and_order() -> None:
    shuffled = dict(reversed(event(data=dict(reversed(GOOD["data"].items()))).items()))
    for layout in (
        {},
        {"indent": 2},
        {"indent": "\t"},
        {"separators": (" , ", " : ")},
        {"ensure_ascii": False},
    ):
        assert content(json.dumps(shuffled, **layout).encode()) == content(text())
    assert content(text().replace(b"gpt", b"\\u0067pt")) == content(text())
    assert content(text(time=None)) == content(text(time=ABSENT))
    assert content(text(data=None)) == content(text(data=ABSENT))
    assert content(text(rate=5, sampled=True)) == content(text(rate="5", sampled="true"))
    assert take(b'{ "tokens":1234, "model":"gpt-4o"}', binary()[1:]).content == content(text())


@pytest.mark.parametrize(
    "other",
    [
        text(type="llm.requests"), text(subject="customer-00043"), text(time="2024-06-01T12:34:56.7890Z"),
        text(time=ABSENT), text(data=ABSENT), text(data={}), text(datacontenttype="application/json"),
        text(dataschema="https://example.com"), text(partitionkey="a"),
        text(data={"model": "gpt-4o", "tokens": 1235}),
        text(data={"model": "gpt-4o", "tokens": "1234"}), text(data={"model": "gpt-4o", "tokens": 1234.0}),
    ],
)  # fmt: skip
def test_content_differs(other: bytes) -> None:
    assert take(other).identity == take(text()).identity
    assert content(other) != content(text())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.1", "0.10"), ("9007199254740992", "9007199254740993"), ("1e400", "1e401"), ("1", "1.0"),
        ("1", '"1"'),
        ("0", "-0"), ("18446744073709551616", "18446744073709551617"), ("9" * 400, "9" * 399 + "8"),
        ("0.1000000000000000055", "0.1"), ("1E2", "1e2"), ("true", "1"), ("null", "0"), ("[]", "{}"),
    ],
)  # fmt: skip
def test_content_sees_each_digit(one: str, other: str) -> None:
    texts = [text(data={"n": 0}).replace(b'"n":0', b'"n":' + number.encode()) for number in (one, other)]
    assert content(texts[0]) != content(texts[1])
    for value, number in zip(texts, (one, other), strict=True):
        spaced = value.replace(b'"n":', b'"n": ')
        assert content(spaced) == content(value)
        assert bytes(read(take(value)).data) == b'{"n":' + number.encode() + b"}"
        assert bytes(read(take(spaced)).data) == b'{"n": ' + number.encode() + b"}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("/a", "b-1"), ("/a-b", "1")), (("a", "b"), ("A", "b")), (("s", "\u00e9"), ("s", "e\u0301")),
        (("s", "1"), ("t", "1")), (('a","b', "c"), ("a", 'b","c')), (("a ", "b"), ("a", " b")),
        (("", "ab"), ("a", "b")),
    ],
)  # fmt: skip
def test_identities_differ(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert identity("default", *one) != identity("default", *other)


plain_text = st.text(max_size=8)


@given(st.tuples(plain_text, plain_text, plain_text), st.tuples(plain_text, plain_text, plain_text))
def test_identity_is_equal_only_for_equal_triples(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assert (identity(*one) == identity(*other)) == (one == other)
    moved = (one[0] + one[1], "", one[2])
    assert (identity(*one) == identity(*moved)) == (one == moved)


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | plain_text
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_text, inner, max_size=3)
)
objects = st.dictionaries(plain_text, trees, max_size=4)
attribute = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=20)
writers: list[Callable[[Any], bytes]] = [
    lambda tree: json.dumps(tree).encode(),
    lambda tree: json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode(),
    lambda tree: json.dumps(tree, indent=1, sort_keys=True).encode(),
]


@given(objects, attribute, attribute, attribute, attribute)
@example({"a, b": ", ", "c: d": ": "}, "a, b", ": ", "x", "y")
def test_encoding_keeps_every_field(
    data: dict[str, Any], id: str, source: str, type: str, subject: str
) -> None:
    sent = event(id=id, source=source, type=type, subject=subject, data=data)
    first = take(writers[0](sent))
    for write in writers:
        accepted = take(write(sent))
        taken = read(accepted)
        assert (taken.id, taken.source, taken.type, taken.subject) == (id, source, type, subject)
        assert json.loads(bytes(taken.data)) == data
        assert (accepted.identity, accepted.content) == (first.identity, first.content)


pieces = [
    '"a"', '"b"', '"data"', "{", "}", "[", "]", ":", ",", " ", "\n", "1", "-0", "0.10", "1e5", "1E5", "null",
    "NaN", "true", '"\\u0061"', '"\\""', '"a:"', '"a, b"', '"\\ud800"', '"é"', '": "', "99999999999999999999",
]  # fmt: skip
json_like = st.lists(st.sampled_from(pieces), max_size=12).map("".join)


def pairs_seen(value: str) -> tuple[bool, Any]:
    """A plain reading by the standard library: (some object repeats a name, tree with numbers as spelled)."""
    repeated = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated.append(len(dict(pairs)) != len(pairs))
        return dict(pairs)

    def spelled(number: str) -> list[str]:
        return ["number", number]

    tree = json.loads(value, object_pairs_hook=members, parse_int=spelled, parse_float=spelled)
    return any(repeated), tree


@given(json_like, json_like)
@example('"a":1,"a":1', '"b":1E5')
def test_data_is_kept_digit_by_digit_or_refused(inner: str, more: str) -> None:
    data = "{" + inner + ("," if inner and more else "") + more + "}"
    value = text(data={}).decode().replace('"data":{}', '"data":' + data).encode()
    try:
        repeated, tree = pairs_seen(data)
        json.dumps(tree, ensure_ascii=False).encode()
        fair = not repeated and "NaN" not in data
    except (ValueError, UnicodeEncodeError):
        fair = False
    if reason(value) is None:
        assert fair
        assert pairs_seen(bytes(read(take(value)).data).decode()) == (False, tree)
        assert bytes(read(take(value)).data).decode() == data
    else:
        assert not fair


names = st.sampled_from(
    ["content-type", "ce_id", "ce_type", "ce_source", "ce_specversion", "ce_subject", "ce_time"]
)
header_values = (
    st.none() | st.binary(max_size=10) | st.sampled_from([b"1.0", b"application/cloudevents+json", b"x"])
)
headers = st.lists(st.tuples(names | st.text(max_size=6), header_values), max_size=8)
broken = st.builds(
    lambda at, piece: text()[:at] + piece + text()[at:], st.integers(0, 190), st.binary(max_size=3)
)
members = st.dictionaries(
    st.sampled_from([*GOOD, "datacontenttype", "dataschema", "data_base64", "ext", "My"]), trees
)


@given(
    st.none()
    | st.binary(max_size=60)
    | json_like.map(str.encode)
    | broken
    | members.map(lambda other: text(**other)),
    headers | st.just([]),
)
def test_nothing_but_rejected_is_raised(value: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
    try:
        accepted = take(value, headers)
    except Rejected as refused:
        assert refused.reason and refused.detail
        return
    assert read(accepted).received_at_ms == RECEIVED_AT_MS
