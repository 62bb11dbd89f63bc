"""OpenMeter's own cases of meter queries (cases/openmeter-meter-query.json), on each store.

Left out, with why:
- the two `FilterStoredAt` cases: usage is a function of the events' time, not of when they were stored;
- `CSV`: the form of the HTTP answer, which the API owns (its values have every digit, not `%f`);
- `customer with 2 subjects`: customers are no part of a usage query; two subjects are summed below;
- the value null inside "covers all three events": the event is stored as invalid there too, which is what they expect.
Cases marked `mockOnly` follow a mock that sums whole windows; `outByQueryRule` is what holds.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.core.metering.usage_query import usage_query
from pipeline.errors import Rejected
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.usage import usage
from tests.fixtures.counted_tenant import NS, Sent, Tenant, at, meter

FILE = Path(__file__).parents[2] / "cases" / "openmeter-meter-query.json"
CASES: dict[str, dict[str, Any]] = {case["id"]: case for case in json.loads(FILE.read_text())["cases"]}
LEFT_OUT = {
    "Should filter events by FilterStoredAt using Lt predicate with WithStoredAt override",
    "Should filter events by FilterStoredAt using $and composite predicate",
    "CSV",
    "customer with 2 subjects: usage is summed over all its subjects",
}
TIMED = [
    name
    for name, case in CASES.items()
    if "from" in case["in"] and isinstance(case["in"].get("events"), list)
]
COVERING = [name for name in CASES if ", range " in name]
WHOLE = ["total, no from/to/window", "MINUTE windows", "HOUR windows"]
DST = [name for name in CASES if name.startswith("DAY windows over DST")]
REFUSED = [name for name in CASES if name.startswith("query validation")]


def test_every_case_is_taken_or_left_out_by_name() -> None:
    taken = [name for name in [*TIMED, *COVERING, *WHOLE, *DST, *REFUSED] if name not in LEFT_OUT]
    assert sorted([*taken, *LEFT_OUT]) == sorted(CASES)


def answer(
    store: ClickHouse, namespace: str, aggregation: str, events: list[Sent], **asked: Any
) -> list[Any]:
    one = meter(namespace, aggregation, slug="m")
    Tenant(store, namespace, [one]).send(events)
    return usage(store, usage_query(one, **asked))


@pytest.mark.parametrize("name", [name for name in TIMED if name not in LEFT_OUT])
def test_windows(store: ClickHouse, namespace: str, name: str) -> None:
    case, out = CASES[name]["in"], CASES[name].get("outByQueryRule", CASES[name]["out"])
    events = [Sent(at(event["time"]), {"value": event["value"]}) for event in case["events"]]
    rows = answer(
        store,
        namespace,
        case["aggregation"],
        events,
        from_ns=at(case["from"]),
        to_ns=at(case["to"]),
        window=case["windowSize"],
        tz=case.get("windowTimeZone", "UTC"),
    )
    assert [(Decimal(row["value"]), row["start"], row["end"]) for row in rows] == [
        (Decimal(str(row["value"])), row["windowStart"], row["windowEnd"]) for row in out["rows"]
    ]


@pytest.mark.parametrize("name", COVERING)
def test_values_of_any_type(store: ClickHouse, namespace: str, name: str) -> None:
    case, out = CASES[name]["in"], CASES[name]["out"]["value"]
    start = at("2024-01-01T00:00:00+00:00")
    events = [Sent(start + place * NS, event["data"]) for place, event in enumerate(case["events"])]
    from_ns = start if case["range"] == "covers all three events" else start + 60 * NS
    rows = answer(store, namespace, case["aggregation"], events, from_ns=from_ns, to_ns=start + 3600 * NS)
    # Theirs is a float64; ours has every digit.
    assert [float(row["value"]) for row in rows] == ([] if out is None else [out])


@pytest.mark.parametrize("name", WHOLE)
def test_five_customers(store: ClickHouse, namespace: str, name: str) -> None:
    days = {"D": "2024-03-10", "D+1": "2024-03-11"}
    starts = ["2024-03-10T00:00:00Z", "2024-03-10T00:01:00Z", "2024-03-10T01:00:00Z", "2024-03-11T00:00:00Z"]
    events = [Sent(at(start), {"value": "100"}, f"customer-{n}") for n in range(1, 6) for start in starts]
    rows = answer(store, namespace, "SUM", events, window=CASES[name]["in"].get("windowSize"))

    def instant(text: str) -> str:
        day, clock = text.split()
        return f"{days[day]}T{clock}:00Z"

    assert [(row["value"], row["start"], row["end"]) for row in rows] == [
        (str(row["value"]), instant(row["windowStart"]), instant(row["windowEnd"]))
        for row in CASES[name]["out"]["rows"]
    ]


@pytest.mark.parametrize("name", DST)
def test_days_over_a_change_of_the_clock(store: ClickHouse, namespace: str, name: str) -> None:
    case, out = CASES[name]["in"], CASES[name]["out"]
    zone = ZoneInfo(case["windowTimeZone"])
    first = datetime.fromisoformat(case["from"].split("T")[0]).replace(tzinfo=zone)
    midnights = [first + timedelta(days=day) for day in range(out["rows"] + 1)]
    events = [Sent(at(day.replace(hour=10).isoformat()), {"value": "100"}) for day in midnights[:-1]]
    span = {"from_ns": at(midnights[0].isoformat()), "to_ns": at(midnights[-1].isoformat())}
    rows = answer(store, namespace, "SUM", events, window="DAY", tz=case["windowTimeZone"], **span)
    assert [row["value"] for row in rows] == [str(out["eachValue"])] * out["rows"]
    assert [(at(row["start"]), at(row["end"])) for row in rows] == [
        (at(start.isoformat()), at(end.isoformat())) for start, end in pairwise(midnights)
    ]
    assert (
        datetime.fromisoformat(rows[out["dstDay"]["index"]]["start"])
        .astimezone(zone)
        .isoformat()
        .startswith(out["dstDay"]["windowStart"].split()[0] + "T00:00")
    )


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_not_be_asked(name: str) -> None:
    asked = CASES[name]["in"]
    with pytest.raises(Rejected) as refusal:
        usage_query(
            meter("n", "SUM"),
            from_ns=at(asked["from"]) if "from" in asked else None,
            to_ns=at(asked["to"]) if "to" in asked else None,
            group_by=asked.get("groupBy", []),
            filters={key: [value] for key, value in asked.get("filterGroupBy", {}).items()},
        )
    assert refusal.value.detail == CASES[name]["out"]["error"]


def test_two_subjects_of_one_customer_are_summed(store: ClickHouse, namespace: str) -> None:
    noon = at("2024-01-01T12:00:00+00:00")
    rows = answer(
        store, namespace, "COUNT", [Sent(noon, {}, "multi_subject_1"), Sent(noon, {}, "multi_subject_2")]
    )
    assert [row["value"] for row in rows] == ["2"]
