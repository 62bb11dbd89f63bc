"""What an answer of Stripe means.

Owns: the classification. Does not own: the call (stores.stripe_api), what follows for a window (stripe_window).
Source: Stripe's documentation, "Error handling" and "Idempotent requests"; meter events have no key of their own, the
identifier in the body makes a repeat safe for a day, as an idempotency key does for other calls.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Outcome = Literal["done", "refused", "later", "unauthorized", "unknown"]
REPEATED = "An event already exists with identifier"


class StripeAnswer(msgspec.Struct, frozen=True):
    """One answer, or none.

    Attributes:
        status: of HTTP; 0: no answer came.
        code, message: of Stripe's error; empty for a success. Without an answer the message is that of the transport.
        retry_after_ms: what Stripe asks to wait; 0: nothing.
        replayed: Stripe repeats the first answer to an idempotency key.
    """

    status: int
    code: str = ""
    message: str = ""
    request_id: str = ""
    retry_after_ms: int = 0
    replayed: bool = False


def outcome_of(answer: StripeAnswer, identifier: str) -> Outcome:
    """Classify an answer to the meter event with this identifier, or to the call with this idempotency key.

    Returns:
        done: Stripe has the event, from this call or from one before.
        refused: it is final; the same event is refused again.
        later: it was certainly not executed: 409, 429.
        unauthorized: the key is wrong, or lacks a right; nothing of this account can be sent.
        unknown: it may have been executed; also 408, with which a proxy gives up waiting.

    >>> outcome_of(StripeAnswer(400, message="An event already exists with identifier tm1:a."), "tm1:a")
    'done'
    >>> outcome_of(StripeAnswer(500), "tm1:a")
    'unknown'
    """
    status = answer.status
    if 200 <= status < 300:
        return "done"
    if status in (401, 403):
        return "unauthorized"
    if status in (409, 429):
        return "later"
    if 400 <= status < 500 and status != 408:
        repeated = answer.message.startswith(REPEATED) and identifier in answer.message.split()[-1]
        return "done" if repeated else "refused"
    return "unknown"
