"""What each answer of Stripe means for a meter event."""

from __future__ import annotations

import pytest

from pipeline.core.billing.stripe_outcome import Outcome, StripeAnswer, outcome_of

ID = "tm1:abc"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (StripeAnswer(200), "done"),
        (StripeAnswer(400, message=f"An event already exists with identifier {ID}."), "done"),
        (StripeAnswer(400, message="An event already exists with identifier tm1:other."), "refused"),
        (StripeAnswer(400, "parameter_unknown", f"Received unknown parameter: {ID}"), "refused"),
        (StripeAnswer(404, "resource_missing", "No such billing meter"), "refused"),
        (StripeAnswer(402, message="Your account cannot do this."), "refused"),
        (StripeAnswer(401, message="Invalid API Key provided"), "unauthorized"),
        (StripeAnswer(403, message="more permissions"), "unauthorized"),
        (StripeAnswer(408, message="Request Timeout"), "unknown"),
        (StripeAnswer(409, "idempotency_key_in_use"), "later"),
        (StripeAnswer(429, "lock_timeout"), "later"),
        (StripeAnswer(500), "unknown"),
        (StripeAnswer(503, message="upstream connect error"), "unknown"),
        (StripeAnswer(0, message="Connection reset by peer"), "unknown"),
    ],
)
def test_an_answer_has_one_outcome(answer: StripeAnswer, outcome: Outcome) -> None:
    assert outcome_of(answer, ID) == outcome
