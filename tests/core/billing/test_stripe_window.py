"""A window's way to Stripe: one request at a time, and in the end Stripe has what is wanted, whatever gets lost."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.billing.stripe_outcome import Outcome, StripeAnswer, outcome_of
from pipeline.core.billing.stripe_window import (
    HOUR_MS,
    LOOK_AGAIN_MS,
    LOOK_LATER_MS,
    OLDEST_MS,
    SURE_MS,
    StripeWindow,
    identifier_of,
    look,
    must_look,
    prepare,
    refuse_look,
    retry_refused,
    settle,
)

START_S = 1_800_000_000 // 3_600 * 3_600
NOW_MS = START_S * 1_000 + 2 * HOUR_MS
ACCOUNT = "default/cus/tokens"


def made(wanted: int = 5, now_ms: int = NOW_MS) -> StripeWindow:
    window = StripeWindow(wanted=wanted)
    assert prepare(window, "app", ACCOUNT, START_S, now_ms)
    return window


def test_the_next_request_waits_for_the_outcome_of_the_last_and_has_the_difference() -> None:
    window = made(5)
    assert window.request is not None
    first = window.request.identifier
    window.wanted = 8
    assert not prepare(window, "app", ACCOUNT, START_S, NOW_MS)
    assert (window.request.units, window.request.identifier) == (5, first)
    settle(window, 1, "done", NOW_MS)
    assert prepare(window, "app", ACCOUNT, START_S, NOW_MS)
    assert (window.confirmed, window.request.revision, window.request.units) == (5, 2, 3)
    assert window.request.identifier != first


@pytest.mark.parametrize("there", [0, 5])
@pytest.mark.parametrize(("outcomes", "is_stored"), [(["unknown"], True), (["unknown", "refused"], False)])
def test_the_summaries_decide_where_a_repeat_would_be_refused_again(
    there: int, outcomes: list[Outcome], is_stored: bool
) -> None:
    window = made(5)
    for outcome in outcomes:
        settle(window, 1, outcome, NOW_MS, "The meter is archived.", is_stored)
    assert window.request is not None and must_look(window.request, NOW_MS)
    assert window.request.next_at_ms == NOW_MS + LOOK_LATER_MS
    for at_ms in (LOOK_LATER_MS, LOOK_LATER_MS + LOOK_AGAIN_MS):
        look(window, 1, there, NOW_MS + at_ms)
    assert (window.request, window.confirmed) == (None, there)
    assert prepare(window, "app", ACCOUNT, START_S, NOW_MS + 2 * HOUR_MS) == (there == 0)


def test_usage_that_falls_is_taken_back_by_a_negative_request() -> None:
    window = made(5)
    settle(window, 1, "done", NOW_MS)
    window.wanted = 2
    prepare(window, "app", ACCOUNT, START_S, NOW_MS)
    assert window.request is not None and window.request.units == -3


def test_nothing_is_sent_where_nothing_is_open() -> None:
    window = StripeWindow(exact="0.5", wanted=0)
    assert not prepare(window, "app", ACCOUNT, START_S, NOW_MS)
    assert window.request is None


def test_usage_older_than_35_days_is_unsendable_and_named() -> None:
    window = StripeWindow(wanted=5)
    assert prepare(window, "app", ACCOUNT, START_S, START_S * 1_000 + OLDEST_MS + 1)
    assert (window.unsendable, window.cause, window.request) == (5, "too_old", None)


@pytest.mark.parametrize("outcome", ["later", "unauthorized", "unknown"])
def test_what_is_not_final_is_sent_again_with_the_same_bytes_after_a_growing_pause(outcome: Outcome) -> None:
    window = made()
    assert window.request is not None
    identifier, pauses = window.request.identifier, []
    for _ in range(15):
        settle(window, 1, outcome, NOW_MS, "message of Stripe")
        pauses.append(window.request.next_at_ms - NOW_MS)
    assert (window.request.identifier, window.request.units) == (identifier, 5)
    assert pauses == sorted(pauses) and pauses[0] == 2_000 and pauses[-1] == 600_000
    assert window.message == "message of Stripe"


def test_a_refusal_is_final_until_the_definitions_change() -> None:
    window = made()
    settle(window, 1, "refused", NOW_MS, "No such meter")
    assert (window.unsendable, window.cause, window.message) == (5, "refused", "No such meter")
    assert not prepare(window, "app", ACCOUNT, START_S, NOW_MS)
    retry_refused(window)
    assert prepare(window, "app", ACCOUNT, START_S, NOW_MS)
    assert window.request is not None and window.request.revision == 2


def test_a_refusal_after_an_unknown_attempt_proves_nothing() -> None:
    window = made()
    settle(window, 1, "unknown", NOW_MS)
    settle(window, 1, "refused", NOW_MS)
    assert window.request is not None and window.unsendable == 0


def test_an_outcome_of_an_older_request_changes_nothing() -> None:
    window = made()
    settle(window, 1, "done", NOW_MS)
    window.wanted = 9
    prepare(window, "app", ACCOUNT, START_S, NOW_MS)
    before = window.confirmed
    settle(window, 1, "done", NOW_MS)
    look(window, 1, 9, NOW_MS)
    assert window.confirmed == before and window.request is not None


@pytest.mark.parametrize(
    ("seen", "confirmed", "cause"), [(5, 5, ""), (0, 0, ""), (3, 0, "blocked"), (-1, 0, "blocked")]
)
def test_after_23_hours_two_equal_readings_of_the_summaries_decide(
    seen: int, confirmed: int, cause: str
) -> None:
    window = made()
    assert window.request is not None
    settle(window, 1, "unknown", NOW_MS)
    assert not must_look(window.request, NOW_MS + SURE_MS - 1)
    assert must_look(window.request, NOW_MS + SURE_MS)
    look(window, 1, seen, NOW_MS + SURE_MS)
    assert window.request is not None
    attempts, next_at_ms = window.request.attempts, window.request.next_at_ms
    look(window, 1, seen, NOW_MS + SURE_MS + LOOK_AGAIN_MS - 1)
    assert window.request is not None
    assert window.request.attempts > attempts and window.request.next_at_ms > next_at_ms
    look(window, 1, seen, NOW_MS + SURE_MS + LOOK_AGAIN_MS)
    assert (window.request, window.confirmed, window.cause) == (None, confirmed, cause)
    sends_again = prepare(window, "app", ACCOUNT, START_S, NOW_MS + SURE_MS + LOOK_AGAIN_MS)
    assert sends_again == (seen == 0)


def test_a_reading_that_differs_from_the_first_begins_again() -> None:
    window, at_ms = made(), NOW_MS + SURE_MS
    look(window, 1, 0, at_ms)
    look(window, 1, 5, at_ms + LOOK_AGAIN_MS)
    assert window.request is not None
    look(window, 1, 5, at_ms + 2 * LOOK_AGAIN_MS)
    assert (window.request, window.confirmed) == (None, 5)


def test_units_of_a_customer_that_stripe_does_not_have_are_refused_and_can_be_sent_again() -> None:
    window = made(5)
    settle(window, 1, "unknown", NOW_MS)
    refuse_look(window, 2, "of another request")
    assert window.request is not None
    refuse_look(window, 1, "No such customer: 'cus_a'")
    assert (window.request, window.unsendable, window.cause) == (None, 5, "refused")
    assert "cus_a" in window.message and window.confirmed == 0
    retry_refused(window)
    assert prepare(window, "app", ACCOUNT, START_S, NOW_MS)


def test_identifiers_are_short_pure_and_differ_by_each_argument() -> None:
    arguments = ("app", ACCOUNT, START_S, 1, 5)
    changed = [("b", *arguments[1:]), ("app", "x", START_S, 1, 5), ("app", ACCOUNT, 0, 1, 5),
               ("app", ACCOUNT, START_S, 2, 5), ("app", ACCOUNT, START_S, 1, 6)]  # fmt: skip
    identifiers = {identifier_of(*one) for one in [arguments, arguments, *changed]}
    assert len(identifiers) == 6
    assert {len(one) for one in identifiers} == {36}


class ForgetfulStripe:
    """Stripe with an identifier window of 24 hours; each call may be lost before or after it is executed."""

    def __init__(self, random: Random) -> None:
        self.total = 0
        self.bodies: dict[str, set[int]] = {}
        self._random = random
        self._taken: dict[str, int] = {}

    def send(self, identifier: str, units: int, now_ms: int, trouble: bool) -> StripeAnswer | None:
        """An answer; None: the worker died before it could be recorded."""
        self.bodies.setdefault(identifier, set()).add(units)
        fault = self._random.choice(
            ["429", "500", "lost", "stored-lost", "stored-500", "died", "stored-died", "ok"]
        )
        fault = fault if trouble else "ok"
        if fault in ("ok", "stored-lost", "stored-500", "stored-died"):
            if now_ms - self._taken.get(identifier, -(10**15)) < 24 * HOUR_MS:
                answer = StripeAnswer(400, message=f"An event already exists with identifier {identifier}.")
                return answer if fault == "ok" else None
            self._taken[identifier] = now_ms
            self.total += units
        return {
            "ok": StripeAnswer(200), "429": StripeAnswer(429), "500": StripeAnswer(500), "lost": StripeAnswer(0),
            "stored-lost": StripeAnswer(0), "stored-500": StripeAnswer(500),
        }.get(fault)  # fmt: skip


@given(seed=st.integers(0, 10**9), steps=st.lists(st.integers(0, 3_000), min_size=5, max_size=60))
def test_stripe_has_what_is_wanted_after_any_trouble(seed: int, steps: list[int]) -> None:
    random = Random(seed)
    stripe, window, now_ms, places = ForgetfulStripe(random), StripeWindow(), NOW_MS, len(steps)
    for place, minutes in enumerate([*steps, *[1_440] * 6]):
        now_ms = min(now_ms + minutes * 60_000, NOW_MS + 30 * 24 * HOUR_MS + place)
        trouble = place < places
        if trouble:
            window.wanted += random.randrange(-3, 8)
        for _ in range(1 if trouble else 4):
            prepare(window, "app", ACCOUNT, START_S, now_ms)
            request = window.request
            if request is None or request.next_at_ms > now_ms:
                continue
            if must_look(request, now_ms):
                look(window, request.revision, stripe.total, now_ms)
                continue
            answer = stripe.send(request.identifier, request.units, now_ms, trouble)
            if answer is not None:
                settle(window, request.revision, outcome_of(answer, request.identifier), now_ms)
    for _ in range(8):
        now_ms += LOOK_AGAIN_MS
        prepare(window, "app", ACCOUNT, START_S, now_ms)
        request = window.request
        if request is None:
            break
        if must_look(request, now_ms):
            look(window, request.revision, stripe.total, now_ms)
        else:
            stripe.send(request.identifier, request.units, now_ms, trouble=False)
            settle(window, request.revision, "done", now_ms)
    assert window.request is None and window.cause == ""
    assert stripe.total == window.confirmed == window.wanted
    assert all(len(bodies) == 1 for bodies in stripe.bodies.values())
