"""What Stripe refused, and a window that is blocked, is sent again on request: exactly the difference, and once."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from pipeline.core.billing.stripe_window import must_look
from pipeline.records import StripeWork
from tests.core.billing.stripe_log import METER, connected, mapping
from tests.core.billing.stripe_world import (
    FROM_MS,
    FROM_S,
    HOUR_MS,
    NAMESPACE,
    StripeWorld,
    customer_app,
    usage_window,
)
from tests.core.billing.test_stripe_table import of, world


def in_doubt(stripe_has: int) -> StripeWorld:
    """Request 1 of 5 units was confirmed, and request 2 of 3 got no answer for a day; then Stripe has other units."""
    found = world()
    found.record([usage_window("a", FROM_S, "5", 1)])
    found.settle(2)
    found.record([usage_window("a", FROM_S, "8", 2)])
    found.tick(pass_ms=HOUR_MS)
    found.call("lost")
    (place,) = found.stripe.sums
    found.stripe.sums[place] = stripe_has
    found.now_ms += 24 * HOUR_MS
    found.settle(5)
    return found


def accept(found: StripeWorld, accept: Literal["", "stripe"] = "stripe") -> None:
    found.record(StripeWork("retry", namespace=NAMESPACE, customer="a", mapping="01MAP", accept=accept))


@pytest.mark.parametrize("stripe_has", [0, 3, 7, 11])
def test_a_blocked_window_gets_the_difference_from_what_stripe_has_once_that_is_accepted(
    stripe_has: int,
) -> None:
    found = in_doubt(stripe_has)
    assert of(found, "a") == (8, 5, 3, "blocked")
    accept(found, "")
    found.settle(5)
    assert of(found, "a") == (8, 5, 3, "blocked")
    calls = found.stripe.calls
    accept(found)
    accept(found)
    found.crash(4)
    found.settle(5)
    accept(found)
    found.settle(5)
    assert of(found, "a") == (8, 8, 0, "")
    assert list(found.stripe.sums.values()) == [8]
    assert found.stripe.calls == calls + 1


def test_a_question_about_a_blocked_window_is_never_sent() -> None:
    found = in_doubt(7)
    accept(found)
    (question,) = found.flights()
    assert question.request.units == 0
    for now_ms in (0, found.now_ms, found.now_ms + 100 * HOUR_MS):
        assert must_look(question.request, max(now_ms, FROM_MS))


def test_a_sum_that_is_no_number_of_units_is_not_accepted() -> None:
    found = in_doubt(7)
    accept(found)
    for _ in range(2):
        found.tick(pass_ms=HOUR_MS)
        for flight in found.flights():
            sent = flight.sent
            found.record(StripeWork("seen", namespace=NAMESPACE, customer="a", mapping=sent.mapping,
                                    identifier=sent.identifier, units="6.5"))  # fmt: skip
    assert of(found, "a") == (8, 5, 3, "blocked")
    assert not found.flights()


def test_the_sum_is_accepted_of_the_customer_whose_sum_blocked_the_window() -> None:
    found = in_doubt(7)
    found.change(customer_app(5, "a", "cus_b"))
    accept(found)
    (question,) = found.flights()
    assert question.sent.stripe_customer == "cus_a"
    found.settle(5)
    assert sorted(found.stripe.sums.values()) == [1, 7]  # the difference goes to the new one


def test_a_report_of_a_request_that_an_accepted_sum_contains_takes_nothing_back() -> None:
    found = in_doubt(7)
    accept(found)
    found.settle(5)
    for identifier in list(found.stripe.bodies)[:2]:
        found.record(StripeWork("reported", identifier=identifier, message="meter_event_customer_not_found"))
    accept(found)
    found.settle(5)
    assert of(found, "a") == (8, 8, 0, "")
    assert list(found.stripe.sums.values()) == [8]


def test_a_report_about_a_blocked_window_does_not_let_it_be_sent_blindly() -> None:
    found = in_doubt(7)
    for identifier in list(found.stripe.bodies):
        found.record(StripeWork("reported", identifier=identifier, message="meter_event_customer_not_found"))
    calls = found.stripe.calls
    accept(found, "")
    found.settle(5)
    assert of(found, "a")[3] == "blocked" and found.stripe.calls == calls
    accept(found)
    found.settle(5)
    assert list(found.stripe.sums.values()) == [8]


def test_a_late_report_of_a_request_that_was_not_executed_takes_nothing_back() -> None:
    found = world()
    found.record([usage_window("a", FROM_S, "5", 1)])
    found.tick(pass_ms=2 * HOUR_MS)
    found.call("lost")
    (first,) = found.stripe.bodies
    found.now_ms += 24 * HOUR_MS
    found.settle(5)
    assert of(found, "a") == (5, 5, 0, "")
    found.record(StripeWork("reported", identifier=first, message="meter_event_customer_not_found"))
    accept(found)
    found.settle(5)
    assert of(found, "a") == (5, 5, 0, "")
    assert list(found.stripe.sums.values()) == [5]


def test_a_report_of_another_namespace_changes_nothing() -> None:
    found = world()
    found.record([usage_window("a", FROM_S, "5", 1)])
    found.settle(2)
    (identifier,) = found.stripe.bodies
    found.record(StripeWork("reported", namespace="other", identifier=identifier, message="archived_meter"))
    assert of(found, "a") == (5, 5, 0, "")
    found.record(StripeWork("reported", namespace=NAMESPACE, identifier=identifier, message="archived_meter"))
    assert of(found, "a") == (5, 0, 5, "refused")


def test_a_request_to_retry_is_decided_for_each_mapping_in_force_where_the_customer_is() -> None:
    log, app = connected()
    first = log.do("stripe-meter.create", mapping(app))["id"]
    second = log.do("stripe-meter.create", mapping(app, eventName="more"))["id"]
    log.do("meter.create", METER | {"slug": "other"})
    third = log.do("stripe-meter.create", mapping(app, meterSlug="other", eventName="other"))["id"]
    ended = log.do("stripe-meter.create", mapping(app, eventName="ended"))["id"]
    log.do("stripe-meter.delete", {"id": ended})
    asked = {"customer": "acme", "meter": "tokens", "accept": "stripe"}
    decision = log.run(log.command("stripe.retry", asked))
    works = [one for one in decision.sends if isinstance(one, StripeWork)]
    assert {(one.kind, one.mapping, one.accept) for one in works} == {
        ("retry", first, "stripe"), ("retry", second, "stripe"),
    }  # fmt: skip
    assert {one.customer for one in works} == {(decision.reply.body or {})["customerId"]}
    assert set(log.do("stripe.retry", {"customer": "acme"})["mappings"]) == {first, second, third}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"customer": "none"}, "not-found"),
        ({"customer": "acme"}, "not-found"),
        ({"customer": "acme", "meter": "none"}, "not-found"),
        ({"customer": "acme", "accept": "ours"}, "bad-retry"),
        ({"customer": "acme", "window": "x"}, "bad-retry"),
        ({"meter": "tokens"}, "bad-retry"),
    ],
)
def test_other_requests_to_retry_are_refused_by_control(body: dict[str, Any], reason: str) -> None:
    log, _ = connected()
    assert log.refused("stripe.retry", body)[0] == reason
