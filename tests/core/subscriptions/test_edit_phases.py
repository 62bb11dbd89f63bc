"""Adding, removing and stretching phases, and each refusal."""

from __future__ import annotations

import pytest

from pipeline.core.subscriptions.customization import (
    AddedPhase,
    AddPhase,
    Customization,
    PhaseShift,
    RemovePhase,
    StretchPhase,
)
from pipeline.core.subscriptions.edit import edit
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timeline import phase_spans
from pipeline.errors import Rejected
from tests.core.subscriptions.sold import LATER, MAIN, TRIAL, at, day, new_id, phase, subscribed

RUNNING = subscribed("2026-01-31", TRIAL, MAIN, phase("calm", "P1M"), LATER)
NOW_S = at("2026-03-10")  # in main, which is from 2026-02-28 to 2026-08-31


def edited(*asked: Customization) -> Subscription:
    return edit(RUNNING, asked, "immediate", NOW_S, new_id)


def starts(subscription: Subscription) -> dict[str, str | None]:
    return {one.key: day(span.start_s) for one, span in phase_spans(subscription)}


def added(start_after: str | None, duration: str | None = None, key: str = "extra") -> AddPhase:
    return AddPhase(AddedPhase(key=key, name="Extra", start_after=start_after, duration=duration))


BEFORE = {"trial": "2026-01-31", "main": "2026-02-28", "calm": "2026-08-31", "later": "2026-09-30"}


def test_before_the_edit() -> None:
    assert starts(RUNNING) == BEFORE


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (added("P2M", "P1M"), {**BEFORE, "extra": "2026-03-31", "calm": "2026-04-30", "later": "2026-05-31"}),
        (added("P7M", "P1W"), {**BEFORE, "extra": "2026-08-31", "calm": "2026-09-07", "later": "2026-10-07"}),
        (added("P1Y"), {**BEFORE, "extra": "2027-01-31"}),
        (StretchPhase("main", "P1M"), {**BEFORE, "calm": "2026-09-30", "later": "2026-10-31"}),
        (StretchPhase("main", "-P5M"), {**BEFORE, "calm": "2026-03-31", "later": "2026-04-30"}),
        (StretchPhase("calm", "P1D"), {**BEFORE, "later": "2026-10-01"}),
        (RemovePhase("calm", "next"),
         {"trial": "2026-01-31", "main": "2026-02-28", "later": "2026-08-31"}),
        (RemovePhase("calm", "prev"),
         {"trial": "2026-01-31", "main": "2026-02-28", "later": "2026-09-30"}),
        (RemovePhase("later", "next"), {name: BEFORE[name] for name in ("trial", "main", "calm")}),
        (RemovePhase("later", "prev"), {name: BEFORE[name] for name in ("trial", "main", "calm")}),
    ],
)  # fmt: skip
def test_when_phases_begin(asked: Customization, expected: dict[str, str]) -> None:
    found = edited(asked)
    assert starts(found) == expected
    assert found.phases[-1].duration is None


def test_phases_can_be_added_one_behind_the_other() -> None:
    found = edited(added("P1Y", "P1M", "extra"), added(None, "P2M", "more"), added(None, None, "last"))
    assert starts(found) == {**BEFORE, "extra": "2027-01-31", "more": "2027-02-28", "last": "2027-04-30"}


@pytest.mark.parametrize("shift", ["next", "prev"])
def test_what_was_added_between_two_phases_can_be_removed(shift: PhaseShift) -> None:
    found = edited(added("P7M", "P1W"), RemovePhase("extra", shift))
    assert (found is RUNNING) == (shift == "next")


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (added("P2M", "P1M", "calm"), "the subscription has a phase calm"),
        (added(None), "startAfter is required, since the last phase later has no end"),
        (added("P1M", "P1M"), "the phase extra must begin later than now"),
        (added("1 month"),
         "startAfter: interval '1 month' is not DAY, WEEK, MONTH, YEAR or an ISO 8601 duration"),
        (added("P2M", "PT1M"), "duration: interval PT1M must be at least PT1H"),
        (RemovePhase("trial", "next"), "the phase trial is over and cannot be changed"),
        (RemovePhase("main", "next"), "the phase main has begun and cannot be removed"),
        (RemovePhase("gold", "next"), "the subscription has no phase gold"),
        (StretchPhase("trial", "P1M"), "the phase trial is over and cannot be changed"),
        (StretchPhase("later", "P1M"), "the last phase later has no end that could be moved"),
        (StretchPhase("main", "-P6M"), "the phase main would disappear"),
        (StretchPhase("main", "-P175D"), "the phase main would disappear"),
        (StretchPhase("calm", "-P1M"), "the phase calm would disappear"),
        (StretchPhase("calm", "--P1M"),
         "extendBy: interval '-P1M' is not DAY, WEEK, MONTH, YEAR or an ISO 8601 duration"),
    ],
)  # fmt: skip
def test_refusals(asked: Customization, why: str) -> None:
    with pytest.raises(Rejected) as refused:
        edited(asked)
    assert (refused.value.reason, refused.value.detail) == ("bad-subscription-edit", why)


def test_not_behind_the_end_of_all() -> None:
    with pytest.raises(Rejected, match="must not begin after the end of the last phase"):
        edited(added("P1Y", "P1M"), added("P2Y", None, "more"))
