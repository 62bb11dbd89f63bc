"""Grants of an OpenMeter as this Tallymark gives them, so that balances are the same.

Owns: which grants still matter, with which amount, from when and until when. Does not own: the balances at the source,
which its history shows, and burning (quota.burndown).

A grant that began within the usage period that runs is given as it is: the usage that is counted again burns it again.
One that began before is given with what was left of it when the period began. If it recurs, that rest ends at the next
recurrence, where the whole amount begins; burn_ranks gives both the priority with which they burn in the order of the
source. What an entitlement issues after each reset comes with the entitlement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from pipeline.core.migration.translation import JsonObject, pruned
from pipeline.core.values import calendar, timestamp
from pipeline.core.values import zone as zones
from pipeline.core.values.calendar import DAY_S, HOUR_S, NEVER_S, Recurrence
from pipeline.errors import Rejected

MARK = "openmeter.grant"  # the member of the metadata that holds the id at the source
_REST = "@rest"
_UNITS = (("HOUR", HOUR_S), ("DAY", DAY_S), ("WEEK", 7 * DAY_S))
_MOST = 1000
_TAKEN = ("priority", "minRolloverAmount", "maxRolloverAmount")


class CarriedGrant(NamedTuple):
    """A grant to create. mark: in its metadata. void_at, expires_s: its voiding and its end at the source."""

    mark: str
    body: JsonObject
    expires_s: int | None
    void_at: str | None = None
    note: str = ""


class _Span(NamedTuple):
    from_s: int
    to_s: int


def is_issued(row: Mapping[str, Any]) -> bool:
    """Whether it is the grant that the entitlement issues after each reset."""
    marks = {**(row.get("metadata") or {}), **(row.get("annotations") or {})}
    return bool(row.get("issuedAfterReset")) or str(marks.get("issueAfterReset", "")).lower() == "true"


def needs_balance(row: Mapping[str, Any], since_s: int) -> bool:
    """Whether the balance at the start of the usage period is needed: it began before, and has not ended."""
    return not is_issued(row) and timestamp.minute_s(row["effectiveAt"]) < since_s < ends_s(row)


def has_rest(row: Mapping[str, Any], since_s: int) -> bool:
    """Whether it recurs, and what was left of it at `since_s` is given until its next recurrence."""
    if row.get("recurrence") is None or not needs_balance(row, since_s):
        return False
    return _first_tick(pruned(row["recurrence"]), since_s) > since_s


def mark_of(row: Mapping[str, Any]) -> str | None:
    """The mark of a grant of ours that was taken over."""
    mark = (row.get("metadata") or {}).get(MARK)
    return None if mark is None else str(mark)


def by_mark(rows: Iterable[JsonObject]) -> tuple[dict[str, JsonObject], list[JsonObject]]:
    """Grants of one entitlement of ours.

    Returns:
        Those that were taken over, by mark, and the others that have the mark of one of them. A voided one is left out
        where another has its mark: that is how a user takes a double away.
    """
    found: dict[str, JsonObject] = {}
    doubles: list[JsonObject] = []
    for row in rows:
        if (mark := mark_of(row)) is None:
            continue
        if mark not in found or found[mark].get("voidedAt") is not None:
            found[mark] = row
        elif row.get("voidedAt") is None:
            doubles.append(row)
    return found, doubles


def counterparts(row: Mapping[str, Any], ours: Mapping[str, JsonObject]) -> list[JsonObject]:
    """The grants of ours, given by mark, that were made of one of the source."""
    marks = (str(row["id"]), str(row["id"]) + _REST)
    return [ours[mark] for mark in marks if mark in ours]


def is_complete(row: Mapping[str, Any], since_s: int, made: list[JsonObject]) -> bool:
    """Whether all was made of a grant: a command that was killed may have left out the second of two."""
    if len(made) != 1 or row.get("recurrence") is None or not needs_balance(row, since_s):
        return bool(made)
    return timestamp.minute_s(made[0]["effectiveAt"]) < since_s  # it was made in a usage period before


def carried(row: Mapping[str, Any], since_s: int, now_s: int, left: Decimal | None) -> list[CarriedGrant]:
    """The grants that do here what one does at the source.

    Args:
        row: as the source shows it.
        since_s: the start of the usage period that runs, in seconds since 1970.
        now_s: seconds since 1970.
        left: its balance at `since_s`; needed if `needs_balance`.

    Returns:
        None for a grant that has ended before, or has nothing left; two for one that recurs.

    Raises:
        Rejected: `not-taken-over` if the source shows no balance of it.
    """
    if is_issued(row) or ends_s(row) <= since_s:
        return []
    id, voided, until_s = str(row["id"]), row.get("voidedAt"), expires_s(row)
    effective_s = timestamp.minute_s(row["effectiveAt"])
    recurrence = pruned(row["recurrence"]) if row.get("recurrence") else None
    if effective_s >= since_s:
        body = _body(row, id, row["amount"], effective_s)
        if row.get("expiration"):
            body["expiration"] = pruned(row["expiration"])
        if recurrence is not None:
            body["recurrence"] = _recurring(recurrence)
        return [CarriedGrant(id, body, until_s, voided)]
    if left is None:
        raise Rejected("not-taken-over", f"The source shows no balance of it at {zones.text_of(since_s)}.")
    first_s = NEVER_S if recurrence is None else _first_tick(recurrence, since_s)
    parts: list[CarriedGrant] = []
    if left > 0 and first_s > since_s:
        rest = _body(row, id + _REST, left, since_s)
        parts.append(_until(rest, _Span(since_s, min(first_s, until_s or NEVER_S)), now_s, voided))
    if recurrence is not None and first_s < ends_s(row):
        whole = _body(row, id, row["amount"], first_s) | {"recurrence": _recurring(recurrence)}
        parts.append(_until(whole, _Span(first_s, until_s or NEVER_S), now_s, voided))
    return parts


def _body(row: Mapping[str, Any], mark: str, amount: object, effective_s: int) -> JsonObject:
    body = {name: row[name] for name in _TAKEN if row.get(name) is not None}
    metadata = {**(row.get("metadata") or {}), MARK: mark}
    return {**body, "amount": amount, "effectiveAt": zones.text_of(effective_s), "metadata": metadata}


def _until(body: JsonObject, span: _Span, now_s: int, voided: str | None) -> CarriedGrant:
    """A grant that ends at an instant, which is written as a number of hours, days or weeks.

    Where no whole number of them fits, it begins that much later: usage meanwhile is overage, which it then covers.
    """
    mark = body["metadata"][MARK]
    if span.to_s >= NEVER_S:
        return CarriedGrant(mark, body, None, voided)
    length_s = span.to_s - span.from_s
    duration, unit_s = next((one for one in _UNITS if length_s // one[1] <= _MOST), _UNITS[-1])
    count, odd_s = divmod(length_s, unit_s)
    note = ""
    if odd_s and (count == 0 or span.from_s + odd_s > now_s):
        count, odd_s = count + 1, 0
        note = f"It ends up to one {duration.lower()} later than at the source."
    begins = {"effectiveAt": zones.text_of(span.from_s + odd_s)}
    ends = {"expiration": {"duration": duration, "count": min(count, _MOST)}}
    return CarriedGrant(mark, body | begins | ends, None if note else span.to_s, voided, note)


def _first_tick(recurrence: Mapping[str, str], since_s: int) -> int:
    """The first recurrence at or after an instant."""
    zone = zones.named_or_offset(recurrence.get("timeZone"), recurrence["anchor"])
    ticks = Recurrence(calendar.parse(recurrence["interval"]), timestamp.minute_s(recurrence["anchor"]), zone)
    return since_s if calendar.is_tick(ticks, since_s) else calendar.next_tick(ticks, since_s)


def _recurring(recurrence: Mapping[str, str]) -> JsonObject:
    return {name: recurrence[name] for name in ("interval", "anchor", "timeZone") if name in recurrence}


def expires_s(row: Mapping[str, Any]) -> int | None:
    """When it expires, in seconds since 1970."""
    return None if row.get("expiresAt") is None else timestamp.minute_s(row["expiresAt"])


def ends_s(row: Mapping[str, Any]) -> int:
    """When it gives nothing any more, in seconds since 1970; NEVER_S if never."""
    ends = (row.get(name) for name in ("expiresAt", "voidedAt", "deletedAt"))
    return min((timestamp.minute_s(one) for one in ends if one is not None), default=NEVER_S)
