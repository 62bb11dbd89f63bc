"""Usage queries on each store against a plain recount of the same events, and the rules at the edges."""

from __future__ import annotations

import random
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from pipeline.core.metering.usage_query import usage_query
from pipeline.errors import Rejected
from pipeline.stores.clickhouse.client import TOO_LARGE, ClickHouse, Parameters, Queries, Rows, Sized
from pipeline.stores.clickhouse.usage import keys, usage
from tests.fixtures.counted_tenant import NS, Sent, Tenant, at, meter, recount

AGGREGATIONS = ["SUM", "COUNT", "AVG", "MIN", "MAX", "UNIQUE_COUNT", "LATEST"]
SUBJECTS = ["acme", "b/c", "it's"]
KINDS = ["in", "out", "", "{x:String}"]
FROM, TO = (
    at("2025-10-24T00:00:00+00:00"),
    at("2025-11-05T00:00:00+00:00"),
)  # clocks change


def made(seed: int, count: int) -> list[Sent]:
    """Events, many of them near hour, day and month ends of several zones; several in one minute."""
    dice = random.Random(seed)
    near = [
        FROM,
        TO - 60 * NS,
        at("2025-11-01T00:00:00+00:00"),
        at("2025-11-02T08:59:00+00:00"),
        FROM + 90_000 * NS,
    ]
    events = []
    for _ in range(count):
        time_ns = dice.choice(near) if dice.random() < 0.4 else dice.randrange(FROM, TO - 600 * NS)
        data: dict[str, Any] = {
            "value": dice.choice([1, -2, "0.000000000000000001", 3.25, "12345678901234567.5"])
        }
        if dice.random() < 0.8:
            data["kind"] = dice.choice(KINDS)
        if dice.random() < 0.5:
            data["region"] = dice.choice(["eu", "us"])
        time_ns += dice.randrange(0, 180 * NS)
        events.append(Sent(time_ns, data, dice.choice(SUBJECTS)))
    return events


EVENTS = made(1, 700)


@pytest.fixture(scope="module")
def tenant(store: ClickHouse) -> Tenant:
    tenant = Tenant(
        store,
        "usage",
        [meter("usage", aggregation, place) for place, aggregation in enumerate(AGGREGATIONS, 7)],
    )
    tenant.send(EVENTS)
    return tenant


def dimension(sent: Sent, name: str) -> str:
    return str((sent.data or {}).get(name, ""))


RANGES = [
    (None, None),
    (FROM, TO),
    (at("2025-11-01T00:00:00.25+00:00") + 7, at("2025-11-02T09:00:30+00:00")),
    (at("2025-11-01T00:00:20+00:00"), at("2025-11-01T00:00:40.000001+00:00")),
    (at("2025-10-30T00:00:00+00:00"), None),
    (None, at("2025-11-02T09:00:01+00:00")),
    (at("1960-01-01T00:00:00+00:00"), at("2200-01-01T00:00:00+00:00")),
]
WINDOWS = [
    (None, "UTC"),
    ("MINUTE", "UTC"),
    ("HOUR", "UTC"),
    ("DAY", "UTC"),
    ("MONTH", "UTC"),
    ("DAY", "America/Los_Angeles"),
    ("HOUR", "Asia/Kolkata"),
    ("MONTH", "Pacific/Chatham"),
    ("DAY", "Europe/Berlin"),
    ("HOUR", "Europe/Berlin"),
]
GROUPS: list[dict[str, Any]] = [
    {},
    {"group_by": ["subject"]},
    {"group_by": ["kind", "region"]},
    {"group_by": ["region", "subject"], "filters": {"kind": ["in", "{x:String}"]}},
    {"subjects": ["it's", "acme"], "filters": {"kind": [""]}},
]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("window,tz", WINDOWS)
def test_every_answer_is_that_of_a_plain_recount(
    store: ClickHouse, tenant: Tenant, aggregation: str, window: str | None, tz: str
) -> None:
    asked_of = next(one for one in tenant.meters if one.aggregation == aggregation)
    # Each range with one grouping, another one for each window and aggregation.
    shift = WINDOWS.index((window, tz)) + AGGREGATIONS.index(aggregation)
    for place, (from_ns, to_ns) in enumerate(RANGES):
        for asked in (GROUPS[(place + shift) % len(GROUPS)],):
            query = usage_query(asked_of, from_ns=from_ns, to_ns=to_ns, window=window, tz=tz, **asked)
            rows = usage(store, query)
            names = [name for name in asked.get("group_by", []) if name != "subject"]
            by_subject = query.by_subject

            def group(sent: Sent, names: list[str] = names, by_subject: bool = by_subject) -> tuple[str, ...]:
                return (*([sent.subject] if by_subject else []), *(dimension(sent, name) for name in names))

            def keep(sent: Sent, asked: dict[str, Any] = asked) -> bool:
                allowed = asked.get("filters", {})
                fits = all(dimension(sent, name) in values for name, values in allowed.items())
                return fits and (not asked.get("subjects") or sent.subject in asked["subjects"])

            expected = recount(
                aggregation,
                EVENTS,
                from_ns=from_ns,
                to_ns=to_ns,
                window=window,
                tz=tz,
                keep=keep,
                group=group,
            )
            found = {}
            for row in rows:
                start = datetime.fromisoformat(str(row["start"])) if window else None
                dimensions = [row["group"][name] for name in names]  # type: ignore[index]
                found[(start, *([row["subject"]] if by_subject else []), *dimensions)] = row
                assert by_subject or row["subject"] is None
            assert len(found) == len(rows)
            if (
                not expected
                and aggregation in ("COUNT", "UNIQUE_COUNT")
                and not window
                and not asked.get("group_by")
            ):
                assert by_subject or [row["value"] for row in rows] == ["0"]
                continue
            assert set(found) == set(expected)
            for key, (value, events) in expected.items():
                exact = Fraction(found[key]["value"])
                assert found[key]["count"] == events
                assert exact == value or (
                    aggregation == "AVG" and abs(exact - value) * 2 <= Fraction(1, 10**18)
                ), key


def test_rows_are_in_order_and_windows_touch(store: ClickHouse, tenant: Tenant) -> None:
    query = usage_query(
        tenant.meters[0], window="DAY", tz="America/Los_Angeles", group_by=["kind", "subject"]
    )
    rows = usage(store, query)
    keys = [(row["start"], row["subject"], row["group"]["kind"]) for row in rows]  # type: ignore[index]
    assert keys == sorted(keys)
    days = sorted({(str(row["start"]), str(row["end"])) for row in rows})
    assert ("2025-11-02T07:00:00Z", "2025-11-03T08:00:00Z") in days  # 25 hours
    assert all(one[1] <= other[0] for one, other in pairwise(days))


def test_row_is_what_the_contract_says(store: ClickHouse, namespace: str) -> None:
    tenant = Tenant(store, namespace, [meter(namespace, "SUM", slug="tokens")])
    tenant.send([Sent(at("2025-01-01T10:00:30+00:00"), {"value": "1.50", "kind": "in"}, "acme")])
    (one,) = tenant.meters
    query = usage_query(one, window="HOUR", tz="Asia/Kolkata", group_by=["kind"])
    assert usage(store, query) == [
        {
            "meter": "tokens",
            "subject": None,
            "customer": None,
            "window": "HOUR",
            "tz": "Asia/Kolkata",
            "start": "2025-01-01T09:30:00Z",
            "end": "2025-01-01T10:30:00Z",
            "group": {"kind": "in"},
            "value": "1.5",
            "count": 1,
        },
    ]
    total = usage(store, usage_query(one, subjects=["acme"], from_ns=at("2025-01-01T00:00:00.5+00:00")))
    assert [(row["subject"], row["window"], row["start"], row["end"]) for row in total] == [
        ("acme", None, "2025-01-01T00:00:00.5Z", "2025-01-01T10:01:00Z")
    ]


def test_an_old_meter_of_the_same_slug_is_another_meter(store: ClickHouse, namespace: str) -> None:
    noon = at("2025-01-01T12:00:10+00:00")
    old, new = (meter(namespace, "SUM", meter_id, slug="m") for meter_id in (5, 9))
    first = Tenant(store, namespace, [old], revision=8)
    first.send([Sent(noon, {"value": 1})])
    second = Tenant(store, namespace, [new], revision=9)
    second.offset = 1_000
    second.send([Sent(noon, {"value": 10})])
    for from_ns in (None, noon - 9 * NS):  # from windows, and from events
        assert [row["value"] for row in usage(store, usage_query(new, from_ns=from_ns, to_ns=noon + NS))] == [
            "10"
        ]


def test_totals_beyond_a_decimal_column_stay_exact_or_are_refused(store: ClickHouse, namespace: str) -> None:
    tenant = Tenant(store, namespace, [meter(namespace, "SUM", 1), meter(namespace, "AVG", 2)])
    start, big = at("2025-01-01T00:00:00+00:00"), 10**18 - 1
    tenant.send([Sent(start + minute * 60 * NS, {"value": big}) for minute in range(400)], each=400)
    for one in tenant.meters:
        hour = usage(store, usage_query(one, to_ns=start + 60 * 60 * NS))
        assert [row["value"] for row in hour] == [str(60 * big if one.aggregation == "SUM" else big)]
    total, average = tenant.meters
    with pytest.raises(Rejected) as refusal:
        usage(store, usage_query(total))
    assert refusal.value.reason == "total-too-large"
    assert [row["value"] for row in usage(store, usage_query(average))] == [str(big)]
    tenant.send([Sent(start + minute * 60 * NS, {"value": -big}) for minute in range(400, 800)], each=400)
    assert [row["value"] for row in usage(store, usage_query(total))] == ["0"]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_empty_ranges(store: ClickHouse, namespace: str, aggregation: str) -> None:
    one = meter(namespace, aggregation)
    zero = ["0"] if aggregation in ("COUNT", "UNIQUE_COUNT") else []
    for from_ns, to_ns in ((None, None), (FROM + 1, TO), (FROM, FROM + 5)):
        rows = usage(store, usage_query(one, from_ns=from_ns, to_ns=to_ns))
        assert [row["value"] for row in rows] == zero
        for window in ("MINUTE", "DAY"):
            assert usage(store, usage_query(one, from_ns=from_ns, to_ns=to_ns, window=window)) == []
        assert usage(store, usage_query(one, from_ns=from_ns, to_ns=to_ns, group_by=["kind"])) == []


CUSTOMERS = {"c-1": ["acme", "it's"], "c-2": ["b/c", "unknown"], "c-3": ["none"]}


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("by_subject", [False, True])
def test_usage_of_customers_is_that_of_their_subjects(
    store: ClickHouse, tenant: Tenant, aggregation: str, by_subject: bool
) -> None:
    """Together, not added up: two subjects of a customer that saw the same member are one."""
    asked_of = next(one for one in tenant.meters if one.aggregation == aggregation)
    customer_of = {subject: customer for customer, subjects in CUSTOMERS.items() for subject in subjects}
    for (from_ns, to_ns), (window, tz) in zip(RANGES, WINDOWS, strict=False):
        query = usage_query(
            asked_of,
            from_ns=from_ns,
            to_ns=to_ns,
            window=window,
            tz=tz,
            customers=CUSTOMERS,
            group_by=["kind", *(["subject"] if by_subject else [])],
            advanced={"region": {"$or": [{"$like": "e_"}, {"$exists": False}]}},
        )
        expected = recount(
            aggregation,
            EVENTS,
            from_ns=from_ns,
            to_ns=to_ns,
            window=window,
            tz=tz,
            keep=lambda sent: dimension(sent, "region") in ("eu", ""),
            group=lambda sent: (
                customer_of[sent.subject],
                *([sent.subject] if by_subject else []),
                dimension(sent, "kind"),
            ),
        )
        found = {}
        for row in usage(store, query):
            start = datetime.fromisoformat(str(row["start"])) if window else None
            subject = [row["subject"]] if by_subject else []
            group = (start, row["customer"], *subject, row["group"]["kind"])  # type: ignore[index]
            found[group] = (Fraction(str(row["value"])), row["count"])
        if aggregation == "AVG":  # to 18 decimals
            expected = {key: (round(value, 18), count) for key, (value, count) in expected.items()}
        assert found == expected


def test_no_subject_of_a_customer_is_no_usage(store: ClickHouse, tenant: Tenant) -> None:
    (count,) = (one for one in tenant.meters if one.aggregation == "COUNT")
    for customers, subjects in (({"c": []}, []), ({"c": ["acme"]}, ["b/c"])):
        query = usage_query(count, customers=customers, subjects=subjects)
        assert usage(store, query) == [] and keys(store, query) == set()


def test_keys_are_what_has_usage(store: ClickHouse, tenant: Tenant) -> None:
    (count,) = (one for one in tenant.meters if one.aggregation == "COUNT")
    for from_ns, to_ns in RANGES:
        query = usage_query(count, from_ns=from_ns, to_ns=to_ns, group_by=["subject", "kind"])
        rows = usage(store, query)
        assert {(key.subject, key.dimensions) for key in keys(store, query)} == {
            (row["subject"], tuple(row["group"].values()))  # type: ignore[attr-defined]
            for row in rows
        }


def test_a_huge_answer_is_refused(store: ClickHouse, tenant: Tenant) -> None:
    with pytest.raises(Rejected) as refusal:
        usage(store, usage_query(tenant.meters[0], window="MINUTE"), max_rows=3)
    assert refusal.value.reason == "too-many-rows"


class Tight(Queries):
    """A store that refuses an answer of more than three events of cut minutes, as too large."""

    def __init__(self, store: ClickHouse) -> None:
        self._store = store
        self.refused = 0

    def query(self, sql: str, parameters: Parameters | None = None, sized: Sized | None = None) -> Rows:
        rows = self._store.query(sql, parameters)
        if "received_at_ms" in sql and len(rows) > 3:
            self.refused += 1
            raise Rejected(TOO_LARGE, "too large")
        return rows


@pytest.mark.parametrize("aggregation", ["SUM", "UNIQUE_COUNT", "LATEST"])
def test_events_of_a_cut_minute_that_are_too_many_are_read_in_parts(
    store: ClickHouse, tenant: Tenant, aggregation: str
) -> None:
    asked_of = next(one for one in tenant.meters if one.aggregation == aggregation)
    query = usage_query(asked_of, from_ns=FROM + 30 * NS, to_ns=TO - 30 * NS, group_by=["subject"])
    tight = Tight(store)
    assert usage(tight, query) == usage(store, query)
    assert tight.refused
