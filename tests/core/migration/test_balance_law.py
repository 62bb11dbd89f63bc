"""The balance here is the one at the source at every time of the usage period, whatever grants there are."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.migration import burn_ranks, grant_carry
from pipeline.core.quota import burndown
from pipeline.core.quota.grant import Grant
from pipeline.core.values import calendar
from pipeline.core.values.calendar import DAY_S, NEVER_S, Recurrence
from pipeline.core.values.timestamp import minute_s
from pipeline.core.values.zone import text_of
from tests.fixtures.examples import examples

BEGAN_S = minute_s("2026-03-01T00:00:00Z")
SINCE_S = BEGAN_S + 10 * DAY_S  # the usage period that runs begins
DAYS = 30
ISSUED = 20
Row = dict[str, Any]


def _row(number: int, drawn: tuple[int, int, int, int, int | None]) -> Row:
    """A grant of the source. drawn: priority, day of its start, amount, days of its recurrence (0: none), its end."""
    priority, day, amount, every, ends = drawn
    at_s = BEGAN_S + day * DAY_S
    row: Row = {
        "id": f"g{number}", "priority": priority, "amount": amount, "effectiveAt": text_of(at_s),
        "createdAt": text_of(BEGAN_S + number), "minRolloverAmount": amount, "maxRolloverAmount": amount,
    }  # fmt: skip
    if every:
        row["recurrence"] = {"interval": f"P{every}D", "anchor": text_of(at_s)}
    if ends is not None:
        row |= {"expiresAt": text_of(at_s + ends * DAY_S), "expiration": {"duration": "DAY", "count": ends}}
    return row


drawn_rows = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 15), st.integers(1, 30), st.sampled_from([0, 3, 7, 12]),
              st.sampled_from([None, 14, 30])),
    max_size=4,
).map(lambda drawn: [_row(number, one) for number, one in enumerate(drawn, 1)])  # fmt: skip


def _grant(id: str, body: Mapping[str, Any], created_ms: int, expires_s: int | None = None) -> Grant:
    """The grant of a request, or of a row of the source, whose end is given."""
    begins_s, recurrence = minute_s(body["effectiveAt"]), body.get("recurrence")
    if expires_s is None and (ends := body.get("expiration")):
        expires_s = calendar.add(begins_s, calendar.NAMED[ends["duration"]], ends["count"])
    return Grant(
        id, int(body["amount"]), begins_s, body["priority"], NEVER_S if expires_s is None else expires_s,
        recurrence=recurrence
        and Recurrence(calendar.parse(recurrence["interval"]), minute_s(recurrence["anchor"])),
        min_rollover=body.get("minRolloverAmount", 0), max_rollover=body.get("maxRolloverAmount", 0),
        created_at_ms=created_ms,
    )  # fmt: skip


def _issued(priority: int, at_s: int) -> Grant:
    return Grant("issued", ISSUED, at_s, priority, min_rollover=ISSUED, max_rollover=ISSUED)


@given(drawn_rows, st.integers(1, 3), st.lists(st.integers(0, 25), min_size=DAYS + 10, max_size=DAYS + 10))
@settings(max_examples=examples(300))
def test_the_balance_is_the_same_on_every_day(rows: list[Row], priority: int, usage: list[int]) -> None:
    def used(from_s: int, to_s: int) -> int:
        return sum(n for day, n in enumerate(usage) if from_s <= BEGAN_S + day * DAY_S < to_s)

    there = [_issued(priority, BEGAN_S)]
    there += [
        _grant(row["id"], row, number, grant_carry.expires_s(row)) for number, row in enumerate(rows, 1)
    ]
    before = burndown.run(there, burndown.begin(there, BEGAN_S), SINCE_S, used, [(SINCE_S, False)]).last
    left = before.balances

    found = burn_ranks.ranks(
        {"issueAfterReset": ISSUED, "issueAfterResetPriority": priority}, rows, SINCE_S, {}
    )
    here = [_issued(found[burn_ranks.ISSUED], SINCE_S)]
    for row in burn_ranks.burn_order(rows):
        parts = grant_carry.carried(row, SINCE_S, SINCE_S + DAYS * DAY_S, Decimal(left[row["id"]]))
        ranked = [burn_ranks.with_rank(part, found[row["id"]]) for part in parts]
        here += [_grant(part.mark, part.body, len(here) + place) for place, part in enumerate(ranked)]

    start = burndown.begin(here, SINCE_S)
    for day in range(1, DAYS):
        until_s = SINCE_S + day * DAY_S
        theirs, ours = (burndown.run(*one, until_s, used).last for one in ((there, before), (here, start)))
        assert (theirs.balance, theirs.overage) == (ours.balance, ours.overage), day
