"""The priorities with which grants burn here in the order in which they burn at the source.

Owns: the order at the source, the priority of each grant and of what the entitlement issues. Does not own: which grants
are given (grant_carry), the order here (quota.grant).

Grants of equal priority burn in the order in which they expire. What was left of a grant that recurs is given until its
next recurrence (grant_carry), so it would burn before all others of its priority. So where the source burns others of
its priority first, it and all that follow are given a later priority. All other grants keep theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pipeline.core.migration.grant_carry import CarriedGrant, ends_s, expires_s, has_rest, is_issued
from pipeline.core.migration.translation import JsonObject
from pipeline.core.values import timestamp
from pipeline.core.values.calendar import NEVER_S
from pipeline.errors import Rejected

ISSUED = ""  # the id, in this module, of what the entitlement issues after each reset
MOST = 255


class _Burning(NamedTuple):
    """What orders a grant at the source. id: the source's, or ISSUED. rest: whether a rest of it is given."""

    priority: int
    expires_s: int
    created_ms: int
    id: str
    rest: bool


def ranks(
    entitlement: Mapping[str, Any],
    rows: Iterable[Mapping[str, Any]],
    since_s: int,
    here: Mapping[str, int],
) -> dict[str, int]:
    """The priority here of each grant, by its id at the source, and of what is issued, by ISSUED.

    Args:
        entitlement: the body of its request.
        rows: its grants, as the source shows them.
        since_s: the start of the usage period that runs, in seconds since 1970.
        here: the priorities of those that are here already, which stay.
    """
    found: dict[str, int] = {}
    before: _Burning | None = None
    rank = 0
    for one in _order(entitlement, rows, since_s):
        apart = before is not None and (one.priority != before.priority or one.rest)
        rank = here.get(one.id, max(one.priority, rank + apart))
        found[one.id] = rank
        before = one
    return found


def with_rank(part: CarriedGrant, rank: int) -> CarriedGrant:
    """A grant with its priority here. Raises Rejected `not-taken-over` if that is too high."""
    return part._replace(body=part.body | {"priority": allowed(rank)})


def allowed(rank: int) -> int:
    """The priority itself. Raises Rejected `not-taken-over` if it is too high."""
    if rank > MOST:
        raise Rejected(
            "not-taken-over",
            f"It would need the priority {rank} to burn in the order of the source; {MOST} is the last.",
        )
    return rank


def issues(entitlement: JsonObject, found: Mapping[str, int]) -> JsonObject:
    """The body of an entitlement with the priority of what it issues. Raises as `allowed`."""
    if ISSUED not in found:
        return entitlement
    return entitlement | {"issueAfterResetPriority": allowed(found[ISSUED])}


def burn_order(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Grants in the order in which they burn at the source. They are created in it, since it is the last criterion."""
    return sorted(rows, key=lambda row: _burning(row, 0))


def _order(entitlement: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], since_s: int) -> list[_Burning]:
    given = [_burning(row, since_s) for row in rows if not is_issued(row) and ends_s(row) > since_s]
    if entitlement.get("issueAfterReset") is not None:  # it came with the entitlement, so it is the oldest
        given.append(
            _Burning(int(entitlement.get("issueAfterResetPriority") or 1), NEVER_S, 0, ISSUED, False)
        )
    return sorted(given)


def _burning(row: Mapping[str, Any], since_s: int) -> _Burning:
    ends, created = expires_s(row), row.get("createdAt")
    return _Burning(
        int(row.get("priority") or 1),
        NEVER_S if ends is None else ends,
        0 if created is None else timestamp.ms_of(str(created)),
        str(row["id"]),
        has_rest(row, since_s),
    )
