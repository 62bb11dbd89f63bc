"""One invoice on its way: what each outcome of a call does."""

from __future__ import annotations

import pytest

from pipeline.core.billing.stripe_invoice import (
    StripeCall,
    StripeInvoice,
    ask,
    must_ask,
    proceed,
    settle,
    take_order,
)
from pipeline.core.billing.stripe_outcome import Outcome
from pipeline.core.billing.stripe_request import StripeTarget
from pipeline.core.billing.stripe_window import LOOK_AGAIN_MS, PAUSE_MS, SURE_MS
from pipeline.records import StripeFound
from tests.core.billing.bill_stripe import order

TARGET, NOW_MS = StripeTarget("01APP", "01CUSTOMER", "01INVOICE"), 1_000_000


def begun() -> tuple[StripeInvoice, StripeCall]:
    """An invoice whose customer is known, with its first call."""
    made = take_order(None, order())
    made.stripe_customer = "cus_1"
    proceed(made, TARGET, NOW_MS)
    assert made.call is not None and made.call.name == "create"
    return made, made.call


@pytest.mark.parametrize(
    ("outcome", "stored", "ended", "asks"),
    [("refused", False, "failed", False), ("later", False, "", False), ("unauthorized", False, "", False),
     ("unknown", False, "", False), ("unknown", True, "", True)],
)  # fmt: skip
def test_each_outcome_ends_repeats_or_asks(outcome: Outcome, stored: bool, ended: str, asks: bool) -> None:
    made, call = begun()
    settle(made, call.key, outcome, NOW_MS, message="no", is_stored=stored)
    assert (made.outcome, call.asks, made.call is None) == (ended, asks, bool(ended))
    assert ended or call.next_at_ms > NOW_MS


def test_a_refusal_after_a_lost_answer_is_asked_about() -> None:
    made, call = begun()
    settle(made, call.key, "unknown", NOW_MS)
    settle(made, call.key, "refused", NOW_MS)
    assert made.call is call and call.asks and not made.outcome


def test_a_call_is_asked_about_once_stripe_may_have_forgotten_its_key() -> None:
    _, call = begun()
    assert not must_ask(call, NOW_MS + SURE_MS - 1) and must_ask(call, NOW_MS + SURE_MS)


def test_what_is_missing_twice_is_made_again_under_another_key() -> None:
    made, call = begun()
    for at_ms, next_at_ms in ((0, LOOK_AGAIN_MS), (LOOK_AGAIN_MS - 1, LOOK_AGAIN_MS - 1 + PAUSE_MS)):
        ask(made, call.key, StripeFound(), NOW_MS + at_ms)
        assert made.call is call and call.next_at_ms == NOW_MS + next_at_ms
    ask(made, call.key, StripeFound(), NOW_MS + LOOK_AGAIN_MS)
    proceed(made, TARGET, NOW_MS + LOOK_AGAIN_MS)
    assert made.call is not None and made.call.name == "create" and made.call.key != call.key


def test_what_was_found_is_taken_over() -> None:
    made, call = begun()
    ask(made, call.key, StripeFound(id="in_1", status="draft"), NOW_MS)
    proceed(made, TARGET, NOW_MS)
    assert made.found.id == "in_1" and made.call is not None and made.call.name == "lines"


def test_an_outcome_of_another_call_changes_nothing() -> None:
    made, call = begun()
    settle(made, "other", "refused", NOW_MS)
    ask(made, "other", StripeFound(id="in_1", status="draft"), NOW_MS)
    assert made.call is call and call.attempts == 0 and not made.found.id
