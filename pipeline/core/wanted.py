"""A command's body about entitlements and rules, member by member: flags, amounts, instants, intervals, lists.

Owns: which forms these have. Does not own: texts and objects (members), what a member means.
Amounts are kept as plain decimal text. A JSON number that reached us as a float is taken by its shortest digits where
these are certainly the ones that were sent; a longer one has to be sent as a string.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pipeline.core.members import Members
from pipeline.core.values import calendar, number, timestamp
from pipeline.core.values.calendar import Interval
from pipeline.errors import Rejected

FLOAT_DIGITS = 15  # what a double keeps of any decimal
_MINUTE_MS = 60_000


class Wanted(Members):
    """As Members; what is wrong is Rejected `bad-<kind>`. Absent or null gives None."""

    def __init__(
        self, kind: str, body: Mapping[str, object], known: Collection[str], passed_over: Collection[str] = ()
    ) -> None:
        super().__init__(kind, body, known, passed_over)
        self._sent = body

    def flag(self, member: str) -> bool | None:
        value = self._sent.get(member)
        if value is not None and not isinstance(value, bool):
            self.refuse(f"{self.kind} {member} must be true or false")
        return value

    def amount(self, member: str) -> int | None:
        """A decimal, in atto: a JSON number or numeric text."""
        value = self._sent.get(member)
        if value is None:
            return None
        if isinstance(value, float):
            value = repr(value)
            if sum(digit.isdigit() for digit in value.lower().partition("e")[0].strip("0.")) > FLOAT_DIGITS:
                self.refuse(
                    f"{self.kind} {member} has too many digits for a JSON number: send it as a string"
                )
        try:
            return number.atto(value)
        except Rejected as refusal:
            self.refuse(f"{self.kind} {member} is not valid: {refusal.detail}")

    def at_least_zero(self, member: str) -> int | None:
        value = self.amount(member)
        if value is not None and value < 0:
            self.refuse(f"{self.kind} {member} must not be negative")
        return value

    def minute_s(self, member: str) -> int | None:
        """An RFC 3339 instant, truncated to the minute, in seconds since 1970."""
        at_ms = self.instant_ms(member)
        return None if at_ms is None else at_ms // _MINUTE_MS * 60

    def interval(self, member: str, least_s: int = calendar.HOUR_S) -> Interval | None:
        value = self._sent.get(member)
        if value is None:
            return None
        try:
            return calendar.parse(value, least_s)
        except Rejected as refusal:
            self.refuse(f"{self.kind} {member} is not valid: {refusal.detail}")

    def one_of(self, member: str, allowed: Collection[str]) -> str | None:
        value = self.text(member, 64)
        if value is not None and value not in allowed:
            self.refuse(f"{self.kind} {member} must be one of {', '.join(allowed)}")
        return value

    def objects(self, member: str, least: int, most: int) -> list[Mapping[str, object]] | None:
        """A list of JSON objects."""
        value = self._sent.get(member)
        if value is None:
            return None
        if (
            not isinstance(value, list)
            or not least <= len(value) <= most
            or not all(isinstance(one, Mapping) for one in value)
        ):
            self.refuse(f"{self.kind} {member} must be a list of {least} to {most} objects")
        return value


def text_of(at_s: int) -> str:
    """Seconds since 1970 as definitions write instants."""
    return timestamp.text_of(at_s * 1000)


def seconds_of(body: Mapping[str, object], member: str) -> int | None:
    """An instant that a definition holds, truncated to the minute; None if it holds none."""
    value = body.get(member)
    return None if value is None else timestamp.ms_of(str(value)) // _MINUTE_MS * 60
