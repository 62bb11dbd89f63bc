"""An event keeps the dimensions that were in force when it was counted: windows and events give one answer.

A minute is asked whole, which reads its windows, and with its edges cut by a nanosecond, which reads its events.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.metering.meter import Meter, change, define
from pipeline.core.metering.usage_query import UsageQuery, usage_query
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.usage import keys, usage
from tests.fixtures.counted_tenant import NS, Sent, Tenant, at, meter
from tests.stores.clickhouse.test_backfill import backfilled

NOON = at("2025-01-01T12:00:00+00:00")
AGGREGATIONS = ["SUM", "COUNT", "AVG", "MIN", "MAX", "UNIQUE_COUNT", "LATEST"]
_names = itertools.count()


def ask(store: ClickHouse, of: Meter, cut: bool, **asked: Any) -> list[dict[str, object]]:
    """The rows of the minute without their start and end."""
    rows = usage(store, query(of, cut, **asked))
    return [{name: row[name] for name in ("group", "subject", "value", "count")} for row in rows]


def query(of: Meter, cut: bool, **asked: Any) -> UsageQuery:
    return usage_query(of, from_ns=NOON + cut, to_ns=NOON + 60 * NS - cut, **asked)


def test_a_dimension_that_came_later(store: ClickHouse, namespace: str) -> None:
    first = meter(namespace, "SUM", 7, groupBy={})
    later = change(first, meter(namespace, "SUM", 7, groupBy={"plan": "$.plan"}), 20)
    tenant = Tenant(store, namespace, [first], revision=10)
    tenant.send([Sent(NOON + NS, {"value": 5, "plan": "pro"})])
    tenant.meters, tenant.revision = [later], 20
    tenant.send([Sent(NOON + 2 * NS, {"value": 7, "plan": "pro"})])
    for cut in (False, True):
        rows = ask(store, later, cut, group_by=["plan"])
        assert [(row["group"], row["value"]) for row in rows] == [({"plan": ""}, "5"), ({"plan": "pro"}, "7")]
        assert [row["value"] for row in ask(store, later, cut, filters={"plan": ["pro"]})] == ["7"]
        assert [row["value"] for row in ask(store, later, cut, filters={"plan": [""]})] == ["5"]
        found = {key.dimensions for key in keys(store, query(later, cut, group_by=["plan"]))}
        assert found == {("",), ("pro",)}


def test_a_backfill_counts_by_the_meter_as_it_was_made(store: ClickHouse, namespace: str) -> None:
    tenant = Tenant(store, namespace, [], revision=5)
    tenant.send([Sent(NOON + NS, {"value": 1, "kind": "a", "plan": "p"})])
    made = meter(namespace, "SUM", 7, groupBy={"kind": "$.kind"})
    backfilled(store, made)
    later = change(made, meter(namespace, "SUM", 7, groupBy={"kind": "$.plan"}), 20)
    for cut in (False, True):
        assert [row["group"] for row in ask(store, later, cut, group_by=["kind"])] == [{"kind": "a"}]


GROUPS = st.dictionaries(
    st.sampled_from(["kind", "plan", "tier"]), st.sampled_from(["$.a", "$.b", "$.c[0]"]), max_size=3
).filter(lambda group: len(set(group.values())) == len(group))
DATA = st.fixed_dictionaries(
    {"value": st.sampled_from([1, 2.50, "0.1", 7])},
    optional={
        "a": st.sampled_from(["x", "", 7, 7.0, "7", "7.0", None]),
        "b": st.sampled_from(["x", True, 1.10]),
        "c": st.sampled_from([["x"], [1.1], [], "x"]),
    },
)
STEPS = st.lists(st.one_of(GROUPS, st.lists(DATA, min_size=1, max_size=4)), min_size=2, max_size=10)


@given(STEPS, st.sampled_from(AGGREGATIONS), st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_windows_and_events_give_one_answer_whatever_dimensions_came_and_went(
    store: ClickHouse, steps: list[Any], aggregation: str, data: st.DataObject
) -> None:
    namespace, revision = f"dimensions-{next(_names)}", 7
    of = meter(namespace, aggregation, 7, groupBy={})
    tenant = Tenant(store, namespace, [of], revision)
    place = 0
    for step in steps:
        if isinstance(step, dict):
            revision += 1
            of = change(of, define({**of.body(), "groupBy": step}, 7, namespace), revision)
            tenant.meters, tenant.revision = [of], revision
        else:
            tenant.send([Sent(NOON + NS + (place := place + 1), one, "ab"[place % 2]) for one in step])
    group_by = data.draw(st.lists(st.sampled_from(["subject", *of.group_by]), unique=True))
    asked: dict[str, Any] = {"group_by": group_by}
    if of.group_by and data.draw(st.booleans()):
        values = st.lists(st.sampled_from(["", "x", "7", "7.0", "1.1"]), min_size=1)
        asked["filters"] = {data.draw(st.sampled_from(sorted(of.group_by))): data.draw(values)}
    assert ask(store, of, True, **asked) == ask(store, of, False, **asked)
    assert keys(store, query(of, True, **asked)) == keys(store, query(of, False, **asked))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_spellings_of_a_number_are_one_in_windows_and_in_events(
    store: ClickHouse, namespace: str, aggregation: str
) -> None:
    of = meter(namespace, aggregation, 7)
    tenant = Tenant(store, namespace, [of])
    tenant.send([
        Sent(NOON + NS, {"value": 7, "kind": 1.10}), Sent(NOON + 2 * NS, {"value": 7.0, "kind": 1.1}),
        Sent(NOON + 3 * NS, {"value": 7, "kind": "1.10"}),
    ])  # fmt: skip
    for cut in (False, True):
        rows = ask(store, of, cut, group_by=["kind"])
        assert [(row["group"], row["count"]) for row in rows] == [({"kind": "1.1"}, 2), ({"kind": "1.10"}, 1)]
    if aggregation == "UNIQUE_COUNT":
        assert [row["value"] for row in ask(store, of, False)] == ["1"]
