"""The outcome of a call to Stripe, as records.

Owns: the records of an outcome, and the command that stops an app. Does not own: what an answer means
(core.billing.stripe_outcome), publishing (stripe_dispatch).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pipeline.agents.stripe_accounts import StripeAccount
from pipeline.core.billing.stripe_outcome import StripeAnswer, outcome_of
from pipeline.core.billing.stripe_state import StripeFlight
from pipeline.records import Command, StripeWork
from pipeline.stores.kafka.writer import WrittenRecord

COMMANDS = "commands"
ACTOR = "stripe-sync"
MOST_REASON = 1_000  # characters of a reason that control takes
_encode = msgspec.json.Encoder().encode


def attempt_of(flight: StripeFlight, answer: StripeAnswer) -> StripeWork:
    """The outcome of sending a meter event."""
    outcome = outcome_of(answer, flight.sent.identifier)
    message = "" if outcome == "done" else answer.message
    work = outcome_record(flight, outcome, answer.status, message)
    work.retry_after_ms = answer.retry_after_ms
    return work


def outcome_record(
    flight: StripeFlight,
    outcome: Literal["", "done", "refused", "later", "unauthorized", "unknown"],
    status: int,
    message: str,
) -> StripeWork:
    """A record of kind "attempt" about the request of a flight. status: of HTTP. message: Stripe's own."""
    sent = flight.sent
    return StripeWork(
        "attempt",
        namespace=sent.namespace,
        customer=sent.customer,
        mapping=sent.mapping,
        identifier=sent.identifier,
        outcome=outcome,
        status=status,
        message=message,
    )


def stop_command(account: StripeAccount, message: str, at_ms: int) -> WrittenRecord:
    """The command that stops an app. Its id is made of its cause, so that two of them are decided once."""
    id = f"unauthorized-{account.app}-{account.revision}"
    body: dict[str, object] = {
        "id": account.app,
        "reason": message[:MOST_REASON],
        "revision": account.revision,
    }
    command = Command(id, "app.unauthorized", account.namespace, ACTOR, at_ms, body)
    return WrittenRecord(COMMANDS, _encode(command), partition=0)
