"""Where our usage and Stripe's totals differ in a window, and why.

Owns: the causes, the evidence that each of them needs, and the parts into which a difference falls. Does not own: where
the numbers come from (api.billing.stripe_drift), the states of a window (stripe_window).

A difference is what Stripe has less what was counted times the multiplier. It falls into parts, each with one cause,
and the parts always sum to it:

    counted --- exact --- wanted --- confirmed --- Stripe's
       not_yet_counted, remainder  pending, refused,  not_yet_visible, precision,
       ended                       too_old, blocked,  repeated, foreign
                                   unknown_customer,
                                   ended
    `unexplained` is what no cause fits.

All amounts are integers: usage in atto, what is at Stripe in 10^-36 of a unit (stripe_units.UNIT), so that nothing is
rounded. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple, get_args

import msgspec

from pipeline.core.billing.stripe_report import cause_of, cause_of_code
from pipeline.core.billing.stripe_units import UNIT
from pipeline.core.billing.stripe_window import OLDEST_MS
from pipeline.records import StripeReport

Drift = Literal[
    "pending",
    "remainder",
    "refused",
    "too_old",
    "unknown_customer",
    "not_yet_visible",
    "precision",
    "foreign",
    "repeated",
    "blocked",
    "ended",
    "not_yet_counted",
    "unexplained",
]
CAUSES: tuple[Drift, ...] = get_args(Drift)
# For which Stripe's summaries, which are eventually consistent, may lack an event that was confirmed.
VISIBLE_MS = 900_000
# For which usage may be on its way through the stages.
COUNTING_MS = 900_000
FLOAT_DIGITS = 15  # to which a sum at Stripe above 2^53 is exact
EXACT_BELOW = 2**53
MOST_SUMS = 4_096  # of pending requests that are tried


class SentWindow(NamedTuple):
    """The newest state of a window in one combination of dimensions, as `stripe-usage` has it.

    exact: atto. cause: of `unsendable`. at_ms: when it changed last.
    """

    exact: int
    wanted: int
    confirmed: int
    unsendable: int
    pending: int
    cause: str
    message: str
    requests: int
    at_ms: int


class CountedUsage(NamedTuple):
    """Usage of a window by an independent count. atto: its sum. newest_ms: when the last event of it was received."""

    atto: int
    newest_ms: int


class ComparedWindow(msgspec.Struct, frozen=True):
    """A window of one customer and mapping, with all that is known of it.

    Attributes:
        start_s, end_s: the window is [start_s, end_s).
        multiplier: of the mapping, in atto.
        sent: by combination of dimensions.
        counted: from the events themselves.
        stripe: what Stripe counted, 0 where it has no summary; None: the customer has no id at Stripe.
        seen: whether Stripe shows units of this customer and meter in any window that was compared.
        carried: whether the remainders of all windows of the customer and mapping sum to less than a unit.
        held: why nothing of the app is sent at present; empty: it is.
        ended_ms: when the mapping, or its app, was deleted, in ms since 1970; 0: it is in force.
    """

    start_s: int
    end_s: int
    multiplier: int
    sent: tuple[SentWindow, ...]
    counted: CountedUsage
    stripe: Decimal | None
    seen: bool = True
    carried: bool = True
    held: str = ""
    ended_ms: int = 0


class DriftPart(NamedTuple):
    """A part of a difference. units: in 10^-36 of a unit; negative: Stripe has less. detail: a sentence."""

    cause: Drift
    units: int
    detail: str


def difference_of(window: ComparedWindow) -> int:
    """What Stripe has less what was counted times the multiplier, in 10^-36 of a unit."""
    return scaled(window.stripe or Decimal(0)) - window.counted.atto * window.multiplier


def explain(window: ComparedWindow, reports: Sequence[StripeReport], now_ms: int) -> list[DriftPart]:
    """The parts of a window's difference. Their sum is `difference_of(window)`.

    Args:
        window: with usage, what was sent, and what Stripe has.
        reports: of Stripe, about the meter of the mapping.
        now_ms: the time of the comparison.

    Returns:
        No part: there is no difference. A window that is blocked has a part even where its numbers are equal.
    """
    parts = [
        *_counting(window, now_ms),
        *_remainder(window),
        *_unsent(window, now_ms),
        *_at_stripe(window, reports, now_ms),
    ]
    return list(_joined(parts))


def scaled(value: Decimal) -> int:
    """A plain decimal in 10^-36; further digits, which no sender of ours makes, are cut.

    >>> scaled(Decimal("-1.5")) * 2 == -3 * UNIT
    True
    """
    sign, digits, exponent = value.as_tuple()
    number = int("".join(map(str, digits)))
    power = 36 + int(exponent)
    found: int = number * 10**power if power >= 0 else number // 10**-power
    return -found if sign else found


def units_text(units: int) -> str:
    """Plain decimal text of an amount in 10^-36.

    >>> units_text(-3 * UNIT // 2), units_text(2 * UNIT)
    ('-1.5', '2')
    """
    whole, rest = divmod(abs(units), UNIT)
    text = f"{whole}.{rest:036d}".rstrip("0").rstrip(".")
    return f"-{text}" if units < 0 else text


def _joined(parts: Iterable[DriftPart]) -> Iterator[DriftPart]:
    """One part for each cause and sentence; those that cancel out are left out."""
    sums: dict[tuple[Drift, str], int] = {}
    for part in parts:
        sums[part.cause, part.detail] = sums.get((part.cause, part.detail), 0) + part.units
    for (cause, detail), units in sums.items():
        if units or cause == "blocked":
            yield DriftPart(cause, units, detail)


def _counting(window: ComparedWindow, now_ms: int) -> Iterator[DriftPart]:
    """Exact usage of the stage against the independent count."""
    exact = sum(one.exact for one in window.sent)
    lacking = (exact - window.counted.atto) * window.multiplier
    if not lacking:
        return
    newest_ms = max([window.counted.newest_ms, *(one.at_ms for one in window.sent)])
    if now_ms - newest_ms <= COUNTING_MS or now_ms < window.end_s * 1_000:
        detail = "Usage of the window is on its way through the stages."
        yield DriftPart("not_yet_counted", lacking, detail)
    elif window.ended_ms and window.counted.newest_ms + COUNTING_MS >= window.ended_ms:
        yield DriftPart(
            "ended", lacking, "Usage came after the mapping or its app was deleted, and is not sent."
        )
    elif not window.sent and window.stripe is None:
        yield DriftPart("unknown_customer", lacking, _NO_ID)
    else:
        detail = "The stored events give another usage than the one that was to be sent."
        yield DriftPart("unexplained", lacking, detail)


def _remainder(window: ComparedWindow) -> Iterator[DriftPart]:
    """Whole units against exact usage. The rest of a window may be sent with another window of the customer."""
    wanted = sum(one.wanted for one in window.sent) * UNIT
    rest = wanted - sum(one.exact for one in window.sent) * window.multiplier
    if not rest:
        return
    if window.carried or abs(rest) < UNIT * len(window.sent):
        yield DriftPart("remainder", rest, "Stripe takes whole units; the rest is carried to the next unit.")
    else:
        yield DriftPart("unexplained", rest, "The whole units are not those of the exact usage.")


_NO_ID = "The customer has no id at Stripe; its usage is kept and sent when it has one."


def _unsent(window: ComparedWindow, now_ms: int) -> Iterator[DriftPart]:
    """Units that were wanted and are not confirmed."""
    for one in window.sent:
        yield from _unsendable(window, one)
        if one.pending:
            waits = f" The last attempt: {one.message}" if one.message else ""
            yield DriftPart("pending", -one.pending * UNIT, f"A request is in progress.{waits}")
        open_units = one.wanted - one.confirmed - one.unsendable - one.pending
        if open_units:
            cause, detail = _why_open(window, one, now_ms)
            yield DriftPart(cause, -open_units * UNIT, detail)


def _unsendable(window: ComparedWindow, one: SentWindow) -> Iterator[DriftPart]:
    if one.cause == "blocked":
        yield DriftPart("blocked", -one.unsendable * UNIT, one.message)
    elif one.unsendable:
        old = one.cause == "too_old" or (not one.cause and one.at_ms - window.start_s * 1_000 > OLDEST_MS)
        detail = one.message or "Stripe did not take an earlier request of the window."
        reported = cause_of_code(one.message.partition(":")[0])  # a report begins with its code
        yield DriftPart("too_old" if old else reported, -one.unsendable * UNIT, detail)


def _why_open(window: ComparedWindow, one: SentWindow, now_ms: int) -> tuple[Drift, str]:
    """Why units are in no request."""
    if window.stripe is None:
        return "unknown_customer", _NO_ID
    if one.cause == "blocked":
        return "blocked", one.message
    if window.ended_ms:
        return "ended", "The mapping or its app was deleted, and nothing more is sent."
    if now_ms - window.start_s * 1_000 > OLDEST_MS:
        return "too_old", "Stripe takes usage of the last 35 days."
    return "pending", window.held or "The units wait to be sent."


def _at_stripe(window: ComparedWindow, reports: Sequence[StripeReport], now_ms: int) -> Iterator[DriftPart]:
    """What Stripe has against what it confirmed."""
    confirmed = sum(one.confirmed for one in window.sent)
    odd = scaled(window.stripe or Decimal(0)) - confirmed * UNIT
    if not odd:
        return
    if window.stripe is None:
        yield DriftPart(
            "unknown_customer", odd, "The customer has no id at Stripe any more, and is not read."
        )
    elif odd in _sums(window.sent):
        yield DriftPart("pending", odd, _unanswered(window))
    elif _is_imprecise(window.stripe, odd):
        detail = f"Stripe's sums are floats: above 2^53 they are exact to {FLOAT_DIGITS} digits."
        yield DriftPart("precision", odd, detail)
    elif odd < 0 and (report := _reported(window, reports)) is not None:
        yield DriftPart(cause_of(report), odd, report.sentence)
    elif _is_young(window, odd, now_ms):
        detail = "Stripe has confirmed the units, and its summaries do not show all of them yet."
        yield DriftPart("not_yet_visible", odd, detail)
    else:
        cause, detail = _by_others(window, confirmed, odd)
        yield DriftPart(cause, odd, detail)


def _unanswered(window: ComparedWindow) -> str:
    """The same sentence as that of the request, so that both parts become one."""
    message = next(one.message for one in window.sent if one.pending)
    waits = f" The last attempt: {message}" if message else ""
    return f"A request is in progress.{waits}"


def _sums(sent: Sequence[SentWindow]) -> set[int]:
    """What Stripe may have of the requests whose outcome is not known: any of them."""
    sums = {0}
    for one in sent:
        if one.pending and len(sums) < MOST_SUMS:
            sums |= {known + one.pending * UNIT for known in sums}
    return sums


def _is_imprecise(stripe: Decimal, odd: int) -> bool:
    return abs(stripe) >= EXACT_BELOW and abs(odd) * 10**FLOAT_DIGITS <= abs(scaled(stripe))


def _reported(window: ComparedWindow, reports: Sequence[StripeReport]) -> StripeReport | None:
    """A report of Stripe whose time fits: it was made while events of the window may have been validated."""
    if not window.sent:
        return None
    last_ms = max(one.at_ms for one in window.sent) + VISIBLE_MS
    for report in reports:
        if report.from_ms <= last_ms and report.to_ms >= window.start_s * 1_000:
            return report
    return None


def _is_young(window: ComparedWindow, odd: int, now_ms: int) -> bool:
    """Whether a confirmed request may explain it: one that adds, or, of several, one that takes back."""
    young = [one for one in window.sent if one.requests and now_ms - one.at_ms <= VISIBLE_MS]
    return any(odd < 0 or one.requests > 1 for one in young)


def _by_others(window: ComparedWindow, confirmed: int, odd: int) -> tuple[Drift, str]:
    """What no request of ours can have made."""
    has = units_text(confirmed * UNIT + odd)
    if confirmed and odd % (confirmed * UNIT) == 0 and odd // (confirmed * UNIT) > 0:
        times = odd // (confirmed * UNIT) + 1
        return "repeated", f"Stripe has {times} times the {confirmed} units that it confirmed."
    if odd < 0 and not window.seen:
        return "unexplained", (
            f"Stripe shows no unit of this customer and meter, though it confirmed {confirmed}: another customer id or "
            "meter at Stripe, or cancelled events."
        )
    if not window.sent:
        return "foreign", f"Stripe has {has} units in a window of which nothing was sent."
    what = "Another sender added to it" if odd > 0 else "Units were taken back there"
    return "foreign", f"Stripe has {has} units, and {confirmed} were sent. {what}."
