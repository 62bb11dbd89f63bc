"""Beginning and ending items: versions, and each refusal."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.subscriptions.customization import AddItem, Customization, RemoveItem, UnscheduleEdit
from pipeline.core.subscriptions.edit import edit
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timing import NamedTiming
from pipeline.errors import Rejected
from tests.core.subscriptions.sold import LATER, MAIN, TRIAL, at, calls, new_id, seats, spans, subscribed

RUNNING = subscribed("2026-01-01", TRIAL, MAIN, LATER)
NOW_S = at("2026-02-10")  # in main


def edited(
    *asked: Customization, on: Subscription = RUNNING, timing: NamedTiming = "immediate"
) -> Subscription:
    return edit(on, asked, timing, NOW_S, new_id)


def test_a_version_in_force_ends_where_the_next_one_begins() -> None:
    found = edited(AddItem("main", seats("60")))
    assert spans(found, "main", "seats") == [(None, "2026-02-10"), ("2026-02-10", None)]
    ids = [item.id for item in found.phases[1].timelines["seats"]]
    assert ids == ["id of sub/main/seats/v[0]", f"id of sub/main/seats/v[1]/{NOW_S}"]


def test_an_item_of_a_later_phase_begins_with_it() -> None:
    found = edited(AddItem("later", calls()), AddItem("later", seats("50")))
    assert spans(found, "later", "calls") == spans(found, "later", "seats") == [(None, None)]
    assert found.phases[2].timelines["seats"][0].card == seats("50")


def test_an_item_that_ended_can_begin_again() -> None:
    ended = edited(RemoveItem("main", "seats"))
    again = edit(ended, [AddItem("main", seats())], "immediate", NOW_S + 1, new_id)
    assert spans(again, "main", "seats") == [(None, "2026-02-10"), ("2026-02-10T00:00:01.000Z", None)]


def test_removing() -> None:
    found = edited(RemoveItem("main", "seats"), RemoveItem("later", "seats"))
    assert spans(found, "main", "seats") == [(None, "2026-02-10")]
    assert "seats" not in found.phases[2].timelines


def test_what_is_scheduled_can_be_replaced_at_its_instant_or_taken_back() -> None:
    scheduled = edited(AddItem("main", seats("60")), timing="next_billing_cycle")
    replaced = edited(AddItem("main", seats("90")), on=scheduled, timing="next_billing_cycle")
    assert [item.card for item in replaced.phases[1].timelines["seats"]] == [seats(), seats("90")]
    for unwanted in (scheduled, edited(RemoveItem("main", "seats"), timing="next_billing_cycle")):
        back = edited(UnscheduleEdit(), on=unwanted)
        assert msgspec.structs.replace(back, updated_at_s=RUNNING.updated_at_s) == RUNNING
    other = edited(UnscheduleEdit(), AddItem("main", seats("90")), on=scheduled)
    assert spans(other, "main", "seats") == [(None, "2026-02-10"), ("2026-02-10", None)]


SCHEDULED = edited(AddItem("main", seats("60")), timing="next_billing_cycle")
ENDING = edited(RemoveItem("main", "seats"), timing="next_billing_cycle")


@pytest.mark.parametrize(
    ("on", "asked", "why"),
    [
        (RUNNING, AddItem("trial", seats()), "the phase trial is over and cannot be changed"),
        (RUNNING, RemoveItem("trial", "calls"), "the phase trial is over and cannot be changed"),
        (RUNNING, AddItem("gold", seats()), "the subscription has no phase gold"),
        (RUNNING, RemoveItem("main", "gold"), "the phase main has no item gold in force"),
        (RUNNING, RemoveItem("later", "calls"), "the phase later has no item calls in force"),
        (edited(RemoveItem("main", "seats")), RemoveItem("main", "seats"),
         "the phase main has no item seats in force"),
        (SCHEDULED, AddItem("main", seats("90")),
         "the item seats has a change that is scheduled for later; unschedule it first"),
        (SCHEDULED, RemoveItem("main", "seats"), "the phase main has no item seats in force"),
        (ENDING, RemoveItem("main", "seats"),
         "the item seats has a change that is scheduled for later; unschedule it first"),
        (RUNNING, AddItem("main", msgspec.structs.replace(calls(), key="other")),
         "the key of the rate card other must be that of its feature, calls"),
        (RUNNING, AddItem("main", msgspec.structs.replace(seats(), currency="EUR")),
         "the rate card seats must have the currency USD"),
    ],
)  # fmt: skip
def test_refusals(on: Subscription, asked: Customization, why: str) -> None:
    with pytest.raises(Rejected) as refused:
        edited(asked, on=on)
    assert (refused.value.reason, refused.value.detail) == ("bad-subscription-edit", why)
