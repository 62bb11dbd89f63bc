"""Instants and timings that clients send about subscriptions.

Owns: their form; fractions of a second are cut off. Does not own: which timing an action allows (timing, edit).
"""

from __future__ import annotations

from pipeline.core.definitions.body import BodyReader
from pipeline.core.subscriptions.timing import NamedTiming, Timing
from pipeline.core.values import calendar

MOST_TIMING = 64


def read_timing(sent: BodyReader, member: str = "timing") -> Timing | None:
    """`immediate`, `next_billing_cycle` or an instant; None where it is absent or null."""
    text = sent.text(member, MOST_TIMING)
    match text:
        case None | "immediate" | "next_billing_cycle":
            return text
        case _:
            return read_second(sent, member, "immediate, next_billing_cycle or an RFC 3339 timestamp")


def read_named_timing(sent: BodyReader) -> NamedTiming | None:
    """A timing of an action that takes no instant."""
    named: tuple[NamedTiming, NamedTiming] = ("immediate", "next_billing_cycle")
    return sent.one_of("timing", named)


def read_second(sent: BodyReader, member: str, allowed: str = "an RFC 3339 timestamp") -> int | None:
    """An instant in seconds since 1970, in years in which calendars step."""
    text = sent.text(member, MOST_TIMING)
    if text is None:
        return None
    if not text[:1].isdigit():
        sent.refuse(f"{sent.kind} {member} must be {allowed}")
    at_ms = sent.instant_ms(member) or 0
    at_s = at_ms // 1000
    if not calendar.EARLIEST_S <= at_s < calendar.LATEST_S:
        sent.refuse(f"{sent.kind} {member} must lie between the years 1 and 9998")
    return at_s
