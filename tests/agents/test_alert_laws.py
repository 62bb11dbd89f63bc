"""ALERT's laws: any order and any cut of records, a chunk read again."""

from __future__ import annotations

import copy
import random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.notifications import rule
from pipeline.core.notifications.account_step import StepState
from pipeline.core.notifications.fired_rows import OPEN
from pipeline.core.quota.accounts import ACCOUNT as ACCOUNT_KEY
from pipeline.core.quota.balance_update import DUE, LATEST
from pipeline.records import Alert, CustomerWindow
from tests.fixtures.alert_desk import (
    AT_S,
    DAY_S,
    METERED,
    MINUTE_S,
    Desk,
    Usage,
    desk,
    fired,
    volume,
    watch,
)
from tests.fixtures.examples import examples
from tests.fixtures.fake_transaction import FakeRecord

AT_S_TEXT = "2026-01-01T00:00:00Z"
EVENT = st.tuples(st.sampled_from("ab"), st.integers(0, 180), st.integers(0, 30))


def ids(alerts: list[Alert]) -> list[str]:
    return sorted(one.id for one in alerts)


@settings(max_examples=examples(60))
@given(st.lists(EVENT, min_size=1, max_size=15), st.randoms(use_true_random=False))
def test_neither_order_nor_cut_matters(events: list[tuple[str, int, int]], rng: random.Random) -> None:
    """One balance, and each threshold that is met fires exactly once; likewise for volumes."""
    made, _, endpoint = desk()
    made.do("rule.create", watch(endpoint, 10, 50, 99))
    made.do("rule.create", volume(endpoint, 40))
    made.do("entitlement.create", METERED)
    usage = Usage(1)
    now_s = AT_S + DAY_S
    windows = [usage.event(subject, AT_S + minute * MINUTE_S, value) for subject, minute, value in events]
    windows += rng.choices(windows, k=3)
    rng.shuffle(windows)
    records = cut(made.record(windows), rng)
    for chunk in cut(records, rng):
        made.chunk([(now_s, record) for record in chunk])
    total = sum(value for _, _, value in events)
    assert (made.balance_of().usage, made.balance_of().balance) == (str(total), str(max(0, 100 - total)))
    assert fired(made.alerts) == sorted(f"usage_value:{limit}" for limit in (10, 50, 99) if total >= limit)
    hours: dict[int, int] = {}
    for _, minute, value in events:
        hours[minute // 60] = hours.get(minute // 60, 0) + value
    fired_alerts = [one.annotations["window"] for one in made.alerts if one.type == rule.VOLUME]
    assert sorted(fired_alerts) == [
        f"2026-01-01T{hour:02}:00:00.000Z" for hour in sorted(hours) if hours[hour] >= 40
    ]


def cut(items: list[Any], rng: random.Random) -> list[list[Any]]:
    places = sorted(rng.sample(range(len(items) + 1), rng.randint(0, min(3, len(items)))))
    parts = [items[start:end] for start, end in zip([0, *places], [*places, len(items)], strict=True)]
    return [part for part in parts if part]


STEP = st.one_of(
    st.tuples(st.just("use"), st.integers(0, 50), EVENT),
    st.tuples(st.just("clock"), st.integers(0, 50), st.none()),
)


Record = tuple[int, list[CustomerWindow] | None]  # its time, and windows; None: of the clock


def records_of(steps: list[Any], made: Desk) -> list[Record]:
    """A record for each step, in the order of their times."""
    usage, now_s = Usage(1), AT_S
    records: list[Record] = []
    for kind, minutes, event in steps:
        now_s += minutes * MINUTE_S
        if kind == "clock":
            records.append((now_s, None))
        else:
            subject, late, value = event
            window = usage.event(subject, max(AT_S, now_s - late * MINUTE_S // 4), value)
            records.append((now_s, made.record([window])))
    return records


@settings(max_examples=examples(60))
@given(st.lists(STEP, min_size=1, max_size=25), st.randoms(use_true_random=False))
def test_a_chunk_read_again_says_the_same(steps: list[Any], rng: random.Random) -> None:
    """Whether its state was written or not; periods, entitlements and grants end meanwhile."""
    made, _, endpoint = desk()
    made.do("rule.create", watch(endpoint, 10, 50, 99, rearm="resolved"))
    made.do("rule.create", watch(endpoint, 20, kind="balance_value"))
    made.do("rule.create", volume(endpoint, 25, "MINUTE"))
    for type_, more in ((rule.RESET, {}), (rule.EXPIRING, {"before": "PT1H"})):
        made.do("rule.create", {"type": type_, "name": "n", "channels": [endpoint], **more})
    hourly = {**METERED, "usagePeriod": {"interval": "PT1H"}}
    grant = {"amount": 10, "effectiveAt": AT_S_TEXT, "expiration": {"duration": "HOUR", "count": 2}}
    made.do("entitlement.create", {**hourly, "activeTo": "2026-01-01T03:30:00Z", "grants": [grant]})
    made.do("entitlement.create", {**hourly, "activeFrom": "2026-01-01T03:30:00Z"})
    for chunk in cut(records_of(steps, made), rng):
        before, timers = copy.deepcopy(made.table), copy.deepcopy(made.timers)
        made.clock_value()
        first = [FakeRecord(made.offset + place, *written(one)) for place, one in enumerate(chunk)]
        fired_alerts = made.chunk(chunk)
        counted = made.offset - 1
        after = copy.deepcopy(made.table.rows)
        balance = made.balance_of()
        again, counts = made.run(first, counted)
        assert ids(again) == ids(fired_alerts)
        assert not counts
        assert made.balance_of() == balance
        assert [one.payload for one in volumes(again)] == [one.payload for one in volumes(fired_alerts)]
        made.table, made.timers = before, timers
        again, _ = made.run(first)
        assert again == fired_alerts
        assert made.table.rows == after


RULES: list[dict[str, Any]] = [
    {"type": rule.RESET, "name": "n"},
    {"type": rule.EXPIRING, "name": "n", "before": "PT1H"},
    {**watch("", 10, 50, 99, kind="usage_percentage"), "rearm": "resolved"},
    watch("", 20, kind="balance_value"),
]


def several() -> Desk:
    """Two features of a customer, one after the other's entitlements, and rules about both."""
    made, _, endpoint = desk()
    for one in RULES:
        made.do("rule.create", {**one, "channels": [endpoint]})
    made.do("feature.create", {"key": "all", "name": "all", "meterSlug": "tokens"})
    hourly = {**METERED, "usagePeriod": {"interval": "PT1H"}}
    grant = {"amount": 10, "effectiveAt": AT_S_TEXT, "expiration": {"duration": "HOUR", "count": 2}}
    made.do("entitlement.create", {**hourly, "activeTo": "2026-01-01T03:30:00Z", "grants": [grant]})
    made.do("entitlement.create", {**hourly, "activeFrom": "2026-01-01T03:30:00Z"})
    made.do("entitlement.create", {**METERED, "featureKey": "all", "issueAfterReset": 60})
    return made


@settings(max_examples=examples(40))
@given(
    st.lists(STEP, min_size=1, max_size=25),
    st.randoms(use_true_random=False),
    st.sampled_from([None, 0, 9, 999]),
)
def test_where_chunks_end_changes_no_output(steps: list[Any], rng: random.Random, most: int | None) -> None:
    """A record has the alerts and late usage that it has alone. most: what stays in memory; None: no chunk's."""
    one_by_one, together = several(), several()
    if most is not None:
        known = together.known
        together.state = StepState(together.table, known.accounts, known.rules, most)
    for chunk in cut(records_of(steps, one_by_one), rng):
        for one in chunk:
            one_by_one.chunk([one])
        together.chunk(chunk)
        assert lasting(together) == lasting(one_by_one)
    assert together.alerts == one_by_one.alerts
    assert together.late == one_by_one.late
    for balance in (*together.balances.values(), *one_by_one.balances.values()):
        balance.received_at_ms = 0  # of the newest usage in the chunk
    assert together.balances == one_by_one.balances


def lasting(made: Desk) -> dict[bytes, bytes]:
    """The state without what is only there because a chunk may be read again."""
    kinds = {ACCOUNT_KEY, DUE, LATEST, OPEN}
    return {key: value for key, value in made.table.rows.items() if key[:1] in kinds}


def volumes(alerts: list[Alert]) -> list[Alert]:
    return [one for one in alerts if one.type == rule.VOLUME]


def written(record: Record) -> tuple[bytes, int, bytes | None]:
    at_s, windows = record
    value = b"[]" if windows is None else msgspec.json.encode(windows)
    return value, at_s * 1000, b"clock" if windows is None else None


@settings(max_examples=examples(60))
@given(st.lists(STEP, min_size=1, max_size=25), st.randoms(use_true_random=False))
def test_what_is_in_memory_changes_no_output_of_a_record_read_again(
    steps: list[Any], rng: random.Random
) -> None:
    """Also when rules have changed since it was read."""
    kept, fresh = several(), several()
    kept.state = StepState(kept.table, kept.known.accounts, kept.known.rules)
    for record in records_of(steps, kept):
        kept.chunk([record])
        fresh.chunk([record])
        if rng.random() < 0.5:
            values, rearm = rng.sample(range(1, 60), 3), rng.choice(["period", "resolved"])
            read = list(kept.read)
            for made in (kept, fresh):
                (first, *_) = [one.body or {} for _, one in made.log.state.items() if one.kind == "rule"][2:]
                made.log.do("rule.update", {**watch("", *values, rearm=rearm), **_written(first)})
                made.follow()
            assert kept.run(read, kept.offset)[0] == fresh.run(read, fresh.offset)[0]
    assert kept.alerts == fresh.alerts


def _written(body: dict[str, Any]) -> dict[str, Any]:
    """What an update of a rule names of the stored one."""
    return {name: body[name] for name in ("id", "type", "name", "channels")}
