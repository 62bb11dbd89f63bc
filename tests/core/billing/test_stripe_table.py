"""Usage on its way to Stripe: whatever comes in whatever order, Stripe has what is wanted, and nothing is dropped."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from math import floor
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.billing.stripe_window import SURE_MS
from pipeline.records import StripeWork
from tests.core.billing.stripe_world import (
    APP,
    DAY_MS,
    FROM_MS,
    FROM_S,
    HOUR_MS,
    HOUR_S,
    NAMESPACE,
    StripeWorld,
    app,
    customer_app,
    mapping,
    usage_window,
)

EVENT = "tokens-01MAP"


def world(**more: object) -> StripeWorld:
    return StripeWorld(mapping(**more), customer_app(4, "a", "cus_a"))  # type: ignore[arg-type]


def of(found: StripeWorld, customer: str, hour: int = 0) -> tuple[int, int, int, str]:
    """wanted, confirmed, unsendable and cause of a window."""
    one = next(
        one
        for one in found.shown.values()
        if (one.customer, one.start_s) == (customer, FROM_S + hour * HOUR_S)
    )
    return one.wanted, one.confirmed, one.unsendable, one.cause


def test_a_window_costs_one_call_after_its_end_and_one_for_late_usage() -> None:
    found = world()
    for minute in range(60):
        found.record([usage_window("a", FROM_S + 60 * minute, "2", minute)])
        found.tick(pass_ms=60_000)
        assert found.call() == 0
    found.tick(pass_ms=60_000)
    assert found.call() == 1 and found.stripe.sums == {("cus_a", EVENT, FROM_S): 120}
    found.record([usage_window("a", FROM_S, "3", 99)])
    found.record([usage_window("a", FROM_S + 60, "7", 99)])
    assert found.call() == 0
    found.tick(pass_ms=10_000)
    assert found.call() == 1 and found.stripe.sums == {("cus_a", EVENT, FROM_S): 126}
    assert of(found, "a") == (126, 126, 0, "")


def test_usage_before_the_first_window_and_of_other_meters_is_not_sent() -> None:
    found = world()
    found.record([usage_window("a", FROM_S - 60, "5", 1), usage_window("a", FROM_S, "5", 1, meter_id=8)])
    found.settle(10)
    assert found.stripe.calls == 0 and found.shown == {}


def test_a_window_that_comes_again_or_older_changes_nothing() -> None:
    found = world()
    for revision in (5, 5, 3):
        found.record([usage_window("a", FROM_S, "5" if revision == 5 else "1", revision)])
    found.settle(10)
    assert of(found, "a") == (5, 5, 0, "")


def test_a_void_takes_back_what_was_sent() -> None:
    found = world()
    found.record([usage_window("a", FROM_S, "5", 1)])
    found.settle(10)
    found.record([usage_window("a", FROM_S, "0", 2)])
    found.settle(10)
    assert found.stripe.sums == {("cus_a", EVENT, FROM_S): 0} and found.stripe.calls == 2


def test_a_customer_without_an_id_waits_and_is_sent_when_it_is_set() -> None:
    found = StripeWorld(mapping())
    found.record([usage_window("a", FROM_S, "5", 1)])
    found.settle(10)
    assert found.stripe.calls == 0 and of(found, "a") == (5, 0, 0, "")
    found.crash(2)
    found.change(customer_app(5, "a", "cus_a"))
    found.settle(1)
    assert found.stripe.sums == {("cus_a", EVENT, FROM_S): 5}


def test_a_changed_id_gets_the_differences_from_then_on_and_a_request_in_progress_keeps_its_bytes() -> None:
    found = world()
    found.record([usage_window("a", FROM_S, "5", 1)])
    found.tick(pass_ms=2 * HOUR_MS)
    found.call("lost")
    found.change(customer_app(5, "a", "cus_new"))
    found.settle(10)
    found.record([usage_window("a", FROM_S, "8", 2)])
    found.settle(10)
    assert found.stripe.sums == {("cus_a", EVENT, FROM_S): 5, ("cus_new", EVENT, FROM_S): 3}
    # A later doubt is decided by what this id of the customer has.
    found.record([usage_window("a", FROM_S, "9", 3)])
    found.tick(pass_ms=HOUR_MS)
    found.call("stored-lost")
    found.now_ms += SURE_MS
    found.settle(10)
    assert of(found, "a") == (9, 9, 0, "")
    assert found.stripe.sums["cus_new", EVENT, FROM_S] == 4


def test_a_refused_key_stops_the_app_until_the_key_is_replaced() -> None:
    found = world()
    found.record([usage_window("a", FROM_S + hour * HOUR_S, "1", hour) for hour in range(3)])
    found.tick(pass_ms=4 * HOUR_MS)
    found.call("401")
    found.change(app(5, "unauthorized"))
    found.settle(10)
    assert found.stripe.calls == 1
    found.change(app(6))
    assert found.call() == 1  # without the pause that the refused attempts have earned
    found.settle(2)
    assert sum(found.stripe.sums.values()) == 3


def test_an_uninstalled_app_and_a_deleted_mapping_get_nothing_new() -> None:
    for change in (app(5, deletedAt="2027-01-01T00:00:00Z"), mapping(5, deletedAt="2027-01-01T00:00:00Z")):
        found = world()
        found.record([usage_window("a", FROM_S, "1", 1)])
        found.change(change)
        found.settle(10)
        assert found.stripe.calls == 0 and of(found, "a") == (1, 0, 0, "")


def test_what_stripe_refuses_is_kept_with_its_cause_and_sent_when_the_customer_changes() -> None:
    found = world()
    found.record([usage_window("a", FROM_S, "5", 1)])
    found.tick(pass_ms=2 * HOUR_MS)
    found.call("400")
    assert of(found, "a") == (5, 0, 5, "refused") and found.unsendable == {"refused": 5}
    found.record([usage_window("a", FROM_S + 60, "1", 1)])
    found.settle(10)
    assert of(found, "a") == (6, 1, 5, "refused")  # later usage does not hide what was refused
    found.crash(3)
    found.change(customer_app(5, "a", "cus_b"))
    found.settle(2)
    assert of(found, "a") == (6, 6, 0, "")


def test_a_change_of_the_customer_while_no_worker_runs_is_seen_at_the_next_start() -> None:
    found = world()
    found.record([usage_window("a", FROM_S, "5", 1)])
    found.tick(pass_ms=2 * HOUR_MS)
    found.call("400")
    found.define(customer_app(5, "a", "cus_b"))
    found.crash(0)
    found.settle(2)
    assert of(found, "a") == (5, 5, 0, "")


def test_a_request_to_retry_sends_what_was_refused() -> None:
    found = world()
    found.record([usage_window("a", FROM_S, "5", 1)])
    found.tick(pass_ms=2 * HOUR_MS)
    found.call("400")
    found.record(StripeWork("retry", namespace=NAMESPACE, customer="a", mapping="01MAP"))
    found.settle(2)
    assert of(found, "a") == (5, 5, 0, "")


def test_an_event_that_stripe_reports_as_not_counted_is_refused_once() -> None:
    found = world()
    found.record([usage_window("a", FROM_S, "5", 1)])
    found.settle(10)
    (identifier,) = found.stripe.bodies
    for _ in range(2):
        found.record(StripeWork("reported", identifier=identifier, message="meter_event_customer_not_found"))
    assert of(found, "a") == (5, 0, 5, "refused")
    found.record(StripeWork("retry", namespace=NAMESPACE, customer="a", mapping="01MAP"))
    found.settle(2)
    assert of(found, "a") == (5, 5, 0, "")


def test_nothing_is_sent_before_historical_usage_was_loaded() -> None:
    found = StripeWorld(mapping(), customer_app(4, "a", "cus_a"), seeded=False)
    found.record([usage_window("a", FROM_S, "5", 1)])
    found.settle(10)
    assert found.stripe.calls == 0
    found.tick(["seeded", NAMESPACE, "01MAP", "3"])
    found.settle(1)
    assert found.stripe.calls == 1


@pytest.mark.parametrize("again", range(0, 12))
def test_a_doubt_of_more_than_23_hours_is_decided_by_the_summaries_of_all_dimensions(again: int) -> None:
    found = world(dimensions={"model": "model"})
    found.record([usage_window("a", FROM_S, "5", 1, "x"), usage_window("a", FROM_S, "7", 1, "y")])
    found.tick(pass_ms=2 * HOUR_MS)
    found.call()
    assert found.call("stored-lost") == 1
    found.now_ms += 25 * HOUR_MS
    found.crash(again)
    calls = found.stripe.calls
    found.settle(4)
    assert found.stripe.calls == calls
    assert found.stripe.sums == {("cus_a", EVENT, FROM_S): 12}
    assert {(one.wanted, one.confirmed) for one in found.shown.values()} == {(5, 5), (7, 7)}


def test_usage_of_more_than_35_days_is_listed_and_then_removed_but_for_its_carry() -> None:
    found = StripeWorld(mapping(multiplier="0.1"))
    found.record([usage_window("a", FROM_S, "15", 1)])
    for _ in range(40):
        found.tick(pass_ms=DAY_MS)
    assert of(found, "a") == (1, 0, 1, "too_old") and found.unsendable == {"too_old": 1}
    assert {key[:1] for key in found.table.rows} == {b"p", b"a", b"s"}
    found.change(customer_app(5, "a", "cus_a"))
    found.record([usage_window("a", FROM_S + 40 * 86_400, "5", 2)])
    found.settle(10)
    assert sum(found.stripe.sums.values()) == 1
    found.record([usage_window("a", FROM_S + 60, "5", 3)])
    assert found.past == 1  # it cannot be compared with what was counted


def test_more_than_15_digits_are_sent_in_parts() -> None:
    found = world()
    found.record([usage_window("a", FROM_S, str(3 * 10**15), 1)])
    found.settle(10)
    assert found.stripe.calls == 4 and sum(found.stripe.sums.values()) == 3 * 10**15


ACTIONS = st.sampled_from(
    ["usage"] * 6 + ["late", "void", "pass", "call", "call", "call", "crash", "jump", "id"]
)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**9), st.lists(ACTIONS, min_size=5, max_size=80),
    st.sampled_from(["1", "0.001", "0.3", "7"]), st.sampled_from(["HOUR", "DAY"]), st.booleans(),
)  # fmt: skip
def test_stripe_has_the_whole_units_of_the_usage_whatever_happens(
    seed: int, actions: list[str], multiplier: str, size: str, dimensions: bool
) -> None:
    random = Random(seed)
    more: dict[str, object] = {"dimensions": {"model": "model"}} if dimensions else {}
    found = StripeWorld(mapping(multiplier=multiplier, window=size, **more), customer_app(4, "a", "cus_a"))
    values: dict[tuple[str, str, int], Fraction] = {}
    revision = 10
    for action in actions:
        revision += 1
        minute_s = (
            (max(FROM_MS, found.now_ms) if action == "usage" else FROM_MS + random.randrange(5) * HOUR_MS)
            // 60_000
            * 60
        )
        if action in ("usage", "late", "void"):
            value = Fraction(0 if action == "void" else random.randrange(1, 4_000), 4)
            key = (random.choice("ab"), random.choice("xy"), minute_s)
            text = str(float(value)).removesuffix(".0")
            values[key] = value
            found.record([usage_window(key[0], minute_s, text, revision, key[1])])
        elif action == "pass":
            found.tick(pass_ms=random.randrange(0, 2 * HOUR_MS))
        elif action == "call":
            found.random_call(random)
        elif action == "crash":
            found.crash(random.randrange(0, 20))
        elif action == "jump":
            found.tick(pass_ms=random.randrange(-HOUR_MS, 30 * HOUR_MS))
        else:
            found.change(customer_app(revision, "b", random.choice(["cus_b", "cus_c"])))
    found.change(customer_app(revision + 1, "b", "cus_b"))
    found.now_ms = max(found.now_ms, FROM_MS)
    found.settle()
    assert found.flights() == []
    by_account: defaultdict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for (customer, model, _), value in values.items():
        by_account[customer, model if dimensions else ""] += value
    units = sum(floor(total * Fraction(multiplier)) for total in by_account.values())
    assert sum(found.stripe.sums.values()) == units
    assert all(one.wanted == one.confirmed and not one.cause for one in found.shown.values())
    assert all(len(bodies) == 1 for bodies in found.stripe.bodies.values())
    assert found.definitions.app(NAMESPACE, APP) is not None
