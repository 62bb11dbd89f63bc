"""Meters: definitions, their change, and what a meter reads from an event."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from pipeline.core.metering.extract import MeterIndex, measure
from pipeline.core.metering.meter import AGGREGATIONS, Meter, change, define, event_from_ns
from pipeline.core.values import number
from pipeline.errors import Rejected

CASES = json.loads((Path(__file__).parents[2] / "cases/openmeter-ingest-meter.json").read_text())["cases"]
VALIDATION = [case for case in CASES if case["id"].startswith("meter validation: ")]
PARSE = [case for case in CASES if case["id"].startswith("parse event: ")]
# Left out: HTTP requests (e2e_test.go, ingest.go), which the API tests; dedupe (dedupe_test.go), which dedupe
# tests; OpenMeter's own Kafka format (serializer_test.go), since ours is the CloudEvent itself; and the sum
# of 1000 random events, which the recount of test_aggregate covers.
ELSEWHERE = ("e2e/", "ingest/httpdriver", "ingest/dedupe_test.go", "kafkaingest/serializer")

SUM: dict[str, object] = {
    "slug": "tokens",
    "eventType": "llm",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model", "kind": "$.usage.kind"},
}


def meter(**members: object) -> Meter:
    return define({name: value for name, value in {**SUM, **members}.items() if value is not ...}, 7)


def refusal(**members: object) -> str:
    with pytest.raises(Rejected) as raised:
        meter(**members)
    assert raised.value.reason == "bad-meter"
    assert len(raised.value.detail) < 300
    return raised.value.detail


def test_no_case_is_forgotten() -> None:
    rest = [case for case in CASES if case not in VALIDATION and case not in PARSE]
    assert [case["id"] for case in rest if not any(part in case["source"] for part in ELSEWHERE)] == []
    assert (len(VALIDATION), len(PARSE)) == (6, 9)


@pytest.mark.parametrize("case", VALIDATION, ids=lambda case: case["id"])
def test_openmeter_validation(case: dict[str, dict[str, dict[str, str]]]) -> None:
    body = {**case["in"]["meter"], "slug": "slug_test"}  # theirs has a dash, which their own pattern refuses
    if "error" not in case["out"]:
        assert define(body, 1).slug == "slug_test"
        return
    with pytest.raises(Rejected) as raised:
        define(body, 1)
    assert raised.value.detail == case["out"]["error"]


@pytest.mark.parametrize("case", PARSE, ids=lambda case: case["id"])
def test_openmeter_event_parsing(case: dict[str, dict[str, object]]) -> None:
    of = case["in"]["meter"]
    assert isinstance(of, dict)
    defined = define({"slug": "m", "eventType": "e", **of}, 1)
    data = str(case["in"]["data"]).encode()
    if "error" in case["out"]:
        with pytest.raises(Rejected) as raised:
            measure(defined, data)
        assert "invalid event: " + raised.value.detail == case["out"]["error"]
        counting = msgspec.structs.replace(defined, aggregation="COUNT", value_property=None)
        assert measure(counting, data)[1] == case["out"]["groupBy"]
        return
    value, dimensions = measure(defined, data)
    expected = case["out"]["value"]
    assert value == (expected if isinstance(expected, str) else number.atto(str(expected)))
    assert dimensions == case["out"]["groupBy"]


def test_a_definition_reads_back() -> None:
    full = meter(
        name="Tokens",
        description="All\ntokens",
        eventFrom="2024-01-01T00:00:00+02:00",
        metadata={"team": "ml"},
    )
    assert full.meter_id == 7
    assert full.namespace == "default"
    assert list(full.group_by) == ["kind", "model"]
    assert event_from_ns(full) == 1_704_060_000_000_000_000
    assert define(full.body(), 7) == full
    plain = meter(groupBy=..., name=None, metadata=None)
    assert (plain.name, plain.group_by, plain.event_from) == ("tokens", {}, None)
    assert plain.body() == {
        "slug": "tokens", "eventType": "llm", "aggregation": "SUM", "valueProperty": "$.tokens",
        "name": "tokens",
    }  # fmt: skip


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_each_aggregation_has_its_value_or_none(aggregation: str) -> None:
    if aggregation == "COUNT":
        assert meter(aggregation=aggregation, valueProperty=...).value_property is None
    else:
        assert meter(aggregation=aggregation).aggregation == aggregation
        detail = refusal(aggregation=aggregation, valueProperty=...)
        assert detail == "meter value property is required when the aggregation is not count"


@pytest.mark.parametrize(
    ("members", "detail"),
    [
        ({"slug": ...}, "meter slug is required"),
        ({"slug": ""}, "meter slug is required"),
        *(
            ({"slug": slug}, "meter slug must have 1 to 64 characters")
            for slug in ("a/b", "..", "A", "a-b", "_a", "a__b", "a_", "a b", "a\n", "a" * 65, "é", 5, {})
        ),
        ({"eventType": ...}, "meter event type is required"),
        ({"eventType": 5}, "meter event type must be a string"),
        ({"eventType": "a\x00b"}, "meter event type must not contain control characters"),
        ({"eventType": "a" * 2000}, "meter event type must have at most"),
        ({"aggregation": "sum"}, "meter aggregation must be one of"),
        ({"aggregation": "MEDIAN"}, "meter aggregation must be one of"),
        ({"aggregation": ["SUM"]}, "meter aggregation must be a string"),
        ({"valueProperty": ""}, "meter value property cannot be empty"),
        ({"valueProperty": "tokens"}, "meter value property must start with $"),
        ({"valueProperty": 5}, "meter value property must start with $"),
        ({"valueProperty": "$..*"}, "meter value property is not valid"),
        ({"groupBy": []}, "meter group by must be an object"),
        ({"groupBy": {"test_group": "invalid"}}, "meter group by value must start with $ for key test_group"),
        ({"groupBy": {"in-valid": "$.a"}}, "meter group by key in-valid is invalid, only alphanumeric and"),
        ({"groupBy": {"a b": "$.a"}}, "meter group by key a b is invalid"),
        ({"groupBy": {"a`; DROP TABLE x": "$.a"}}, "meter group by key a`; DROP TABLE x is invalid"),
        ({"groupBy": {"1a": "$.a"}}, "meter group by key 1a is invalid"),
        ({"groupBy": {"a\n": "$.a"}}, "meter group by key"),
        ({"groupBy": {" ": "$.a"}}, "meter group by key cannot be empty"),
        ({"groupBy": {"a" * 65: "$.a"}}, "meter group by key must have at most 64"),
        *(
            ({"groupBy": {key: "$.a"}}, f"meter group by key {key} is reserved")
            for key in ("subject", "time", "value")
        ),
        ({"groupBy": {"a": None}}, "meter group by value must start with $ for key a"),
        ({"groupBy": {"a": "$.a'"}}, "meter group by value a is not valid"),
        ({"groupBy": {"a": "$['tokens']"}}, "meter group by value a cannot be the same as value property"),
        ({"groupBy": {"a": "$.x", "b": "$['x']"}}, "meter group by value b cannot be the same as that of a"),
        ({"groupBy": {f"d{n}": f"$.d{n}" for n in range(1000)}}, "meter group by must have at most 50 keys"),
        ({"windowSize": "MINUTE"}, "meter has an unknown member 'windowSize'"),
        ({"x" * 10_000: 1}, "meter has an unknown member"),
        ({"name": 5}, "meter name must be a string"),
        ({"name": "a" * 257}, "meter name must have at most 256"),
        ({"description": "a" * 1025}, "meter description must have at most 1024"),
        ({"eventFrom": "yesterday"}, "meter event from is not valid"),
        ({"eventFrom": "2024-02-30T00:00:00Z"}, "meter event from is not valid"),
        ({"metadata": {"a": 1}}, "meter metadata must be an object of strings"),
        ({"metadata": []}, "meter metadata must be an object"),
    ],
    ids=lambda value: ascii(value)[:40],
)  # fmt: skip
def test_a_wrong_definition_is_refused(members: dict[str, object], detail: str) -> None:
    assert refusal(**members).startswith(detail)


def test_fifty_dimensions_are_enough() -> None:
    assert len(meter(groupBy={f"d{n}": f"$.d{n}" for n in range(50)}).group_by) == 50


def test_names_dimensions_and_texts_of_a_live_meter_may_change() -> None:
    old = meter()
    wanted = define(
        {**SUM, "groupBy": {"region": "$.region"}, "name": "New", "description": "d", "metadata": {"a": "b"}},
        9,
    )
    new = change(old, wanted)
    assert new.meter_id == 7
    assert (new.group_by, new.name, new.description) == ({"region": "$.region"}, "New", "d")


@pytest.mark.parametrize(
    "members",
    [
        {"eventType": "other"},
        {"aggregation": "MAX"},
        {"valueProperty": "$.other"},
        {"aggregation": "COUNT", "valueProperty": ...},
        {"eventFrom": "2024-01-01T00:00:00Z"},
        {"slug": "other"},
    ],
    ids=str,
)
def test_what_was_counted_may_not_change(members: dict[str, object]) -> None:
    with pytest.raises(Rejected) as raised:
        change(meter(), meter(**members))
    assert raised.value.reason == "meter-conflict"


@pytest.mark.parametrize(
    ("data", "kind", "model"),
    [
        (b'{"model": "gpt", "usage": {"kind": "in"}}', "in", "gpt"),
        (b'{"model": null, "usage": null}', "", ""),
        (b"{}", "", ""),
        (b"null", "", ""),
        (b'{"model": 1.50, "usage": {"kind": 1e2}}', "1e2", "1.50"),
        (b'{"model": true, "usage": {"kind": false}}', "false", "true"),
        (b'{"model": 123456789012345678901234567890, "usage": 5}', "", "123456789012345678901234567890"),
        (
            b'{"model": {"b": 1.50, "a": [null, "x"]}, "usage": {"kind": []}}',
            "[]",
            '{"a":[null,"x"],"b":1.50}',
        ),
        ('{"model": "\u00e9 \\u0001 \u2028", "usage": {"kind": "\'"}}'.encode(), "'", "\u00e9 \u0001 \u2028"),
        (b'{"model": "first", "model": "last"}', "", "last"),
    ],
)
def test_dimensions_are_texts(data: bytes, kind: str, model: str) -> None:
    counting = meter(aggregation="COUNT", valueProperty=...)
    assert measure(counting, data) == (1, {"kind": kind, "model": model})


@pytest.mark.parametrize(
    ("data", "member"),
    [
        (b'{"tokens": "1.50"}', "1.50"),
        (b'{"tokens": 1.50}', "1.50"),
        (b'{"tokens": true}', "true"),
        (b'{"tokens": ""}', ""),
        (b'{"tokens": {"b": 1, "a": 2}}', '{"a":2,"b":1}'),
        (b'{"tokens": null}', "value cannot be null"),
        (b"{}", 'missing value property: "$.tokens"'),
        (b"null", "null and missing value property"),
    ],
)
def test_a_unique_member_is_text(data: bytes, member: str) -> None:
    unique = meter(aggregation="UNIQUE_COUNT", groupBy=...)
    try:
        assert measure(unique, data)[0] == member
    except Rejected as raised:
        assert raised.detail == member


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b'{"tokens": {}}', "unsupported value property type"),
        (b'{"tokens": false}', "unsupported value property type"),
        (b'{"tokens": "NaN"}', "value cannot be NaN"),
        (b'{"tokens": 1e400}', "value must be below 10^18: 1e400"),
        (b'{"tokens": 1e99999999999999999999}', "value must be below 10^18: 1e99999999999999999999"),
        (b'{"tokens": %s}' % (b"9" * 400), "value must be below 10^18: a whole number of about 1329 bits"),
        (b'{"tokens": %s}' % (b"9" * 5000), "failed to parse event data: "),
        (b'{"tokens": %s}' % (b"[" * 50_000 + b"]" * 50_000), "failed to parse event data: "),
        (b"[1]", "failed to parse event data: "),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_value_that_is_no_number(data: bytes, detail: str) -> None:
    with pytest.raises(Rejected) as raised:
        measure(meter(), data)
    assert raised.value.detail.startswith(detail)


def test_a_deep_value_property() -> None:
    deep = meter(valueProperty="$.usage['all tokens'][1]", groupBy=...)
    assert measure(deep, b'{"usage": {"all tokens": [1, "2.5"]}}')[0] == number.atto("2.5")
    for data in (b'{"usage": {"all tokens": [1]}}', b'{"usage": 5}', b"{}"):
        with pytest.raises(Rejected, match="missing value property"):
            measure(deep, data)


def test_the_index_knows_namespace_and_type() -> None:
    here, there = define(SUM, 1), define(SUM, 2, "other")
    count = define({"slug": "a_count", "eventType": "llm", "aggregation": "COUNT"}, 3)
    index = MeterIndex([here, there, count])
    plan = index.get("default", "llm")
    assert plan is not None
    assert [reader.slug for reader in plan.readers] == ["a_count", "tokens"]
    other = index.get("other", "llm")
    assert other is not None
    assert [reader.meter.meter_id for reader in other.readers] == [2]
    assert index.get("default", "other") is None
