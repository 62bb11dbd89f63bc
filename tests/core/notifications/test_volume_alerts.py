"""Volumes: fired once a window and customer, from absolute windows that may come in any order and more than once."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.agents.alert import Known
from pipeline.agents.clock import Agenda
from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.changes import Changes
from pipeline.core.notifications import rule
from pipeline.core.notifications.rule import VolumeRule
from pipeline.core.notifications.volume_alerts import (
    GONE,
    PARTS,
    VOLUME,
    VolumeRules,
    evaluate_volumes,
    sweep,
    watch_of,
)
from pipeline.core.quota.balance_machine import KEEP_S
from pipeline.core.values import timestamp
from pipeline.core.values.number import SCALE
from pipeline.records import Alert, CustomerWindow, Window
from tests.fixtures.alert_desk import AT_S, DAY_S, HOUR_S, METER, MINUTE_S, Usage, data, desk, volume
from tests.fixtures.control_log import AT
from tests.fixtures.examples import examples
from tests.fixtures.fake_transaction import DictTable

SIZE = {"MINUTE": MINUTE_S, "HOUR": HOUR_S, "DAY": DAY_S}
EVENT = st.tuples(st.sampled_from("ab"), st.integers(0, 2 * 1440), st.integers(-5, 20), st.sampled_from("xy"))


class Watched:
    """One rule and a table. Each `take` is a record."""

    def __init__(self, limit: int, size: str = "HOUR", **more: Any) -> None:
        self.table = DictTable()
        self.rules = VolumeRules()
        body = {
            "id": "r" * 26, "type": rule.VOLUME, "name": "n", "channels": ["c"], "meterSlug": "tokens",
            "windowSize": size, "limit": str(limit), "disabled": False, "createdAt": AT, **more,
        }  # fmt: skip
        watch = watch_of(VolumeRule.read(body), revision=100)
        self.rules._of_meter["default", "tokens"] = [watch]
        self.position = 0
        self.customer: Customer | None = None

    def zone(self, name: str, changed_s: int) -> None:
        """The customer is changed: it has another zone, or is the same otherwise."""
        changed: dict[str, object] = {
            "id": "acme", "name": "Acme", "usageAttribution": {"subjectKeys": []}, "createdAt": AT,
            "updatedAt": text(changed_s),
        }  # fmt: skip
        self.customer = Customer.read({**changed, "timeZone": name} if name else changed)

    def take(self, *windows: Window, at_s: int = AT_S, customer: str = "acme") -> list[Alert]:
        self.position += 1
        return self.again(*windows, at_s=at_s, customer=customer)

    def again(self, *windows: Window, at_s: int = AT_S, customer: str = "acme") -> list[Alert]:
        found = [CustomerWindow(customer, window) for window in windows]
        alerts = evaluate_volumes(
            self.table, found, self.rules, lambda *_: self.customer, self.position, at_s * 1000
        )  # fmt: skip
        self.table.commit()
        return alerts

    def sweep(self, now_s: int) -> int:
        """A whole sweep; gives how many keys it removed."""
        removed, start = sweep(self.table, now_s)
        while start:
            self.table.commit()
            more, start = sweep(self.table, now_s, start)
            removed += more
        self.table.commit()
        return len(removed)


def test_an_alert_of_a_volume() -> None:
    made, customer, endpoint = desk()
    made.do("rule.create", volume(endpoint, 21, "DAY", groupBy={"model": "small"}))
    usage = Usage(1)
    windows = [usage.event("a", AT_S, 9), usage.event("a", AT_S, 99, "large"), usage.event("b", AT_S, 11)]
    assert made.use(windows, AT_S + 1) == []
    last = [usage.event("a", AT_S + HOUR_S, 0, id="none"), usage.event("b", AT_S + 60, 1, id="crossing")]
    (alert,) = made.use(last, AT_S + 2)
    assert (alert.type, alert.endpoints, alert.customer) == (rule.VOLUME, [endpoint], customer)
    assert (alert.subject, alert.annotations) == ("b", {"window": "2026-01-01T00:00:00.000Z"})
    body = msgspec.json.decode(alert.payload)
    assert (body["id"], body["type"], body["timestamp"]) == (
        alert.id,
        rule.VOLUME,
        "2026-01-01T00:00:02.000Z",
    )
    found = data(alert)
    assert found.pop("customer")["key"] == "acme"
    assert found == {
        "meter": {"slug": "tokens"},
        "subject": {"key": "b"},
        "window": {"size": "DAY", "from": "2026-01-01T00:00:00.000Z", "to": "2026-01-02T00:00:00.000Z"},
        "groupBy": {"model": "small"},
        "limit": 21,
        "value": 21,
        "event": {"source": "/source", "id": "crossing"},
    }
    assert made.use([usage.event("b", AT_S + 60, 50)], AT_S + 3) == []
    assert len(made.use([usage.event("b", AT_S + DAY_S, 50)], AT_S + DAY_S)) == 1


@settings(max_examples=examples(80))
@given(
    st.lists(EVENT, min_size=1, max_size=30),
    st.sampled_from(list(SIZE)),
    st.integers(0, 40),
    st.randoms(use_true_random=False),
)
def test_once_a_window_whatever_the_order_and_the_cut(
    events: list[tuple[str, int, int, str]], size: str, limit: int, rng: random.Random
) -> None:
    """With usage that is never taken back, exactly the windows that reach the limit, each by an event inside."""
    usage, watched, totals = Usage(1), Watched(limit, size), defaultdict[int, int](int)
    windows = []
    for subject, minute, value, model in events:
        at_s = AT_S + minute * MINUTE_S
        totals[at_s // SIZE[size] * SIZE[size]] += abs(value)
        windows.append(usage.event(subject, at_s, abs(value), model))
    windows += usage.stored() + rng.sample(windows, k=len(windows) // 2)
    rng.shuffle(windows)
    found = []
    while windows:
        record = [windows.pop() for _ in range(rng.randint(1, min(5, len(windows))))]
        alerts = watched.take(*record)
        assert watched.again(*record) == alerts
        found += alerts
    crossed = sorted(start_s for start_s, total in totals.items() if total >= limit)
    assert sorted(one.annotations["window"] for one in found) == [text(start_s) for start_s in crossed]


def text(at_s: int) -> str:
    return timestamp.text_of(at_s * 1000)


ZONES = st.sampled_from(["", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "Pacific/Auckland"])
DST_S = 1_774_656_000  # 2026-03-28, the day before the clock changes in Berlin


@settings(max_examples=examples(80), deadline=None)
@given(
    st.lists(st.tuples(EVENT, ZONES), min_size=1, max_size=20),
    st.sampled_from(["HOUR", "DAY"]),
    st.integers(1, 40),
)
def test_days_and_hours_are_the_customers_whatever_zone_it_had_before(
    events: list[tuple[tuple[str, int, int, str], str]], size: str, limit: int
) -> None:
    """After each record the newest window is the sum of all usage of its local day or hour, counted by hand."""
    usage, watched = Usage(1), Watched(limit, size)
    sent: list[tuple[int, int]] = []
    fired: set[int] = set()
    for number, ((subject, minute, value, model), name) in enumerate(events):
        at_s = DST_S + minute * MINUTE_S
        sent.append((at_s, abs(value)))
        now_s = DST_S + 2 * DAY_S + number
        watched.zone(name, now_s)
        alerts = watched.take(usage.event(subject, at_s, abs(value), model), at_s=now_s)
        inside = [
            (when_s, one) for when_s, one in sent if local(when_s, name, size) == local(at_s, name, size)
        ]
        total = sum(one for _, one in inside)
        for alert in alerts:
            window = data(alert)["window"]
            from_s, to_s = (timestamp.ms_of(window[end]) // 1000 for end in ("from", "to"))
            assert from_s <= at_s < to_s and all(from_s <= when_s < to_s for when_s, _ in inside)
            assert window.get("timeZone", "") == name and data(alert)["value"] == total >= limit
            assert local(from_s, name, size) == local(to_s - 60, name, size)
            assert to_s == end_s(at_s, name, size)
            fired.add(to_s)
        assert total < limit or end_s(at_s, name, size) in fired


def end_s(at_s: int, name: str, size: str) -> int:
    """When the local day or hour is over; clocks change on quarters of an hour."""
    quarters = itertools.count(at_s // 900 * 900 + 900, 900)
    return next(one for one in quarters if local(one, name, size) != local(at_s, name, size))


def local(at_s: int, name: str, size: str) -> str:
    """The local day or hour; the offset distinguishes an hour from its repetition."""
    shown = datetime.fromtimestamp(at_s, ZoneInfo(name or "UTC")).isoformat()
    return shown[:10] if size == "DAY" else shown[:13] + shown[19:]


@given(st.lists(EVENT, min_size=1, max_size=20), st.integers(-20, 60))
def test_in_order_it_is_the_event_with_which_the_total_crossed(
    events: list[tuple[str, int, int, str]], limit: int
) -> None:
    """Usage that is taken back counts too; each record brings one event."""
    usage, watched = Usage(1), Watched(limit, "DAY")
    totals, found = defaultdict[int, int](int), {}
    expected: dict[str, tuple[str, int]] = {}
    for number, (subject, minute, value, model) in enumerate(events):
        at_s = AT_S + minute * MINUTE_S
        day_s = at_s // DAY_S * DAY_S
        totals[day_s] += value
        if totals[day_s] >= limit:
            expected.setdefault(text(day_s), (str(number), totals[day_s]))
        for alert in watched.take(usage.event(subject, at_s, value, model, id=str(number))):
            found[alert.annotations["window"]] = (data(alert)["event"]["id"], data(alert)["value"])
    assert found == expected


def test_a_replay_says_the_same_after_the_window_went_on() -> None:
    usage, watched = Usage(1), Watched(10)
    first = usage.event("a", AT_S, 11)
    alerts = watched.take(first)
    for _ in range(3):
        assert watched.take(usage.event("b", AT_S, 1)) == []
    watched.position = 1
    assert watched.again(first) == alerts and len(alerts) == 1


@pytest.mark.parametrize(
    ("more", "takes"),
    [
        ({}, True),
        ({"customers": ["acme", "x"]}, True),
        ({"customers": ["x"]}, False),
        ({"groupBy": {"model": "small"}}, True),
        ({"groupBy": {"model": ""}}, False),
        ({"createdAt": "2026-01-01T00:59:59Z"}, True),
        ({"createdAt": "2026-01-01T01:00:00Z"}, False),
    ],
)
def test_what_counts_for_a_rule(more: dict[str, Any], takes: bool) -> None:
    watched = Watched(0, **more)
    assert bool(watched.take(Usage(1).event("a", AT_S, 1))) == takes
    assert bool(watched.table.rows) == takes


def test_customers_and_meters_are_apart() -> None:
    usage, watched = Usage(1), Watched(10)
    assert watched.take(usage.event("a", AT_S, 6)) == []
    assert watched.take(usage.event("b", AT_S, 6), customer="other") == []
    assert watched.take(Usage(1, "others").event("b", AT_S, 6)) == []


def test_a_limit_that_was_lowered_is_crossed_with_the_next_usage() -> None:
    usage, watched = Usage(1), Watched(100)
    window = usage.event("a", AT_S, 50)
    assert watched.take(window) == []
    watch = watched.rules._of_meter["default", "tokens"][0]
    watched.rules._of_meter["default", "tokens"] = [watch._replace(limit=10 * SCALE)]
    (alert,) = watched.take(window)
    assert data(alert)["value"] == 50 and watched.take(usage.event("a", AT_S, 1)) == []


def test_rules_are_followed() -> None:
    made, _, endpoint = desk()
    body = made.do("rule.create", volume(endpoint, 5))
    rules = made.known.volumes
    assert [one.id for one in rules.of("default", "tokens", 1)] == [body["id"]]
    assert not rules.of("default", "others", 1) and not rules.of("other", "tokens", 1)
    body_ = {key: body[key] for key in ("id", "type", "name", "channels", "meterSlug", "windowSize")}
    made.do("rule.update", {**body_, "limit": 7})
    assert [one.limit for one in rules.of("default", "tokens", 1)] == [7 * SCALE]
    made.do("rule.delete", {"id": body["id"]})
    assert not rules.of("default", "tokens", 1)


def test_a_rule_is_about_the_meter_that_had_the_slug_when_it_was_written() -> None:
    made, _, endpoint = desk()
    old = made.do("rule.create", volume(endpoint, 5))
    made.do("feature.archive", {"id": "gpt"})
    made.do("meter.delete", {"slug": "tokens"})
    made.do("meter.apply", METER)
    meter_id = made.log.body("meter", "tokens")["meterId"]
    new = made.do("rule.create", volume(endpoint, 5, name="new"))
    restarted = Known(Agenda(), 1)
    restarted.update(Changes(made.log.state))
    for rules in (made.known.volumes, restarted.volumes):
        assert [one.id for one in rules.of("default", "tokens", 1)] == [old["id"]]
        assert [one.id for one in rules.of("default", "tokens", meter_id)] == [new["id"]]
    watched = made.use([Usage(meter_id).event("a", AT_S, 6)], AT_S + 1)
    assert [one.rule for one in watched] == [new["id"]]
    late = made.use([Usage(1).event("a", AT_S, 7)], AT_S + 2)  # came before the meter was deleted
    assert [one.rule for one in late] == [old["id"]]
    reason, detail = made.log.refused("rule.update", {**volume(endpoint, 6), "id": old["id"]})
    assert (reason, "create a new rule instead" in detail) == ("bad-rule", True)


def test_late_usage_of_an_earlier_meter_counts_for_no_later_rule_however_often_the_slug_is_made_again() -> (
    None
):
    made, _, endpoint = desk()
    made.do("feature.archive", {"id": "gpt"})
    rules = []
    for _ in range(2):
        made.do("meter.delete", {"slug": "tokens"})
        made.do("meter.apply", METER)
        rules.append(made.do("rule.create", volume(endpoint, 5))["id"])
    assert made.known.volumes.of("default", "tokens", 1) == []
    meter_id = made.log.body("meter", "tokens")["meterId"]
    assert [one.id for one in made.known.volumes.of("default", "tokens", meter_id)] == rules[1:]


def test_after_a_restart_a_rule_knows_its_meter_however_often_the_slug_was_made_again() -> None:
    made, _, endpoint = desk()
    made.do("feature.archive", {"id": "gpt"})
    rules, meters = [made.do("rule.create", volume(endpoint, 5))["id"]], [1]
    for _ in range(2):
        made.do("meter.delete", {"slug": "tokens"})
        made.do("meter.apply", METER)
        rules.append(made.do("rule.create", volume(endpoint, 5))["id"])
        meters.append(made.log.body("meter", "tokens")["meterId"])
    restarted = Known(Agenda(), 1)
    restarted.update(Changes(made.log.state))
    for known in (made.known, restarted):
        found = [[one.id for one in known.volumes.of("default", "tokens", id)] for id in meters]
        assert found == [[rule] for rule in rules]


def test_a_rule_that_was_stored_without_its_meters_id_is_compared_by_revisions() -> None:
    made, _, endpoint = desk()
    body = made.do("rule.create", volume(endpoint, 5))
    key = f"default/rule/{body['id']}"
    stored = made.log.state[key]
    assert stored.body is not None and stored.body["meterId"] == 1
    old = {name: value for name, value in stored.body.items() if name != "meterId"}
    made.log.state[key] = msgspec.structs.replace(stored, body=old)
    restarted = Known(Agenda(), 1)
    restarted.update(Changes(made.log.state))
    assert [one.id for one in restarted.volumes.of("default", "tokens", 1)] == [body["id"]]
    assert not restarted.volumes.of("default", "tokens", stored.revision + 1)
    updated = made.do("rule.update", {**volume(endpoint, 6), "id": body["id"]})
    assert updated["meterId"] == 1


def test_what_can_no_longer_change_goes_and_does_not_come_back() -> None:
    usage, watched = Usage(1), Watched(10, "DAY")
    old = usage.event("a", AT_S + 60, 11)
    assert len(watched.take(old)) == 1
    young_s = AT_S + DAY_S
    watched.take(usage.event("a", young_s, 11))
    later_s = AT_S + KEEP_S + HOUR_S
    assert not watched.sweep(AT_S) and len(watched.table.rows) == 4
    assert watched.sweep(later_s) == 1
    assert sorted(key[:1] for key in watched.table.rows) == [VOLUME, VOLUME, PARTS, GONE]
    assert watched.take(old, at_s=later_s) == [] and watched.take(old, at_s=AT_S) == []
    assert not watched.sweep(later_s)
    assert watched.sweep(young_s + KEEP_S + DAY_S + HOUR_S) and set(watched.table.rows) == {GONE}
