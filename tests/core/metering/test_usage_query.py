"""Usage queries: rules and texts, the cut of a range, runs of windows, laws of joining parts."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.metering import window_state
from pipeline.core.metering.meter import change, define
from pipeline.core.metering.usage_query import END_S, NS_PER_S, cut, instant_text, runs, usage_query
from pipeline.core.metering.usage_result import (
    EdgeEvent,
    Partial,
    ResultKey,
    collect,
    edge_reader,
    join,
    parse_total,
    result_rows,
)
from pipeline.core.values.filters import Filter
from pipeline.core.values.time_window import MINUTE_NS, boundaries
from pipeline.errors import Broken, Rejected

BODY = {
    "slug": "m",
    "eventType": "t",
    "aggregation": "SUM",
    "valueProperty": "$.value",
    "groupBy": {"kind": "$.kind", "region": "$.region"},
}
METER = define(BODY, 7)
AGGREGATIONS = ["SUM", "COUNT", "AVG", "MIN", "MAX", "UNIQUE_COUNT", "LATEST"]


def meter(aggregation: str) -> Any:
    body = BODY | {"aggregation": aggregation}
    return define({name: body[name] for name in body if aggregation != "COUNT" or name != "valueProperty"}, 7)


@pytest.mark.parametrize(
    "asked,detail",
    [
        ({"from_ns": 5, "to_ns": 5}, "from and to cannot be equal"),
        ({"from_ns": 6, "to_ns": 5}, "from must be before to"),
        ({"group_by": ["foo"]}, "invalid group by: foo"),
        ({"group_by": ["kind", "foo\ud800"]}, "invalid group by: foo\\ud800"),
        ({"filters": {"invalid": ["abcd"]}}, "invalid group by filter: invalid"),
        ({"filters": {"subject": ["abcd"]}}, "invalid group by filter: subject"),
        ({"filters": {"kind": []}}, "the filter kind needs a value"),
        ({"window": "WEEK"}, "invalid window: WEEK, it must be one of MINUTE HOUR DAY MONTH"),
        ({"window": "day"}, "invalid window: day, it must be one of MINUTE HOUR DAY MONTH"),
        ({"tz": "Mars/Olympus"}, "invalid time zone: Mars/Olympus"),
        ({"tz": ""}, "invalid time zone: "),
        *(
            ({"tz": tz}, f"invalid time zone: {ascii(tz)[1:-1]}")
            for tz in (
                "localtime",
                "posixrules",
                "Factory",
                "posix/Europe/Berlin",
                "right/Europe/Berlin",
                "zone.tab",
                "tzdata.zi",
                "europe/berlin",
                "Europe",
                "/etc/localtime",
                "Europe/Berlin\x00",
                " UTC",
            )
        ),
        ({"tz": "../../etc/passwd"}, "invalid time zone: ../../etc/passwd"),
        ({"tz": "/etc/localtime"}, "invalid time zone: /etc/localtime"),
        ({"tz": "America"}, "invalid time zone: America"),
        ({"tz": "UTC\0"}, r"invalid time zone: UTC\x00"),
        ({"subjects": ["s"] * 101}, "subjects: at most 100 are allowed"),
        ({"subjects": ["\ud800"]}, "subjects: half of a surrogate pair is no text"),
        ({"filters": {"kind": ["a"] * 101}}, "values of filter kind: at most 100 are allowed"),
        ({"customers": {str(n): () for n in range(101)}}, "customers: at most 100 are allowed"),
        ({"group_by": ["customer_id"]}, "customer filter is required with customer_id group by"),
        ({"advanced": {"x": {"$eq": "a"}}}, "invalid group by filter: x"),
        (
            {"advanced": {"kind": {"$eq": "a"}}, "filters": {"kind": ["a"]}},
            "advanced meter group by filters and filter group by cannot be used together",
        ),
    ],
)
def test_what_may_not_be_asked(asked: dict[str, Any], detail: str) -> None:
    with pytest.raises(Rejected) as refusal:
        usage_query(METER, **asked)
    assert (refusal.value.reason, refusal.value.detail) == ("bad-query", detail)


def test_what_may_be_asked() -> None:
    query = usage_query(
        METER,
        from_ns=1,
        to_ns=2,
        window="DAY",
        tz="Europe/Berlin",
        group_by=["region", "subject", "region"],
        filters={"kind": ["a", "b"]},
    )
    assert (query.group_by, query.by_subject) == (("region",), True)
    assert query.filters == (("kind", Filter("$in", ("a", "b"))),)
    assert (query.only, query.by_customer) == (None, False)
    assert usage_query(METER, subjects=["b", "a", "b"]).only == ("b", "a")
    assert usage_query(METER, subjects=["b"]).by_subject
    assert not usage_query(METER, group_by=["kind"]).by_subject


def test_customers_narrow_to_their_subjects() -> None:
    customers = {"c1": ["a", "b"], "c2": ["c"], "c3": []}
    query = usage_query(METER, customers=customers, group_by=["customer_id"])
    assert query.only == ("a", "b", "c") and query.by_customer and not query.by_subject
    assert query.customer_of == {"a": "c1", "b": "c1", "c": "c2"} and query.group_by == ()
    assert usage_query(METER, customers=customers, subjects=["c", "x"]).only == ("c",)
    assert usage_query(METER, customers={"c3": []}).only == ()
    own = define(BODY | {"groupBy": {"customer_id": "$.customer"}}, 7)
    assert usage_query(own, group_by=["customer_id"]).group_by == ("customer_id",)
    assert usage_query(own, group_by=["customer_id"], customers=customers).group_by == ()


def test_an_advanced_filter_is_one_of_a_dimension() -> None:
    query = usage_query(METER, advanced={"kind": {"$ne": "a"}})
    assert query.filters == (("kind", Filter("$ne", "a")),)


instants = st.integers(min_value=0, max_value=END_S * NS_PER_S)


@given(instants, instants)
def test_minutes_and_edges_are_exactly_the_range(one: int, other: int) -> None:
    from_ns, to_ns = min(one, other), max(one, other)
    (first_s, last_s), edges = cut(from_ns, to_ns)
    assert first_s % 60 == last_s % 60 == 0
    assert all(start // MINUTE_NS == (end - 1) // MINUTE_NS for start, end in edges)
    middle = [(first_s * NS_PER_S, last_s * NS_PER_S)] if first_s < last_s else []
    pieces = sorted([*middle, *edges])
    assert sum(end - start for start, end in pieces) == to_ns - from_ns
    assert all(start < end for start, end in edges)
    if pieces:
        assert (pieces[0][0], pieces[-1][1]) == (from_ns, to_ns)
        assert all(left[1] == right[0] for left, right in pairwise(pieces))


@pytest.mark.parametrize(
    "from_ns,to_ns,expected",
    [
        (None, None, ((0, END_S), ())),
        (-(10**19), 10**20, ((0, END_S), ())),
        (-5, -3, ((0, 0), ())),
        (60 * NS_PER_S, None, ((60, END_S), ())),
        (None, 61 * NS_PER_S, ((0, 60), ((60 * NS_PER_S, 61 * NS_PER_S),))),
    ],
)
def test_open_and_far_ends(from_ns: int | None, to_ns: int | None, expected: Any) -> None:
    assert cut(from_ns, to_ns) == expected


ZONES = [
    "UTC",
    "America/Los_Angeles",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Sao_Paulo",
]


@given(
    st.sampled_from(["HOUR", "DAY", "MONTH"]),
    st.sampled_from(ZONES),
    st.integers(min_value=0, max_value=2_000_000_000),
    st.integers(min_value=60, max_value=200 * 86_400),
    st.data(),
)
def test_a_run_gives_the_window_that_its_boundaries_give(
    size: Any, zone: str, from_s: int, length_s: int, data: st.DataObject
) -> None:
    found = boundaries(size, ZoneInfo(zone), from_s, from_s + length_s)
    starts, lengths = runs(found)
    at_s = data.draw(st.integers(min_value=from_s, max_value=from_s + length_s - 1))
    run = bisect_right(starts, at_s) - 1
    in_run = starts[run] + (at_s - starts[run]) // lengths[run] * lengths[run]
    assert in_run == found[bisect_right(found, at_s) - 1]


def test_runs_are_few() -> None:
    year = boundaries("DAY", ZoneInfo("America/Los_Angeles"), 1_735_718_400, 1_767_254_400)
    assert len(runs(year)[0]) == 5
    assert runs([]) == ([], [])


parts = st.builds(
    Partial,
    value=st.none() | st.integers(min_value=-(10**40), max_value=10**40),
    order=st.text("0123456789", min_size=3, max_size=3),
    events=st.integers(min_value=0, max_value=10**20),
    first_s=st.integers(min_value=0, max_value=10**6),
    last_s=st.integers(min_value=0, max_value=10**6),
    distinct=st.integers(min_value=0, max_value=10**6),
    members=st.frozensets(st.sampled_from("abcdef")),
)


@given(st.sampled_from(AGGREGATIONS), parts, parts, parts)
def test_joining_is_associative_and_commutative(aggregation: str, a: Partial, b: Partial, c: Partial) -> None:
    def plain(part: Partial) -> Partial:  # only LATEST has an order, and no two events share one
        return part if aggregation == "LATEST" and part.value is not None else part._replace(order="")

    a, b, c = plain(a), plain(b), plain(c)
    assert join(aggregation, a, b) == join(aggregation, b, a)
    assert join(aggregation, join(aggregation, a, b), c) == join(aggregation, a, join(aggregation, b, c))


events = st.lists(
    st.builds(
        EdgeEvent,
        subject=st.sampled_from(["a", "b"]),
        data=st.sampled_from(['{"value": 1}', '{"value": "-2.5", "kind": "x"}', '{"value": 7, "kind": "y"}']),
        time_ns=st.integers(min_value=0, max_value=10 * 3600 * NS_PER_S),
        received_at_ms=st.integers(min_value=0, max_value=10),
        partition=st.just(0),
        offset=st.integers(min_value=0, max_value=10**6),
        decided=st.just(7),
        rules=st.sampled_from([0, 1]),
    ),
    max_size=30,
    unique_by=lambda event: event.offset,
)


@given(st.sampled_from(AGGREGATIONS), events, st.sampled_from([None, "MINUTE", "HOUR", "DAY"]), st.randoms())
def test_any_split_and_order_of_events_gives_one_answer(
    aggregation: str, some: list[EdgeEvent], window: str | None, dice: Any
) -> None:
    query = usage_query(meter(aggregation), window=window, group_by=["subject", "kind"])
    read = edge_reader(query)
    whole = collect(aggregation, filter(None, map(read, some)))
    shuffled = dice.sample(some, len(some))
    middle = len(shuffled) // 2
    halves = [
        collect(aggregation, filter(None, map(read, half))) for half in (shuffled[:middle], shuffled[middle:])
    ]
    assert result_rows(query, collect(aggregation, halves[0].items(), halves[1])) == result_rows(query, whole)


def test_an_edge_event_is_measured_as_it_was_counted() -> None:
    event = EdgeEvent("s", '{"value": 1.5, "kind": "x"}', 90 * NS_PER_S, 4, 2, 9, 7, 1)
    query = usage_query(meter("LATEST"), group_by=["kind"], window="MINUTE")
    order = window_state.order(90 * NS_PER_S, 4, 2, 9)
    assert edge_reader(query)(event) == (ResultKey(60, ("x",), ""), Partial(15 * 10**17, order, 1, 60, 60))
    filtered = usage_query(meter("LATEST"), filters={"kind": ["y"]})
    assert edge_reader(filtered)(event) is None
    with pytest.raises(Broken):
        edge_reader(query)(event._replace(data='{"value": "text"}'))


def test_an_edge_event_has_the_dimensions_of_when_it_was_decided() -> None:
    first = define(BODY | {"groupBy": {"region": "$.region"}}, 7)
    changed = change(first, define(BODY | {"groupBy": {"kind": "$.kind"}}, 7), 20)
    changed = change(changed, define(BODY | {"groupBy": {"kind": "$.sort", "region": "$.region"}}, 7), 30)
    data = '{"value": 1, "kind": "k", "sort": "s", "region": "r"}'
    rows = {7: ("", "r"), 19: ("", "r"), 20: ("k", ""), 30: ("s", "r")}
    grouped = edge_reader(usage_query(changed, group_by=["kind", "region"]))
    for decided, dimensions in rows.items():
        event = EdgeEvent("s", data, 5, 4, 2, 9, decided, 1)
        found = grouped(event)
        assert found is not None and found[0].dimensions == dimensions
        for place, name in enumerate(("kind", "region")):
            for value in ("", "k", "s", "r"):
                kept = edge_reader(usage_query(changed, filters={name: [value]}))(event)
                assert (kept is not None) == (dimensions[place] == value)


@pytest.mark.parametrize(("rules", "kind"), [(0, "7.0"), (1, "7")])
def test_an_edge_event_is_read_by_the_rules_of_its_time(rules: int, kind: str) -> None:
    event = EdgeEvent("s", '{"value": 1.0, "kind": 7.0}', 5, 4, 2, 9, 7, rules)
    found = edge_reader(usage_query(meter("UNIQUE_COUNT"), group_by=["kind"]))(event)
    assert found is not None and found[0].dimensions == (kind,)
    member = "1.0" if rules == 0 else "1"
    assert found[1].members == {window_state.member_digest(member).hex()}


@pytest.mark.parametrize(
    "aggregation,part,value",
    [
        ("SUM", Partial(123 * 10**16, "", 2, 0, 0), "1.23"),
        ("AVG", Partial(10**18, "", 3, 0, 0), "0.333333333333333333"),
        ("AVG", Partial(1, "", 2, 0, 0), "0"),
        ("AVG", Partial(3, "", 2, 0, 0), "0.000000000000000002"),
        ("AVG", Partial(10**40, "", 1000, 0, 0), "10000000000000000000"),
        ("COUNT", Partial(None, "", 5, 0, 0), "5"),
        ("UNIQUE_COUNT", Partial(None, "", 9, 0, 0, 3, frozenset("ab")), "5"),
        ("LATEST", Partial(-(10**18), "x", 9, 0, 0), "-1"),
        ("MAX", Partial(0, "", 9, 0, 0), "0"),
    ],
)
def test_values(aggregation: str, part: Partial, value: str) -> None:
    (row,) = result_rows(usage_query(meter(aggregation)), {ResultKey(0, (), ""): part})
    assert (row["value"], row["count"]) == (value, part.events)


@pytest.mark.parametrize("value", [10**38, -(10**38)])
def test_a_total_of_more_than_38_digits_is_refused(value: int) -> None:
    with pytest.raises(Rejected) as refusal:
        result_rows(usage_query(METER), {ResultKey(0, (), ""): Partial(value, "", 2, 0, 0)})
    assert refusal.value.reason == "total-too-large"


def test_a_part_without_a_value_is_broken() -> None:
    with pytest.raises(Broken):
        result_rows(usage_query(METER), {ResultKey(0, (), ""): Partial(None, "", 2, 0, 0)})


@pytest.mark.parametrize(
    "text,scaled",
    [
        ("0", 0),
        ("1.5", 15 * 10**17),
        ("-0.000000000000000001", -1),
        ("99999999999999999999.999999999999999999", 10**38 - 1),
    ],
)
def test_totals_of_the_store(text: str, scaled: int) -> None:
    assert parse_total(text) == scaled


@pytest.mark.parametrize(
    "at_ns,text",
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (253_402_300_799 * NS_PER_S, "9999-12-31T23:59:59Z"),
    ],
)
def test_instants(at_ns: int, text: str) -> None:
    assert instant_text(at_ns) == text
