"""Meters: definitions, their change, and what a meter reads from an event."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from pipeline.core.metering.extract import AS_SPELLED, MeterIndex, measure
from pipeline.core.metering.meter import AGGREGATIONS, MAX_EARLIER, Meter, change, define, event_from_ns
from pipeline.core.values import number
from pipeline.errors import Rejected

CASES = json.loads((Path(__file__).parents[2] / "cases/openmeter-ingest-meter.json").read_text())["cases"]
VALIDATION = [case for case in CASES if case["id"].startswith("meter validation: ")]
PARSE = [case for case in CASES if case["id"].startswith("parse event: ")]
# Left out: HTTP requests (e2e_test.go, ingest.go), which the API tests; dedupe (dedupe_test.go), which dedupe
# tests; OpenMeter's own Kafka format (serializer_test.go), since ours is the CloudEvent itself; and the sum
# of 1000 random events, which the recount of test_aggregate covers.
ELSEWHERE = ("e2e/", "ingest/httpdriver", "ingest/dedupe_test.go", "kafkaingest/serializer")

# Spellings of one number.
SPELLINGS = [
    ["7", "7.0", "7e0", "0.7e1", "70E-1", "7.000000000000000000000000000000000000000000000000000000"],
    ["1.1", "1.10", "11e-1", "0.0011e3"],
    ["0", "-0", "0.0", "-0.0e5", "0e999999"],
    ["-12", "-1.2e1", "-12.00"],
    ["1e400", "10e399", "0.1E+401"],
    ["1e-400", "0.1e-399"],
    [
        "123456789012345678901234567890",
        "123456789012345678901234567890.0",
        "1.2345678901234567890123456789e29",
    ],
    ["1" + "0" * 40, "1e40"],
    ["1" + "0" * 41, "1e41"],
    ["0." + "0" * 40 + "1", "1e-41"],
    ["0." + "0" * 41 + "1", "1e-42"],
]

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
            for slug in ("a/b", "..", "A", "a-b", "_a", "a__b", "a_", "a b", "a\n", "a" * 65, "é")
        ),
        *(({"slug": slug}, "meter slug must be a string") for slug in (5, {})),
        ({"metadata": {"": "b"}}, "meter metadata keys must have 1 to 256 characters"),
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
    new = change(old, wanted, 9)
    assert new.meter_id == 7
    assert (new.group_by, new.name, new.description) == ({"region": "$.region"}, "New", "d")


def test_an_event_keeps_the_dimensions_that_were_in_force_when_it_was_decided() -> None:
    """Dimensions are added, get another path, go and come back; a change of the name alone is none of these."""
    changes: list[tuple[int, dict[str, str]]] = [
        (12, {"model": "$.model"}),
        (15, {"model": "$.model"}),
        (20, {"model": "$.engine"}),
        (21, {}),
        (30, {"model": "$.model"}),
    ]
    changing = meter(groupBy=...)
    for revision, group_by in changes:
        changing = change(changing, meter(groupBy=group_by, name=f"at {revision}"), revision)
    assert [one.until for one in changing.earlier] == [12, 20, 21, 30]
    expected = [
        (0, {}), (7, {}), (11, {}), (12, {"model": "$.model"}), (19, {"model": "$.model"}),
        (20, {"model": "$.engine"}), (21, {}), (29, {}), (30, {"model": "$.model"}), (99, {"model": "$.model"}),
    ]  # fmt: skip
    assert [(revision, changing.group_by_at(revision)) for revision, _ in expected] == expected
    as_of = changing.as_of(20)
    assert (as_of.group_by, as_of.meter_id, as_of.earlier) == ({"model": "$.engine"}, 7, ())
    assert changing.as_of(99) == msgspec.structs.replace(changing, earlier=())


def test_dimensions_change_as_often_as_a_definition_can_hold() -> None:
    changing = meter()
    for revision in range(MAX_EARLIER):
        changing = change(changing, meter(groupBy={"a": f"$.a{revision}"}), 10 + revision)
    assert len(msgspec.json.encode(changing)) < 512 << 10
    with pytest.raises(Rejected, match="have changed 200 times") as raised:
        change(changing, meter(groupBy={}), 999)
    assert raised.value.reason == "meter-conflict"
    assert change(changing, meter(groupBy=changing.group_by, name="other"), 999).name == "other"
    wide = meter(groupBy={f"d{n}": f"$.{'a' * 250}{n}" for n in range(50)})
    revision = 10
    with pytest.raises(Rejected, match="create a new meter"):
        while revision < 10 + MAX_EARLIER:
            body = {**wide.group_by, "last": f"$.last{revision}"}
            body.pop("d0", None)
            wide, revision = change(wide, meter(groupBy=body), revision), revision + 1


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
        change(meter(), meter(**members), 9)
    assert raised.value.reason == "meter-conflict"


@pytest.mark.parametrize(
    ("data", "kind", "model"),
    [
        (b'{"model": "gpt", "usage": {"kind": "in"}}', "in", "gpt"),
        (b'{"model": null, "usage": null}', "", ""),
        (b"{}", "", ""),
        (b"null", "", ""),
        (b'{"model": 1.50, "usage": {"kind": 1e2}}', "100", "1.5"),
        (b'{"model": "1.50", "usage": {"kind": "1e2"}}', "1e2", "1.50"),
        (b'{"model": true, "usage": {"kind": false}}', "false", "true"),
        (b'{"model": 123456789012345678901234567890, "usage": 5}', "", "123456789012345678901234567890"),
        (
            b'{"model": {"b": 1.50, "a": [null, "x"]}, "usage": {"kind": []}}',
            "[]",
            '{"a":[null,"x"],"b":1.5}',
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
        (b'{"tokens": 1.50}', "1.5"),
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


@pytest.mark.parametrize("spellings", SPELLINGS, ids=lambda spellings: spellings[0][:20])
def test_a_number_of_json_is_one_dimension_and_one_member_however_it_is_spelled(spellings: list[str]) -> None:
    unique = meter(aggregation="UNIQUE_COUNT", groupBy={"a": "$.a", "b": "$.b[0].c"})
    found = {
        (value, *dimensions.values())
        for spelling in spellings
        for value, dimensions in [
            measure(unique, f'{{"tokens":{spelling},"a":{spelling},"b":[{{"c":[{spelling}]}}]}}'.encode())
        ]
    }
    ((member, plain, nested),) = found
    assert member == plain and nested == f"[{plain}]"
    quoted = {measure(unique, f'{{"tokens":"{spelling}"}}'.encode())[0] for spelling in spellings}
    assert quoted == set(spellings), "text stays as it is"


@pytest.mark.parametrize("spellings", SPELLINGS, ids=lambda spellings: spellings[0][:20])
def test_events_of_older_versions_are_read_by_their_spelling(spellings: list[str]) -> None:
    unique = meter(aggregation="UNIQUE_COUNT", groupBy={"a": "$.a"})
    for spelling in spellings:
        value, dimensions = measure(
            unique, f'{{"tokens":{spelling},"a":{spelling}}}'.encode(), rules=AS_SPELLED
        )
        kept = "0" if spelling == "-0" else spelling
        assert (value, dimensions) == (kept, {"a": kept})


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("$['$a']", b'{"$a":7}'),
        ("$['it\\'s']", b'{"it\'s":7}'),
        ('$["it\'s"]', b'{"it\'s":7}'),
        ("$['a\"b']", b'{"a\\"b":7}'),
        ("$['a\\\\b']", b'{"a\\\\b":7}'),
        ("$['\\u0000']", b'{"\\u0000":7}'),
        ("$['\\ud83d\\ude00']", '{"\U0001f600":7}'.encode()),
        ("$['a--b']", b'{"a--b":7}'),
        ("$['a b']['$']", b'{"a b":{"$":7}}'),
    ],
)  # fmt: skip
def test_any_member_can_be_metered(path: str, data: bytes) -> None:
    of = meter(valueProperty=path, groupBy={"d": '$["d\\"d"]'})
    assert measure(of, data) == (number.atto(7), {"d": ""})
    for nothing, reason in ((b"{}", "value-missing"), (b"null", "no-data")):
        with pytest.raises(Rejected) as raised:
            measure(of, nothing)
        assert raised.value.reason == reason


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
