"""A command's body, read member by member: texts, flags, amounts, instants, intervals, lists, objects.

Owns: which forms a member may have, and the sentence where it has another. Does not own: what a member means.
A member that is absent or null gives None. Amounts are kept as plain decimal text. A JSON number that reached us as a
float is taken by its shortest digits where these are certainly the ones that were sent; a longer one has to be sent as
a string.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple, NoReturn, TypeVar

from pipeline.core.values import calendar, number, timestamp
from pipeline.core.values import zone as zones
from pipeline.core.values.calendar import Interval
from pipeline.errors import Rejected

T = TypeVar("T", bound=str)
MAX_METADATA = 50
MAX_METADATA_KEY = 256
MAX_METADATA_VALUE = 1024
MAX_DEPTH = 8
_SLUG = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*").fullmatch
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
FLOAT_DIGITS = 15  # what a double keeps of any decimal
_MINUTE_MS = 60_000


class Minute(NamedTuple):
    """An instant that was sent, truncated to the minute. zone: the offset in which it was written."""

    at_s: int
    zone: str


def check_written(
    kind: str, body: Mapping[str, object], written: Collection[str], stored: Mapping[str, object] | None
) -> None:
    """Refuse what a client writes into members that only the server writes.

    Args:
        kind: of the definition.
        body: as sent.
        written: the members that only the server writes.
        stored: the definition that the body replaces, as answers show it; None for a new one.

    Raises:
        Rejected: `bad-<kind>` for a member that is neither null nor as `stored` has it.
    """
    for member in written:
        value = body.get(member)
        if value is not None and (stored or {}).get(member) != value:
            raise Rejected(
                f"bad-{kind}",
                f"{kind} {member} is written by the server: leave it out, or send it back as it is",
            )


class BodyReader:
    """A command's body about a `kind`: whatever is wrong with it is Rejected `bad-<kind>`.

    A member acts or is refused.
    """

    def __init__(
        self,
        kind: str,
        body: Mapping[str, object],
        known: Collection[str],
        written: Collection[str] = (),
        stored: Mapping[str, object] | None = None,
        *,
        inside: str = "",
        words: Mapping[str, str] = {},
    ) -> None:
        """Check the names of the members, and the values of those that only the server writes.

        What was read can be changed in one place and sent back whole, and nothing that is sent is without effect.

        Args:
            kind: of the definition; it names the members in refusals and gives their reason.
            body: as sent.
            known: the members that act.
            written: members that only the server writes: null, or as `stored` has them.
            stored: the definition that the body replaces, as answers show it; None for a new one.
            inside: the member of the definition that `body` is the value of; "" for the definition itself.
            words: how refusals name a member where they do not use its own name.

        Raises:
            Rejected: `bad-<kind>`.
        """
        self.kind = f"{kind} {inside}" if inside else kind
        self._reason = f"bad-{kind}"
        self._body = body
        self._words = words
        for member in body:
            if member not in known and member not in written:
                listed = f"it may have {', '.join(known)}" if known else "it may have none"
                self.refuse(f"{self.kind} has an unknown member {ascii(member)[:64]}: {listed}")
        check_written(kind, body, written, stored)

    def refuse(self, detail: str) -> NoReturn:
        raise Rejected(self._reason, detail)

    def _label(self, member: str) -> str:
        return f"{self.kind} {self._words.get(member, member)}"

    def __contains__(self, member: str) -> bool:
        """Whether it was sent, be it as null."""
        return member in self._body

    def text(self, member: str, most: int, multiline: bool = False) -> str | None:
        """A text of 1 to `most` characters."""
        value = self._body.get(member)
        return None if value is None else self._text(self._label(member), value, most, multiline)

    def text_or_empty(self, member: str, most: int) -> str:
        """A text of at most `most` characters; "" for none, for members whose absence has a code."""
        value = self._body.get(member)
        return "" if value is None or value == "" else self._text(self._label(member), value, most, False)

    def required(self, member: str, most: int) -> str:
        value = self._body.get(member)
        if value is None or value == "":
            self.refuse(f"{self._label(member)} is required")
        return self._text(self._label(member), value, most, False)

    def slug(self, member: str, most: int) -> str:
        """A required name of lower-case letters, digits and single _ between."""
        value = self._body.get(member)
        if value is None or value == "":
            self.refuse(f"{self._label(member)} is required")
        if not isinstance(value, str):
            self.refuse(f"{self._label(member)} must be a string")
        if len(value) > most or not _SLUG(value):
            self.refuse(
                f"{self._label(member)} must have 1 to {most} characters: lower-case letters, digits, "
                "single _ between"
            )
        return value

    def texts(self, member: str, most_texts: int, most: int) -> list[str] | None:
        """A list of texts, each once."""
        value = self._body.get(member)
        if value is None:
            return None
        label = self._label(member)
        if not isinstance(value, list) or len(value) > most_texts:
            self.refuse(f"{label} must be a list of at most {most_texts} strings")
        texts = [self._text(label, one, most, False) for one in value]
        if len(set(texts)) < len(texts):
            self.refuse(f"{label} must not hold the same string twice")
        return texts

    def integer(self, member: str, least: int, most: int) -> int | None:
        value = self._body.get(member)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.refuse(f"{self._label(member)} must be an integer from {least} to {most}")
        return value

    def instant_ms(self, member: str) -> int | None:
        """An RFC 3339 timestamp, in ms since 1970."""
        value = self.text(member, 64)
        try:
            return None if value is None else timestamp.ms_of(value)
        except Rejected as refusal:
            self.refuse(f"{self._label(member)} is not valid: {refusal.detail}")

    def nested(self, member: str) -> Mapping[str, object] | None:
        """A JSON object, as sent."""
        value = self._body.get(member)
        if value is not None and not isinstance(value, Mapping):
            self.refuse(f"{self._label(member)} must be an object")
        return value

    def json(self, member: str) -> Mapping[str, object] | None:
        """A JSON object of any members, not deeper than MAX_DEPTH."""
        value = self.nested(member)
        level: list[object] = [value]
        for _ in range(MAX_DEPTH):
            level = [inner for one in level for inner in _inner(one)]
        if level:
            self.refuse(f"{self._label(member)} must not be nested deeper than {MAX_DEPTH} levels")
        return value

    def metadata(self, member: str = "metadata") -> dict[str, str] | None:
        """An object of at most MAX_METADATA strings."""
        return self.strings(member, MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE)

    def strings(self, member: str, most: int, most_key: int, most_value: int) -> dict[str, str] | None:
        """An object whose values are strings, empty ones too."""
        value = self.nested(member)
        if value is None:
            return None
        label = self._label(member)
        if len(value) > most:
            self.refuse(f"{label} must have at most {most} members")
        for key, one in value.items():
            if not isinstance(one, str):
                self.refuse(f"{label} must be an object of strings")
            if not key or len(key) > most_key or len(one) > most_value:
                self.refuse(f"{label} keys must have 1 to {most_key} characters, values at most {most_value}")
        return {key: str(one) for key, one in value.items()}

    def flag(self, member: str) -> bool | None:
        value = self._body.get(member)
        if value is not None and not isinstance(value, bool):
            self.refuse(f"{self._label(member)} must be true or false")
        return value

    def amount(self, member: str) -> int | None:
        """A decimal, in atto: a JSON number or numeric text."""
        value = self._body.get(member)
        if value is None:
            return None
        if isinstance(value, float):
            value = repr(value)
            if sum(digit.isdigit() for digit in value.lower().partition("e")[0].strip("0.")) > FLOAT_DIGITS:
                self.refuse(
                    f"{self._label(member)} has too many digits for a JSON number: send it as a string"
                )
        try:
            return number.atto(value)
        except Rejected as refusal:
            self.refuse(f"{self._label(member)} is not valid: {refusal.detail}")

    def at_least_zero(self, member: str) -> int | None:
        value = self.amount(member)
        if value is not None and value < 0:
            self.refuse(f"{self._label(member)} must not be negative")
        return value

    def minute(self, member: str) -> Minute | None:
        """An RFC 3339 instant of a year in which calendars step."""
        at_ms, text = self.instant_ms(member), self.text(member, 64)
        if at_ms is None or text is None:
            return None
        at_s = at_ms // _MINUTE_MS * 60
        if not calendar.EARLIEST_S <= at_s < calendar.LATEST_S:
            self.refuse(f"{self._label(member)} must lie between the years 1 and 9998")
        return Minute(at_s, zones.offset_of(text))

    def minute_s(self, member: str) -> int | None:
        """As `minute`, in seconds since 1970."""
        minute = self.minute(member)
        return None if minute is None else minute.at_s

    def zone(self, member: str) -> str | None:
        """The name of a zone of the IANA database."""
        name = self.text(member, 64)
        try:
            return None if name is None else zones.named(name)
        except Rejected as refusal:
            self.refuse(f"{self._label(member)} is not valid: {refusal.detail}")

    def interval(self, member: str, least_s: int = calendar.HOUR_S) -> Interval | None:
        value = self._body.get(member)
        if value is None:
            return None
        try:
            return calendar.parse(value, least_s)
        except Rejected as refusal:
            self.refuse(f"{self._label(member)} is not valid: {refusal.detail}")

    def recurring(self) -> Interval | None:
        """The interval of a usage period or recurrence; `intervalISO` may repeat it."""
        interval, repeated = self.interval("interval"), self.text("intervalISO", 64)
        if repeated is not None and (interval is None or repeated != calendar.iso(interval)):
            self.refuse(f"{self.kind} intervalISO must be the interval in ISO 8601, or absent")
        return interval

    def one_of(self, member: str, allowed: Collection[T]) -> T | None:
        value = self.text(member, 64)
        chosen = next((one for one in allowed if one == value), None)
        if value is not None and chosen is None:
            self.refuse(f"{self._label(member)} must be one of {', '.join(allowed)}")
        return chosen

    def objects(self, member: str, least: int, most: int) -> list[Mapping[str, object]] | None:
        """A list of JSON objects."""
        value = self._body.get(member)
        if value is None:
            return None
        if (
            not isinstance(value, list)
            or not least <= len(value) <= most
            or not all(isinstance(one, Mapping) for one in value)
        ):
            self.refuse(f"{self._label(member)} must be a list of {least} to {most} objects")
        return value

    def _text(self, label: str, value: object, most: int, multiline: bool) -> str:
        if not isinstance(value, str):
            self.refuse(f"{label} must be a string")
        if value == "":
            self.refuse(f"{label} cannot be empty")
        if len(value) > most:
            self.refuse(f"{label} must have at most {most} characters")
        if not multiline and _CONTROL(value):
            self.refuse(f"{label} must not contain control characters")
        return value


def _inner(value: object) -> Collection[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()
