"""What the sandbox takes as a meter event, and what it counts."""

from __future__ import annotations

import pytest

from pipeline.local.stripe_sandbox.account import SandboxAccount
from pipeline.local.stripe_sandbox.errors import StripeRefusal
from pipeline.local.stripe_sandbox.form import Form
from pipeline.local.stripe_sandbox.meter_events import DAY_S, HOUR_S, MeterEvents

NOW_S = 1_800_000_000 // DAY_S * DAY_S
METER: Form = {
    "display_name": "Tokens",
    "event_name": "tokens",
    "default_aggregation": {"formula": "sum"},
    "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
    "value_settings": {"event_payload_key": "value"},
}


@pytest.fixture
def account() -> SandboxAccount:
    made = SandboxAccount("acct_1", {})
    made.create_meter(METER, NOW_S)
    made.create_customer({}, NOW_S)
    return made


def event(value: str, identifier: str, at_s: int = NOW_S, customer: str = "cus_sandbox00000001") -> Form:
    return {
        "event_name": "tokens",
        "payload": {"stripe_customer_id": customer, "value": value},
        "identifier": identifier,
        "timestamp": str(at_s),
    }


def summed(
    account: SandboxAccount, events: MeterEvents, now_s: int, window: str = "hour"
) -> dict[int, float]:
    (meter,) = account.meters.values()
    end_s = NOW_S + 2 * DAY_S
    form: Form = {
        "customer": "cus_sandbox00000001", "start_time": str(NOW_S - DAY_S), "end_time": str(end_s),
        "value_grouping_window": window, "limit": "100",
    }  # fmt: skip
    rows = events.summaries(meter, form, now_s)["data"]
    assert isinstance(rows, list)
    return {row["start_time"]: row["aggregated_value"] for row in rows}


def test_events_are_summed_by_the_window_of_their_own_time(account: SandboxAccount) -> None:
    events = MeterEvents(account)
    for number, (value, at_s) in enumerate([("3", 0), ("4", HOUR_S - 1), ("-2", HOUR_S), ("5", -1)]):
        events.create(event(value, f"e{number}", NOW_S + at_s), NOW_S + HOUR_S)
    by_hour = {NOW_S - HOUR_S: 5.0, NOW_S: 7.0, NOW_S + HOUR_S: -2.0}
    assert summed(account, events, NOW_S + HOUR_S) == by_hour
    assert summed(account, events, NOW_S + HOUR_S, "day") == {NOW_S - DAY_S: 5.0, NOW_S: 5.0}


def test_an_identifier_is_not_taken_again_for_a_day(account: SandboxAccount) -> None:
    events = MeterEvents(account)
    events.create(event("3", "same"), NOW_S)
    with pytest.raises(StripeRefusal, match="An event already exists with identifier same") as refused:
        events.create(event("4", "same"), NOW_S + DAY_S - 1)
    assert (refused.value.status, refused.value.headers["Stripe-Should-Retry"]) == (400, "false")
    events.create(event("4", "same"), NOW_S + DAY_S)
    assert summed(account, events, NOW_S + DAY_S) == {NOW_S: 7.0}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"timestamp": str(NOW_S - 35 * DAY_S - 1)}, "timestamp_too_far_in_past"),
        ({"timestamp": str(NOW_S + 301)}, "timestamp_in_future"),
        ({"payload": {"value": "1.5"}}, "meter_event_invalid_value"),
        ({"payload": {"value": "1234567890123456"}}, "meter_event_value_too_many_digits"),
        ({"event_name": ""}, "parameter_missing"),
        ({"amount": "3"}, "parameter_unknown"),
    ],
)
def test_what_is_checked_at_once_is_refused(account: SandboxAccount, changed: Form, code: str) -> None:
    events = MeterEvents(account)
    with pytest.raises(StripeRefusal) as refused:
        events.create({**event("3", "e1"), **changed}, NOW_S)
    assert (refused.value.status, refused.value.code, events.events) == (400, code, [])


def test_what_is_checked_later_is_taken_not_counted_and_reported(account: SandboxAccount) -> None:
    events = MeterEvents(account)
    events.create(event("3", "e1", customer="cus_other"), NOW_S)
    events.create({**event("4", "e2"), "event_name": "calls"}, NOW_S)
    events.create({**event("5", "e3"), "payload": {"stripe_customer_id": "cus_sandbox00000001"}}, NOW_S)
    account.set_active("mtr_sandbox00000001", False)
    events.create(event("6", "e4"), NOW_S)
    assert summed(account, events, NOW_S) == {}
    reports = {report.meter: dict(report.counts) for report in events.reports()}
    assert reports == {
        "mtr_sandbox00000001": {
            "meter_event_customer_not_found": 1,
            "meter_event_invalid_value": 1,
            "archived_meter": 1,
        },
        "": {"no_meter": 1},
    }
    assert events.reports() == []


def test_summaries_are_late_by_the_delay_and_lose_digits_above_2_to_the_53rd(account: SandboxAccount) -> None:
    events = MeterEvents(account, delay_s=60)
    for number in range(10):
        events.create(event("999999999999999", f"e{number}"), NOW_S)
    events.create(event("1", "last"), NOW_S)
    assert summed(account, events, NOW_S + 59) == {}
    assert summed(account, events, NOW_S + 60) == {NOW_S: float(9_999_999_999_999_991)}
    assert float(9_999_999_999_999_991) == 9_999_999_999_999_992


def test_a_cancelled_event_counts_no_more(account: SandboxAccount) -> None:
    events = MeterEvents(account)
    events.create(event("3", "e1"), NOW_S)
    cancel: Form = {"event_name": "tokens", "type": "cancel", "cancel": {"identifier": "e1"}}
    with pytest.raises(StripeRefusal, match="last 24 hours"):
        events.cancel(cancel, NOW_S + DAY_S)
    events.cancel(cancel, NOW_S + DAY_S - 1)
    assert summed(account, events, NOW_S + DAY_S) == {}


def test_summaries_come_in_pages_the_newest_first(account: SandboxAccount) -> None:
    events = MeterEvents(account)
    for hour in range(5):
        events.create(event("1", f"e{hour}", NOW_S + hour * HOUR_S), NOW_S + 5 * HOUR_S)
    (meter,) = account.meters.values()
    form: Form = {
        "customer": "cus_sandbox00000001", "start_time": str(NOW_S), "end_time": str(NOW_S + DAY_S),
        "value_grouping_window": "hour", "limit": "2",
    }  # fmt: skip
    starts: list[int] = []
    while True:
        page = events.summaries(meter, form, NOW_S + DAY_S)
        rows = page["data"]
        assert isinstance(rows, list)
        starts += [row["start_time"] for row in rows]
        if not page["has_more"]:
            break
        form = {**form, "starting_after": rows[-1]["id"]}
    assert starts == [NOW_S + hour * HOUR_S for hour in (4, 3, 2, 1, 0)]
