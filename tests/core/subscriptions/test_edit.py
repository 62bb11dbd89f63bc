"""Edits as a whole: when they take effect, all or none, the rules for the result, laws over any edits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.rating.line_periods import horizon_of, line_periods
from pipeline.core.subscriptions.active_span import ActiveSpan
from pipeline.core.subscriptions.customization import (
    AddedPhase,
    AddItem,
    AddPhase,
    Customization,
    RemoveItem,
    RemovePhase,
    StretchPhase,
    UnscheduleEdit,
)
from pipeline.core.subscriptions.edit import MOST_CUSTOMIZATIONS, edit
from pipeline.core.subscriptions.edit_place import phase_at
from pipeline.core.subscriptions.subscription import QuantityChange, Subscription, SubscriptionAddon
from pipeline.core.subscriptions.timeline import billed_items, billing_recurrence, phase_spans, placed_items
from pipeline.core.subscriptions.timing import NamedTiming
from pipeline.core.values import calendar
from pipeline.errors import Rejected
from tests.core.subscriptions.sold import (
    DAY_S,
    LATER,
    ZONES,
    at,
    calls,
    day,
    new_id,
    phase,
    seats,
    spans,
    subscribed,
)

RUNNING = subscribed("2026-01-31", phase("main", "P6M", seats(), calls()), LATER)
NOW_S = at("2026-02-10")
ADD = AddItem("main", seats("60"))
ADDON = SubscriptionAddon(
    id="bought",
    addon_id="a",
    addon_key="more",
    addon_version=1,
    instance_type="single",
    name="More",
    rate_cards=(),
    from_phase="main",
    changes=(QuantityChange(NOW_S, 1),),
)


def edited(*asked: Customization, timing: NamedTiming = "immediate", now_s: int = NOW_S) -> Subscription:
    return edit(RUNNING, asked, timing, now_s, new_id)


def test_when_it_takes_effect() -> None:
    assert spans(edited(ADD), "main", "seats") == [(None, "2026-02-10"), ("2026-02-10", None)]
    later = edited(ADD, timing="next_billing_cycle")
    assert spans(later, "main", "seats") == [(None, "2026-02-28"), ("2026-02-28", None)]
    assert edited(ADD).updated_at_s == NOW_S


def test_customizations_are_applied_in_order() -> None:
    added = edited(
        RemoveItem("main", "seats"), AddItem("main", calls(key="mails")), AddItem("later", calls())
    )
    assert [list(one.timelines) for one in added.phases] == [["seats", "calls", "mails"], ["seats", "calls"]]
    assert spans(added, "main", "seats") == [(None, "2026-02-10")]


def test_all_or_none() -> None:
    with pytest.raises(Rejected, match="no phase gold"):
        edited(ADD, RemoveItem("gold", "seats"))
    assert spans(RUNNING, "main", "seats") == [(None, None)]


def test_an_edit_without_effect_returns_the_subscription_itself() -> None:
    assert edited(ADD, AddItem("main", seats())) is RUNNING
    assert edited(AddItem("main", seats())) is RUNNING


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ([], "customizations must be 1 to 100"),
        ([UnscheduleEdit()] * (MOST_CUSTOMIZATIONS + 1), "customizations must be 1 to 100"),
        ([AddPhase(AddedPhase(key="extra", name="Extra", start_after="P3M"))],
         "the phase extra needs a duration, since it is not the last"),
        ([AddPhase(AddedPhase(key="extra", name="Extra", start_after="P9M", duration="P1M"))],
         "the last phase extra must not have a duration"),
        ([AddItem("main", seats("60", cadence="P5W"))],
         "the billing cadence P5W of the rate card seats must be a whole multiple or divisor of the subscription's, "
         "P1M"),
    ],
)  # fmt: skip
def test_an_edit_is_refused(asked: list[Customization], why: str) -> None:
    with pytest.raises(Rejected) as refused:
        edited(*asked)
    assert (refused.value.reason, refused.value.detail) == ("bad-subscription-edit", why)


def test_a_scheduled_change_must_stay_in_its_phase() -> None:
    scheduled = edited(ADD, timing="next_billing_cycle")
    shorter = AddPhase(AddedPhase(key="extra", name="Extra", start_after="P20D", duration="P1M"))
    why = "the item seats has a change that would lie outside the phase main; unschedule it first"
    with pytest.raises(Rejected, match=why):
        edit(scheduled, [shorter], "immediate", NOW_S, new_id)
    both = edit(scheduled, [UnscheduleEdit(), shorter], "immediate", NOW_S, new_id)
    assert [one.key for one in both.phases] == ["main", "extra", "later"]


def test_not_into_another_phase() -> None:
    why = "cannot edit to the next billing cycle as it falls into a different phase"
    for now_s in (at("2026-06-30"), at("2026-07-15")):
        with pytest.raises(Rejected, match=why):
            edited(ADD, timing="next_billing_cycle", now_s=now_s)
    edited(ADD, timing="next_billing_cycle", now_s=at("2026-06-30") - 1)


def test_who_cannot_be_edited() -> None:
    with pytest.raises(Rejected, match="transition edit in scheduled not allowed"):
        edited(ADD, now_s=at("2026-01-30"))
    ended = msgspec.structs.replace(RUNNING, active_to_s=at("2027-01-01"))
    with pytest.raises(Rejected, match="transition edit in canceled not allowed"):
        edit(ended, [ADD], "immediate", NOW_S, new_id)
    with pytest.raises(Rejected, match="a subscription with add-ons cannot be edited"):
        edit(msgspec.structs.replace(RUNNING, addons=(ADDON,)), [ADD], "immediate", NOW_S, new_id)


def test_two_items_of_a_feature_are_refused() -> None:
    twice = phase("main", None, msgspec.structs.replace(calls(), key="old"))
    with pytest.raises(Rejected) as refused:
        edit(subscribed("2026-01-31", twice), [AddItem("main", calls())], "immediate", NOW_S, new_id)
    assert refused.value.reason == "only_single_subscription_item_allowed_at_a_time"


CURRENT = "current"  # the phase that is in force
PHASE_KEYS = st.sampled_from([CURRENT, CURRENT, CURRENT, "main", "later", "extra"])
CARDS = st.one_of(
    st.sampled_from(["30", "60"]).map(seats),
    st.sampled_from(["0.01", "0.02"]).map(calls),
    st.just(seats("12", "in_arrears", "P1D")),
    st.just(seats("500", "in_arrears", None)),
    st.just(seats("7", cadence="P3M")),
)
DURATIONS = st.sampled_from(["P1M", "P10D", "P1Y", "PT36H", "P1W"])
ADDED_PHASES = st.builds(
    AddedPhase,
    key=st.sampled_from(["extra", "more"]),
    name=st.just("Extra"),
    start_after=st.none() | st.sampled_from(["P1M", "P2M", "P45D", "P7M", "P1Y", "P60DT5H"]),
    duration=st.none() | DURATIONS,
)
CUSTOMIZATIONS = st.one_of(
    st.builds(AddItem, PHASE_KEYS, CARDS),
    st.builds(AddItem, PHASE_KEYS, CARDS),
    st.builds(RemoveItem, PHASE_KEYS, st.sampled_from(["seats", "calls"])),
    st.builds(AddPhase, ADDED_PHASES),
    st.builds(RemovePhase, PHASE_KEYS, st.sampled_from(["next", "prev"])),
    st.builds(StretchPhase, PHASE_KEYS, st.builds(str.__add__, st.sampled_from(["", "-"]), DURATIONS)),
    st.just(UnscheduleEdit()),
)
EDITS = st.lists(
    st.tuples(
        st.sampled_from([0, DAY_S]) | st.integers(0, 40 * DAY_S),
        st.sampled_from(["immediate", "next_billing_cycle"]),
        st.lists(CUSTOMIZATIONS, min_size=1, max_size=2),
    ),
    min_size=4,
    max_size=10,
)
STARTS = st.sampled_from(["2026-01-31", "2024-02-29", "2026-03-28T01:30:07Z", "2026-10-24T23:59:59Z"])
ANCHORS = st.none() | st.sampled_from(["2025-08-31", "2031-01-31T22:30:01Z"])


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, Subscription]]:
    """A subscription at its start and after each edit that is not refused, with the instant."""
    subscription = subscribed(draw(STARTS), anchor=draw(ANCHORS), zone=draw(st.sampled_from(ZONES)))
    now_s = subscription.active_from_s
    found = [(now_s, subscription)]
    for passed_s, timing, asked in draw(EDITS):
        now_s += passed_s
        here = phase_at(subscription, now_s)
        named = [
            msgspec.structs.replace(one, phase_key=here) if getattr(one, "phase_key", "") == CURRENT else one
            for one in asked
        ]
        try:
            subscription = edit(subscription, named, timing, now_s, new_id)
        except Rejected:
            continue
        found.append((now_s, subscription))
    return found


def check_phases_tile_the_subscription(history: list[tuple[int, Subscription]]) -> None:
    for _, subscription in history:
        found = [span for _, span in phase_spans(subscription)]
        assert found[0].start_s == subscription.active_from_s and found[-1].end_s is None
        assert all(sooner.end_s == later.start_s for sooner, later in pairwise(found))


def check_versions_of_an_item_are_in_order_and_never_overlap(history: list[tuple[int, Subscription]]) -> None:
    for _, subscription in history:
        placed: dict[Any, list[Any]] = {}
        for one in placed_items(subscription):
            assert one.span == one.span.cut(one.phase_span)
            placed.setdefault((one.phase.key, one.item.card.key), []).append(one)
        for versions in placed.values():
            assert [one.version for one in versions] == list(range(len(versions)))
            for sooner, later in pairwise(versions):
                assert sooner.span.end_s is not None and sooner.span.end_s <= later.span.start_s
        assert sum(map(len, placed.values())) == sum(
            len(versions) for one in subscription.phases for versions in one.timelines.values()
        )


def check_an_edit_does_not_change_the_past(history: list[tuple[int, Subscription]]) -> None:
    for (_, before), (now_s, after) in pairwise(history):
        past = ActiveSpan(before.active_from_s, now_s)
        seen = []
        for subscription in (before, after):
            cut = [(one, one.span.cut(past)) for one in placed_items(subscription)]
            seen.append(
                {
                    (one.phase.key, one.item.card.key, one.version, one.item.id, span)
                    for one, span in cut
                    if span
                }
            )
        assert seen[0] == seen[1]


def check_lines_tile_each_item(history: list[tuple[int, Subscription]]) -> None:
    last_s, subscription = history[-1]
    billing = billing_recurrence(subscription)
    horizon_s = horizon_of(billing, last_s + 120 * DAY_S)
    identities = []
    for item in billed_items(subscription):
        lines = list(line_periods(item, billing, horizon_s))
        identities += [line.identity for line in lines]
        if not lines:
            first = next(line_periods(item, billing, calendar.NEVER_S), None)
            assert (
                (item.cadence, item.end_s) == (None, None)
                if first is None
                else first.invoice_at_s > horizon_s
            )
            continue
        assert lines[0].service.start_s == item.start_s
        assert all(sooner.service.end_s == later.service.start_s for sooner, later in pairwise(lines))
        if item.end_s is not None and item.end_s <= horizon_s:
            assert lines[-1].service.end_s == item.end_s
    assert len(set(identities)) == len(identities)


@given(histories())
def test_laws_over_any_edits(history: list[tuple[int, Subscription]]) -> None:
    check_phases_tile_the_subscription(history)
    check_versions_of_an_item_are_in_order_and_never_overlap(history)
    check_an_edit_does_not_change_the_past(history)
    check_lines_tile_each_item(history)


ITEM_CHANGES = st.one_of(
    st.builds(AddItem, st.just("main"), CARDS), st.builds(RemoveItem, st.just("main"), st.just("seats"))
)


@given(st.integers(0, 100 * DAY_S), st.lists(ITEM_CHANGES, min_size=1, max_size=4))
def test_a_scheduled_edit_that_is_taken_back_leaves_nothing(after_s: int, asked: list[Customization]) -> None:
    now_s = RUNNING.active_from_s + after_s
    try:
        scheduled = edit(RUNNING, asked, "next_billing_cycle", now_s, new_id)
    except Rejected:
        return
    again = edit(scheduled, [UnscheduleEdit()], "immediate", now_s, new_id)
    assert msgspec.structs.replace(again, updated_at_s=RUNNING.updated_at_s) == RUNNING


@given(st.just(0) | st.integers(0, 100 * DAY_S), CARDS, DURATIONS, st.integers(0, 4))
def test_an_edit_and_its_undoing_leave_nothing(after_s: int, card: Any, duration: str, which: int) -> None:
    now_s = RUNNING.active_from_s + after_s
    own = {"seats": seats(), "calls": calls()}[card.key]
    extra = AddedPhase(key="extra", name="Extra", start_after="P6M", duration=duration)
    undone: list[list[Customization]] = [
        [AddItem("main", card), AddItem("main", own)],
        [RemoveItem("main", card.key), AddItem("main", own)],
        [AddItem("main", calls(key="mails")), RemoveItem("main", "mails")],
        [StretchPhase("main", duration), StretchPhase("main", f"-{duration}")],
        [AddPhase(extra), AddItem("extra", card), RemovePhase("extra", "next")],
    ]
    assert edit(RUNNING, undone[which], "immediate", now_s, new_id) is RUNNING
    # One after another at the same instant, as two edits.
    first, *others = undone[which]
    between = edit(RUNNING, [first], "immediate", now_s, new_id)
    again = edit(between, others, "immediate", now_s, new_id)
    assert msgspec.structs.replace(again, updated_at_s=RUNNING.updated_at_s) == RUNNING


def test_a_story_of_edits() -> None:
    first = edited(ADD)
    second = edit(first, [AddItem("main", seats("90"))], "next_billing_cycle", at("2026-03-05"), new_id)
    third = edit(second, [StretchPhase("main", "P1M")], "immediate", at("2026-04-10"), new_id)
    assert spans(third, "main", "seats") == [
        (None, "2026-02-10"), ("2026-02-10", "2026-03-31"), ("2026-03-31", None),
    ]  # fmt: skip
    assert [day(span.start_s) for _, span in phase_spans(third)] == ["2026-01-31", "2026-08-31"]
