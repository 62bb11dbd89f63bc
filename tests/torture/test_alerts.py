"""The recount of balances and crossings, on small cases that can be counted by hand; and that it sees each wrong."""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.flow.recount import WindowKey, WindowValue
from tests.torture.alerts import (
    THRESHOLD,
    Expected,
    FiredAlert,
    Found,
    balances_differ,
    expected,
    firings_differ,
)
from tests.torture.plan import Customer, Entitled, Feature, Move, Plan, Rule, month_of, plan

ANN, BOB = Customer("ann", ("a", "b")), Customer("bob", ())
POSTS = Feature("posts", "requests", {"method": "POST"})


def _window(subject: str, at_s: int, value: str, method: str = "POST") -> tuple[WindowKey, WindowValue]:
    return WindowKey("requests", subject, (("method", method),), at_s), WindowValue(value, 1)


def _plan(*resets: int) -> Plan:
    entitled = Entitled(ANN, POSTS, 600, (Decimal(10),), "e1", "c1", list(resets))
    thresholds = (("usage_percentage", "50"), ("usage_value", "6"), ("balance_value", "0"))
    rule = Rule("r", THRESHOLD, ("/good",), thresholds, id="rule-1")
    return Plan(0, [ANN, BOB], [entitled], [], [], [rule], Rule("late", THRESHOLD, ("/good",)))


def test_usage_is_of_the_customers_subjects_the_features_windows_and_the_period() -> None:
    windows = dict(
        [
            _window("a", 540, "100"),  # before it is measured
            _window("a", 600, "2.5"),
            _window("b", 660, "3"),
            _window("ann", 660, "1"),  # the key is a subject
            _window("c", 660, "50"),
            _window("a", 660, "50", "GET"),
        ]
    )
    found = expected(_plan(), windows)
    assert found.balances["c1", "posts"]["usage"] == "6.5"
    assert found.balances["c1", "posts"]["balance"] == "3.5"
    assert {fact.what for fact in found.facts} == {"usage_percentage:50", "usage_value:6"}
    first, second = _plan(660), _plan(660)
    assert expected(first, windows).balances["c1", "posts"]["usage"] == "4"
    assert {(fact.since_s, fact.what) for fact in expected(second, windows).facts} == set()


def test_a_threshold_is_met_at_its_value() -> None:
    assert {fact.what for fact in expected(_plan(), dict([_window("a", 600, "4.999")])).facts} == set()
    assert {fact.what for fact in expected(_plan(), dict([_window("a", 600, "5")])).facts} == {
        "usage_percentage:50"
    }
    assert {fact.what for fact in expected(_plan(), dict([_window("a", 600, "10")])).facts} == {
        "usage_percentage:50",
        "usage_value:6",
        "balance_value:0",
    }


@pytest.mark.parametrize(
    ("anchor", "zone", "now", "began"),
    [
        (
            "2026-01-31T09:30:00+01:00",
            "Europe/Berlin",
            "2026-03-15T00:00:00+00:00",
            "2026-02-28T08:30:00+00:00",
        ),
        (
            "2026-01-31T09:30:00+01:00",
            "Europe/Berlin",
            "2026-04-15T00:00:00+00:00",
            "2026-03-31T07:30:00+00:00",
        ),
        ("2026-01-31T09:30:00+01:00", "", "2026-04-15T00:00:00+00:00", "2026-03-31T08:30:00+00:00"),
        (
            "2025-12-20T20:00:00+13:00",
            "Pacific/Auckland",
            "2026-04-21T00:00:00+00:00",
            "2026-04-20T08:00:00+00:00",
        ),
    ],
)
def test_a_month_begins_on_the_local_clock_of_its_anchor(
    anchor: str, zone: str, now: str, began: str
) -> None:
    entitled = Entitled(ANN, POSTS, 0, (Decimal(10), Decimal(5)), "e1", "c1", anchor=anchor, zone=zone)
    now_s, began_s = (int(datetime.fromisoformat(text).timestamp()) for text in (now, began))
    assert month_of(entitled, now_s) == began_s
    made = _plan()
    made.start_s, made.entitled[:] = now_s, [entitled]
    found = expected(made, dict([_window("a", began_s - 60, "100"), _window("a", began_s, "4")])).balances
    fields = found["c1", "posts"]
    assert (fields["usage"], fields["total_available"]) == ("4", "15")
    assert fields["period_from_ms"] == str(began_s * 1000)


def test_the_calendars_of_a_plan_began_a_month_while_its_stream_flows() -> None:
    for seed in range(20):
        made = plan(seed, 30_000, 1_774_700_000 + seed * 86_400 * 19)
        monthly = [one for one in [*made.entitled, *made.late] if one.anchor]
        assert {bool(one.zone) for one in monthly} == {True, False}
        for one in monthly:
            assert 86_400 < made.start_s - month_of(one, made.start_s) < 22 * 86_400


def test_a_moved_subject_counts_where_it_was_in_that_minute() -> None:
    moved = _plan()
    moved.moves.append(Move("a", ANN, 660, BOB, 720))
    windows = dict([_window("a", 600, "1"), _window("a", 660, "2"), _window("a", 720, "4")])
    assert expected(moved, windows).balances["c1", "posts"]["usage"] == "1"


def _fired(threshold: str, id: str, *passed: str) -> FiredAlert:
    data = {"entitlement": {"id": "e1"}, "period": {"from": "1970-01-01T00:10:00Z"}, "passed": list(passed)}
    body: dict[str, Any] = {"id": id, "type": THRESHOLD, "rule": "rule-1"}
    body["annotations"] = {"threshold": threshold, "state": "fired"}
    return FiredAlert(id, body, {"id": id, "data": data})


def test_firings_that_lack_repeat_or_are_not_crossings_are_named() -> None:
    made = _plan()
    wanted = expected(made, dict([_window("a", 600, "7")]))
    right = [_fired("usage_value:6", "x", "usage_percentage:50")]
    alone = [_fired("usage_value:6", "x"), _fired("usage_percentage:50", "y")]
    for fired, differences in (
        (right, 0),
        (alone, 0),
        (alone[:1], 1),
        ([*right, alone[1]], 1),
        ([*right, *right], 3),
        ([*right, _fired("balance_value:0", "z")], 1),
    ):
        assert len(firings_differ(wanted, Found({}, {}, fired), made)) == differences, fired


def test_balances_that_differ_on_the_topic_or_in_redis_are_named() -> None:
    fields = {"usage": "7", "balance": "3"}
    wanted = Expected({("c1", "posts"): fields})
    good = {"customer": "c1", "feature": "posts", "revision": 4, **fields}
    place = ("c1", "posts")
    older: dict[str, Any] = deepcopy(good) | {"revision": 3}
    assert balances_differ(wanted, Found({"k": good}, {place: good}, [])) == []
    assert balances_differ(wanted, Found({"k": good}, {place: older}, [])) != []
    assert balances_differ(wanted, Found({"k": good}, {}, [])) != []
    assert (
        balances_differ(wanted, Found({"k": good | {"usage": "8"}}, {place: good | {"usage": "8"}}, [])) != []
    )
    assert balances_differ(wanted, Found({}, {}, [])) != []


def test_a_plan_comes_from_its_seed_and_has_shared_customers() -> None:
    made = plan(7, 30_000, 1_800_000_000)
    assert made == plan(7, 30_000, 1_800_000_000)
    subjects = [subject for one in made.customers for subject in one.all_subjects]
    assert len(subjects) == len(set(subjects))
    assert sum(len(one.subjects) > 1 for one in made.customers) > len(made.customers) / 2
