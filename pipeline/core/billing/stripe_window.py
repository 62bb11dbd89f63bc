"""One window of usage on its way to Stripe: what is wanted, what is confirmed, what is in progress.

Owns: the states of a window and what each event does to them; identifiers. Does not own: exact usage and the carry
(stripe_units), where rows lie (stripe_table), what an answer means (stripe_outcome). Time is an argument, in ms.

A window holds at most one request. Its bytes are fixed when it is made and its identifier is a pure function of them,
so that a replay repeats it and no identifier ever has two bodies. The next request is made when the outcome of the one
before is known:

    wanted 5, confirmed 0   --prepare-->  request 1 of 5 units
    late usage: wanted 8                  request 1 is in progress and is not changed
    answer 200              --settle-->   confirmed 5
                            --prepare-->  request 2 of 3 units

Stripe remembers an identifier for 24 hours, so a request is repeated for SURE_MS after it was made, whatever became of
its attempts; a worker may have died between a call and its record. After that the summaries of Stripe decide, read
twice, LOOK_AGAIN_MS apart (`look`). They decide also, from LOOK_LATER_MS on, about a request that is refused although
an attempt before may have been taken: a repeat would be refused again.

    confirmed + the request's units   it was executed
    confirmed                         it was not; the next revision is sent
    anything else                     the window is blocked, and `drift` shows it: nothing is sent blindly

An operator may accept the sum that Stripe has for a blocked window (`accept`). It is then read twice again, by a
request of no units that is never sent, the first time after LOOK_AGAIN_MS: a call of the same customer may have ended
just before. What Stripe has becomes `confirmed`, and the difference from `wanted` is sent.
"""

from __future__ import annotations

from base64 import b32encode
from hashlib import blake2b
from typing import Literal

import msgspec

from pipeline.core.billing.stripe_outcome import Outcome
from pipeline.core.billing.stripe_units import first_part

HOUR_MS = 3_600_000
# For which Stripe certainly knows an identifier: 24 hours, less one for clocks and queues.
SURE_MS = (24 - 1) * HOUR_MS
LOOK_AGAIN_MS = 600_000
# Until the summaries certainly hold what Stripe has taken.
LOOK_LATER_MS = HOUR_MS
# The age of a window that Stripe still takes: 35 days, less an hour on the way.
OLDEST_MS = (35 * 24 - 1) * HOUR_MS
# Between attempts, doubled each time.
PAUSE_MS, PAUSE_MOST_MS = 1_000, 600_000

Cause = Literal["", "refused", "too_old", "blocked"]


class StripeRequest(msgspec.Struct, array_like=True):
    """A meter event that was decided.

    Attributes:
        revision: 1 for the window's first.
        units: the value of the event; 0: a question about a blocked window, which is never sent.
        identifier: of the event.
        made_at_ms: no attempt began before it; 0 where only the summaries are to be read.
        next_at_ms: when it is to be sent, or the summaries are to be read.
        attempts: whose outcome is known, and readings of the summaries.
        unsure: an attempt had no answer, or a 5xx: Stripe may have the event.
        seen, seen_at_ms: what the summaries held when they were first read; None before.
        looks: it is not sent any more, and the summaries decide.
    """

    revision: int
    units: int
    identifier: str
    made_at_ms: int
    next_at_ms: int
    attempts: int = 0
    unsure: bool = False
    seen: int | None = None
    seen_at_ms: int = 0
    looks: bool = False


class StripeWindow(msgspec.Struct, array_like=True):
    """The state of a window.

    Attributes:
        exact: its usage, plain decimal text.
        wanted: whole units that Stripe is to have for it.
        confirmed: units that Stripe has.
        unsendable: units that Stripe does not take, with the `cause` of the newest and Stripe's `message`.
        revision: of its newest request.
        accepts: the window is blocked, and the sum of Stripe is to be read again and counts.
        settled: revision up to which the sum that was accepted counts for requests; 0: none was.
    """

    exact: str = "0"
    wanted: int = 0
    confirmed: int = 0
    unsendable: int = 0
    revision: int = 0
    request: StripeRequest | None = None
    cause: Cause = ""
    message: str = ""
    accepts: bool = False
    settled: int = 0

    @property
    def is_due(self) -> bool:
        """Whether a request is to be made for the window."""
        return self.accepts or (self.open_units != 0 and self.cause != "blocked")

    @property
    def open_units(self) -> int:
        """Units that no request holds and Stripe has not refused."""
        under_way = self.request.units if self.request else 0
        return self.wanted - self.confirmed - self.unsendable - under_way


def identifier_of(app: str, account: str, start_s: int, revision: int, units: int) -> str:
    """The identifier of a request: 36 characters, a pure function of its arguments.

    Args:
        app: id of the Stripe app.
        account: namespace, customer, mapping and dimensions as one text.
        start_s: of the window.
        revision: of the request within its window, from 1.
        units: of the request, so that two bodies can never share an identifier.
    """
    text = msgspec.json.encode((app, account, start_s, revision, units))
    return f"tm1:{b32encode(blake2b(text, digest_size=20).digest()).decode().lower()}"


def prepare(window: StripeWindow, app: str, account: str, start_s: int, now_ms: int) -> bool:
    """Make the next request of a window where one is due.

    Usage that Stripe no longer takes becomes unsendable, with the cause `too_old`.

    Returns:
        Whether the window has changed.
    """
    if window.request is None and window.accepts:
        window.accepts = False
        window.revision += 1
        identifier = identifier_of(app, account, start_s, window.revision, 0)
        window.request = StripeRequest(window.revision, 0, identifier, 0, now_ms + LOOK_AGAIN_MS)
        return True
    units = first_part(window.open_units)
    if window.request is not None or not units or window.cause == "blocked":
        return False
    if now_ms - start_s * 1_000 > OLDEST_MS:
        window.unsendable += units
        window.cause, window.message = "too_old", "Stripe takes usage of the last 35 days."
        return True
    window.revision += 1
    identifier = identifier_of(app, account, start_s, window.revision, units)
    window.request = StripeRequest(window.revision, units, identifier, now_ms, now_ms)
    return True


def settle(
    window: StripeWindow,
    revision: int,
    outcome: Outcome,
    now_ms: int,
    message: str = "",
    is_stored: bool = False,
) -> None:
    """Apply the outcome of an attempt. An outcome of an older request changes nothing.

    Args:
        window: changed in place.
        revision: of the request that was sent.
        outcome: of the attempt.
        now_ms: when its outcome is applied.
        message: Stripe's own; shown where the outcome is no success.
        is_stored: a repeat would bring the same answer.
    """
    request = window.request
    if request is None or request.revision != revision:
        return
    request.attempts += 1
    if outcome == "done":
        window.confirmed += request.units
        window.request = None
        _clear_cause(window)
        return
    window.message = message
    if outcome == "refused" and not request.unsure:
        window.unsendable += request.units
        window.request, window.cause = None, "refused"
        return
    request.unsure = request.unsure or outcome == "unknown"
    request.next_at_ms = now_ms + min(PAUSE_MS << min(request.attempts, 20), PAUSE_MOST_MS)
    if outcome == "refused" or (outcome == "unknown" and is_stored):
        request.looks, request.next_at_ms = True, now_ms + LOOK_LATER_MS


def must_look(request: StripeRequest, now_ms: int) -> bool:
    """Whether the summaries have to be read before the request may be sent again."""
    return request.looks or now_ms - request.made_at_ms >= SURE_MS


def look(window: StripeWindow, revision: int, units: int, now_ms: int) -> None:
    """Apply what the summaries hold for the window.

    Args:
        window: changed in place.
        revision: of the request that is in doubt.
        units: that Stripe has counted for the customer and window.
        now_ms: when they were read.
    """
    request = window.request
    if request is None or request.revision != revision:
        return
    if request.seen != units or now_ms - request.seen_at_ms < LOOK_AGAIN_MS:
        if request.seen != units:
            request.seen, request.seen_at_ms = units, now_ms
        request.next_at_ms = max(request.seen_at_ms + LOOK_AGAIN_MS, now_ms + PAUSE_MS)
        request.attempts += (
            1  # what was read too early has changed the request, or it would not be read again
        )
        return
    if not request.units:
        window.confirmed, window.settled = units, revision
        window.unsendable, window.cause, window.message = 0, "", ""
    elif units == window.confirmed + request.units:
        window.confirmed += request.units
        _clear_cause(window)
    elif units != window.confirmed:
        window.unsendable += request.units
        window.cause = "blocked"
        expected = f"{window.confirmed} or {window.confirmed + request.units}"
        window.message = f"Stripe has {units} units, and {expected} were expected."
    window.request = None


def _clear_cause(window: StripeWindow) -> None:
    """The newest request succeeded; what was unsendable before keeps its cause."""
    if not window.unsendable:
        window.cause, window.message = "", ""


def refuse_look(window: StripeWindow, revision: int, message: str) -> None:
    """Stripe shows no sum, since it does not have the customer or the meter: nothing there can be billed.

    Args:
        window: changed in place.
        revision: of the request that is in doubt.
        message: Stripe's own.
    """
    request = window.request
    if request is None or request.revision != revision:
        return
    window.request, window.message = None, message
    if request.units:
        window.unsendable += request.units
        window.cause = "refused"


def give_up_look(window: StripeWindow, revision: int) -> None:
    """The sum of Stripe is no exact number of units, so a blocked window stays as it is."""
    if window.request is not None and window.request.revision == revision and not window.request.units:
        window.request = None
        window.message = "Stripe's sum is not a whole number below 2^53, so it was not accepted."


def accept(window: StripeWindow) -> bool:
    """Let the sum that Stripe has count for a blocked window, once it was read twice. Returns whether it will."""
    if window.cause != "blocked" or window.request is not None or window.accepts:
        return False
    window.accepts = True
    return True


def retry_refused(window: StripeWindow) -> None:
    """Let what was refused be sent again: the customer's data at Stripe or the mapping has changed."""
    if window.cause == "refused":
        window.unsendable, window.cause, window.message = 0, "", ""
