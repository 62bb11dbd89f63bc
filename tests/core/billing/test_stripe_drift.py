"""Each cause by its evidence, and the law: the parts of a difference sum to it, whatever was planted."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.core.billing.stripe_drift import (
    COUNTING_MS,
    VISIBLE_MS,
    ComparedWindow,
    CountedUsage,
    Drift,
    SentWindow,
    difference_of,
    explain,
    units_text,
)
from pipeline.core.billing.stripe_units import UNIT
from pipeline.core.billing.stripe_window import OLDEST_MS
from pipeline.core.values.number import SCALE
from pipeline.records import StripeReport

START_S = 1_800_000_000 // 3_600 * 3_600
END_S = START_S + 3_600
CHANGED_MS = END_S * 1_000
NOW_MS = CHANGED_MS + max(VISIBLE_MS, COUNTING_MS) + 3_600_000
SENT = SentWindow(10 * SCALE, 10, 10, 0, 0, "", "", 1, CHANGED_MS)
EQUAL = ComparedWindow(START_S, END_S, SCALE, (SENT,), CountedUsage(10 * SCALE, CHANGED_MS), Decimal(10))
REPORT = StripeReport(
    "n", "app", "evt_1", "v1.billing.meter.error_report_triggered", "mtr_1", CHANGED_MS, CHANGED_MS - 1, CHANGED_MS,
    {"meter_event_customer_not_found": 1}, {}, "There is 1 invalid event.",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    name: str
    window: ComparedWindow
    parts: dict[Drift, str]  # units
    reports: tuple[StripeReport, ...] = ()
    now_ms: int = NOW_MS


def of(
    *sent: SentWindow, stripe: str | None = "10", counted: int = 10, multiplier: int = SCALE
) -> ComparedWindow:
    at_stripe = None if stripe is None else Decimal(stripe)
    return ComparedWindow(
        START_S, END_S, multiplier, sent, CountedUsage(counted * SCALE, CHANGED_MS), at_stripe
    )


HUGE = 2**53 + 1
CASES = [
    Case("equal", EQUAL, {}),
    Case("nothing anywhere", of(stripe="0", counted=0), {}),
    Case("a request is in progress", of(SENT._replace(confirmed=0, pending=10), stripe="0"), {"pending": "-10"}),
    Case("Stripe has it and we do not know", of(SENT._replace(confirmed=0, pending=10)), {}),
    Case(
        "of two requests Stripe has one",
        of(SENT._replace(confirmed=0, pending=4, wanted=4, exact=4 * SCALE),
           SENT._replace(confirmed=0, pending=6, wanted=6, exact=6 * SCALE), stripe="6"),
        {"pending": "-4"},
    ),
    Case("it waits", of(SENT._replace(confirmed=0), stripe="0"), {"pending": "-10"}),
    Case("the key was refused", replace(of(SENT._replace(confirmed=0), stripe="0"), held="No."), {"pending": "-10"}),
    Case("refused", of(SENT._replace(confirmed=7, unsendable=3, cause="refused"), stripe="7"), {"refused": "-3"}),
    Case("refused, and a later one was not", of(SENT._replace(confirmed=7, unsendable=3), stripe="7"),
         {"refused": "-3"}),
    Case("a report named the event", of(SENT._replace(confirmed=7, unsendable=3, cause="refused",
         message="meter_event_customer_not_found: No such customer."), stripe="7"), {"unknown_customer": "-3"}),
    Case("too old", of(SENT._replace(confirmed=7, unsendable=3, cause="too_old"), stripe="7"), {"too_old": "-3"}),
    Case("too old, and a later record", of(SENT._replace(confirmed=7, unsendable=3, at_ms=CHANGED_MS + OLDEST_MS),
         stripe="7"), {"too_old": "-3"}, now_ms=NOW_MS + OLDEST_MS),
    Case("open for too long", of(SENT._replace(confirmed=0), stripe="0"), {"too_old": "-10"},
         now_ms=START_S * 1_000 + OLDEST_MS + 1),
    Case("blocked", of(SENT._replace(confirmed=7, unsendable=3, cause="blocked", message="Stripe has 8."), stripe="8"),
         {"blocked": "-3", "foreign": "1"}),
    Case("blocked and equal", of(SENT._replace(confirmed=7, unsendable=3, cause="blocked")), {"blocked": "-3",
         "foreign": "3"}),
    Case("blocked, more usage since", of(SENT._replace(wanted=12, exact=12 * SCALE, confirmed=7, unsendable=3,
         cause="blocked"), stripe="7", counted=12), {"blocked": "-5"}),
    Case("no id at Stripe", of(SENT._replace(confirmed=0), stripe=None), {"unknown_customer": "-10"}),
    Case("its id was removed", of(SENT, stripe=None), {"unknown_customer": "-10"}),
    Case("no id, and no record of it", of(stripe=None), {"unknown_customer": "-10"}),
    Case("the mapping has ended", replace(of(SENT._replace(confirmed=0), stripe="0"), ended_ms=1), {"ended": "-10"}),
    Case("usage came after the mapping", replace(of(SENT, counted=13), ended_ms=CHANGED_MS - 1), {"ended": "-3"}),
    Case(
        "usage was lost before the mapping ended",
        replace(of(SENT, counted=13), ended_ms=CHANGED_MS + COUNTING_MS + 1), {"unexplained": "-3"},
    ),
    Case("a report names the customer", of(SENT, stripe="4"), {"unknown_customer": "-6"}, (REPORT,)),
    Case("a report of before the window", of(SENT, stripe="4"), {"foreign": "-6"},
         (replace(REPORT, from_ms=0, to_ms=START_S * 1_000 - 1),)),
    Case("a report of long after", of(SENT, stripe="4"), {"foreign": "-6"},
         (replace(REPORT, from_ms=NOW_MS, to_ms=NOW_MS),)),
    Case("a report of the meter", of(SENT, stripe="0"), {"refused": "-10"},
         (replace(REPORT, codes={"archived_meter": 4, "timestamp_too_far_in_past": 3}),)),
    Case("not visible yet", of(SENT, stripe="0"), {"not_yet_visible": "-10"}, now_ms=CHANGED_MS + VISIBLE_MS),
    Case("more than was sent, at once", of(SENT, stripe="13"), {"foreign": "3"}, now_ms=CHANGED_MS + VISIBLE_MS),
    Case("a float", of(SENT._replace(exact=HUGE * SCALE, wanted=HUGE, confirmed=HUGE), stripe=str(2**53),
         counted=HUGE), {"precision": "-1"}),
    Case("more than a float loses", of(SENT._replace(exact=HUGE * SCALE, wanted=HUGE, confirmed=HUGE),
         stripe=str(2**53 + 100), counted=HUGE), {"foreign": "99"}),
    Case("another sender", of(SENT, stripe="17"), {"foreign": "7"}),
    Case("another sender, with decimals", of(SENT, stripe="10.5"), {"foreign": "0.5"}),
    Case("another sender, alone", of(stripe="7", counted=0), {"foreign": "7"}),
    Case("taken back by hand", of(SENT, stripe="3"), {"foreign": "-7"}),
    Case("all of it taken back by hand", of(SENT, stripe="0"), {"foreign": "-10"}),
    Case("nothing of the customer", replace(of(SENT, stripe="0"), seen=False), {"unexplained": "-10"}),
    Case("sent twice", of(SENT, stripe="20"), {"repeated": "10"}),
    Case("sent three times", of(SENT, stripe="30"), {"repeated": "20"}),
    Case("the rest", of(SENT._replace(wanted=1, confirmed=1), stripe="1", multiplier=SCALE // 7),
         {"remainder": units_text(UNIT - 10 * SCALE * (SCALE // 7))}),
    Case("a unit of another window", of(SENT._replace(wanted=12, confirmed=12), stripe="12"), {"remainder": "2"}),
    Case("units that are not the usage's", replace(of(SENT._replace(wanted=12, confirmed=12), stripe="12"),
         carried=False), {"unexplained": "2"}),
    Case("on its way", of(SENT, counted=12), {"not_yet_counted": "-2"}, now_ms=CHANGED_MS + COUNTING_MS),
    Case("ClickHouse is behind", of(SENT, counted=8), {"not_yet_counted": "2"}, now_ms=CHANGED_MS + COUNTING_MS),
    Case("a lost window", of(counted=12, stripe="0"), {"unexplained": "-12"}),
    Case("usage that was lost", of(SENT, counted=12), {"unexplained": "-2"}),
    Case("several causes", of(
        SENT._replace(exact=20 * SCALE, wanted=20, confirmed=10, unsendable=3, cause="refused", pending=5),
        stripe="17", counted=20), {"pending": "-7", "refused": "-3", "foreign": "7"}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_cause_needs_its_evidence(case: Case) -> None:
    parts = explain(case.window, case.reports, case.now_ms)
    sums: dict[Drift, int] = {}
    for part in parts:
        sums[part.cause] = sums.get(part.cause, 0) + part.units
    assert {cause: units_text(units) for cause, units in sums.items()} == case.parts
    assert sum(sums.values()) == difference_of(case.window)


def test_every_cause_is_in_the_table() -> None:
    assert {cause for case in CASES for cause in case.parts} == set(Drift.__args__)  # type: ignore[attr-defined]


numbers = st.integers(-(10**6), 10**6)
sent_windows = st.builds(
    SentWindow, st.integers(0, 10**24), numbers, numbers, numbers, numbers,
    st.sampled_from(["", "refused", "too_old", "blocked"]), st.just("why"), st.integers(0, 3),
    st.integers(CHANGED_MS, NOW_MS),
)  # fmt: skip
compared = st.builds(
    ComparedWindow,
    st.just(START_S),
    st.just(END_S),
    st.integers(1, 10 * SCALE),
    st.lists(sent_windows, max_size=4).map(tuple),
    st.builds(CountedUsage, st.integers(0, 10**24), st.integers(CHANGED_MS, NOW_MS)),
    st.none() | st.decimals(-(10**6), 10**20, places=3),
    st.booleans(),
    st.booleans(),
    st.just(""),
    st.booleans(),
)


@given(compared, st.booleans())
def test_the_parts_always_sum_to_the_difference(window: ComparedWindow, reported: bool) -> None:
    parts = explain(window, (REPORT,) if reported else (), NOW_MS)
    assert sum(part.units for part in parts) == difference_of(window)
    assert all(part.detail for part in parts)


PLANTS = ["pending", "refused", "too_old", "blocked", "foreign", "taken", "repeated", "waiting", "lost"]
NAMED: dict[str, Drift] = {"taken": "foreign", "waiting": "pending", "lost": "unexplained"}


@given(st.lists(st.tuples(st.sampled_from(PLANTS), st.integers(2, 10**6)), min_size=1, max_size=12))
def test_planted_differences_are_named_with_their_amounts(planted: list[tuple[str, int]]) -> None:
    """One window each, with the units that were planted, and no window has a part of another cause."""
    for kind, units in planted:
        window, expected = plant(kind, units)
        parts = explain(window, (), NOW_MS)
        assert [(part.cause, part.units) for part in parts] == [(NAMED.get(kind, kind), expected * UNIT)]


def plant(kind: str, units: int) -> tuple[ComparedWindow, int]:
    """A window of 3 units that Stripe has, changed by `units`; and the difference that it must show."""
    wanted = units + 3
    one = SENT._replace(exact=wanted * SCALE, wanted=wanted, confirmed=3)
    counted = wanted
    stripe = 3
    if kind in ("refused", "too_old", "blocked"):
        one = one._replace(unsendable=units, cause=kind, message="why")
    elif kind == "pending":
        one = one._replace(pending=units)
    elif kind == "lost":
        one = one._replace(exact=3 * SCALE, wanted=3)
    elif kind != "waiting":
        one = one._replace(confirmed=wanted)
        stripe = {"foreign": wanted + units, "taken": 3, "repeated": 2 * wanted}[kind]
        units = stripe - wanted
        return of(one, stripe=str(stripe), counted=counted), units
    return of(one, stripe=str(stripe), counted=counted), -units
