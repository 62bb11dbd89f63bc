"""Laws of lines over any sequence of plan changes, edits, cancelations and restores, while invoices are issued."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.invoices.correction import billed_by
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.rated_line import rating_part, rating_terms
from pipeline.core.invoices.subscription_lines import subscription_lines
from pipeline.core.rating.rate import rate
from pipeline.core.rating.tariff import tariff_of
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timeline import placed_items
from tests.core.bills.bill_world import DAY_S, ONE_PHASE, BillWorld, Definitions, at, live
from tests.fixtures.catalog_bodies import FEE, TOKENS, Body
from tests.fixtures.examples import examples

Step = tuple[int, str, Body]
PHASES: list[Body] = [
    {"key": "main", "name": "Main", "duration": "P4M", "rateCards": [FEE, TOKENS]},
    {
        "key": "later",
        "name": "Later",
        "duration": None,
        "rateCards": [{**FEE, "price": {**FEE["price"], "amount": "7"}}],
    },
]
PLAN: Body = {**ONE_PHASE, "phases": PHASES}
FULL = {"workflow": {"invoicing": {"subscriptionEndProrationMode": "bill_full_period"}}}
SOLD = [
    Definitions(plan=PLAN),
    Definitions(plan=PLAN, profile=FULL),
    Definitions(plan=PLAN, profile={"timeZone": "America/New_York"}),
    Definitions(plan={**PLAN, "proRatingConfig": {"enabled": False, "mode": "prorate_prices"}}),
]


def fee(amount: str, term: str, cadence: str | None) -> Body:
    return {
        **FEE,
        "billingCadence": cadence,
        "price": {"type": "flat", "amount": amount, "paymentTerm": term},
    }


CARDS = st.one_of(
    st.builds(
        fee,
        st.sampled_from(["10", "59.99", "100"]),
        st.sampled_from(["in_advance", "in_arrears"]),
        st.just("P1M"),
    ),
    st.builds(fee, st.just("20"), st.just("in_advance"), st.sampled_from(["P1W", "P3M", None])),
    st.just(TOKENS),
)
TIMINGS = st.sampled_from(["immediate", "next_billing_cycle"])


def custom(card: Body, timing: str) -> Body:
    phases = [{"key": "main", "name": "Main", "duration": None, "rateCards": [card]}]
    sent = {name: value for name, value in ONE_PHASE.items() if name != "key"}
    return {"timing": timing, "customPlan": {**sent, "phases": phases}}


def edit(customization: Body, timing: str) -> Body:
    return {"customizations": [customization], "timing": timing}


ASKED: st.SearchStrategy[tuple[str, Body]] = st.one_of(
    st.tuples(st.just("edit"), st.builds(
        lambda card, timing: edit({"op": "add_item", "phaseKey": "main", "rateCard": card}, timing), CARDS, TIMINGS
    )),
    st.tuples(st.just("edit"), st.builds(
        lambda key, timing: edit({"op": "remove_item", "phaseKey": "main", "itemKey": key}, timing),
        st.sampled_from(["fee", "tokens"]), TIMINGS,
    )),
    st.tuples(st.just("edit"), st.just(edit({"op": "unschedule_edit"}, "immediate"))),
    st.tuples(st.just("cancel"), st.builds(lambda timing: {"timing": timing}, TIMINGS)),
    st.tuples(st.sampled_from(["continue", "restore"]), st.just({})),
    st.tuples(st.just("change"), st.builds(custom, CARDS, TIMINGS)),
    st.tuples(st.just("now"), st.just({})),
)  # fmt: skip
WAITS = st.one_of(st.just(0), st.integers(0, 12 * DAY_S), st.integers(0, 40 * DAY_S))
STEPS = st.lists(st.builds(lambda wait, asked: (wait, *asked), WAITS, ASKED), min_size=1, max_size=10)


class Changed:
    """A customer whose subscription changes. What is not possible is refused, and changes nothing."""

    def __init__(self, sold: Definitions, start: str) -> None:
        self.world = BillWorld(sold)
        self.world.now_s = at(start)
        self.world.subscribe()
        self.world.until(self.world.now_s)

    def step(self, wait_s: int, kind: str, sent: Body) -> None:
        world = self.world
        world.until(world.now_s + wait_s)
        if kind == "now":
            world.send("invoice.now", {"customerId": world.customer})
        else:
            newest = self.subscriptions[-2:] if kind == "restore" else self.subscriptions[-1:]
            world.send(f"subscription.{kind}", sent, id=newest[0].id)
        world.answer_numbers()

    @property
    def subscriptions(self) -> list[Subscription]:
        found = [self.world.subscription(id) for id in self.world.published.subscriptions]
        return sorted(found, key=lambda one: (one.is_deleted, one.active_from_s, one.created_at_s, one.id))

    def wanted(self) -> list[InvoiceLine]:
        workflow = self.world.definitions.billing.profile_of("default", self.world.customer).workflow
        now_ms = self.world.now_s * 1000
        return [line for one in self.subscriptions for line in subscription_lines(one, workflow, now_ms)]

    def lines(self) -> list[InvoiceLine]:
        return [line for stored in self.world.invoices() for line in live_lines(stored.content.lines)]


def worth(line: InvoiceLine) -> int:
    """What a fee costs, in cents."""
    terms = rating_terms(line)
    return 0 if terms is None else rate(tariff_of(terms), rating_part(line, 0, 0, 0)).total


def fees(lines: list[InvoiceLine]) -> dict[str, int]:
    """What each period of a fee was billed, with its corrections, in cents."""
    by_id = {line.id: line for line in lines}
    sums: dict[str, int] = defaultdict(int)
    for line in lines:
        of = line if line.corrects is None else by_id[line.corrects.line_id]
        if of.is_metered or of.reference is None:
            continue
        rated = line.corrects is not None or line.children
        sums[of.reference] += sum(one.total for one in billed_by(line)) if rated else worth(line)
    return {reference: total for reference, total in sums.items() if total}


def check_usage_is_covered(changed: Changed) -> None:
    """Every second of an item with usage lies in one line, until after now."""
    lines = [line for line in changed.lines() if line.is_metered and line.corrects is None]
    for subscription in changed.subscriptions:
        for item in () if subscription.is_deleted else placed_items(subscription):
            card, span = item.item.card, item.span
            if not card.is_priced_by_usage:
                continue
            of = f"{subscription.id}/{item.phase.key}/{card.key}/v[{item.version}]/"
            found = sorted(
                (line.period.start_s, line.period.end_s)
                for line in lines
                if (line.reference or "").startswith(of)
            )
            assert all(sooner[1] == later[0] for sooner, later in pairwise(found))
            if span.start_s <= changed.world.now_s:
                assert found[0][0] == span.start_s
                assert found[-1][1] == span.end_s or found[-1][1] > changed.world.now_s


def check(changed: Changed) -> None:
    assert fees(changed.lines()) == fees(changed.wanted())
    check_usage_is_covered(changed)


@settings(max_examples=examples(60))
@given(st.sampled_from(SOLD), st.sampled_from(["2026-01-31", "2026-02-10T09:30:17Z"]), STEPS)
def test_after_any_changes_lines_cover_the_time_of_their_items_and_fees_are_those_of_the_final_timeline(
    sold: Definitions, start: str, steps: list[Step]
) -> None:
    changed = Changed(sold, start)
    for step in steps:
        changed.step(*step)
    changed.world.tick()
    check(changed)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(10 * DAY_S, "edit", edit({"op": "add_item", "phaseKey": "main", "rateCard": fee("60", "in_advance", "P1M")},
                                    "immediate"))],
         [("Base fee", "20"), ("Base fee", "40.65"), ("Base fee: correction", "-13.55")]),
        ([(10 * DAY_S, "cancel", {"timing": "immediate"})], [("Base fee", "20"), ("Base fee: correction", "-13.55")]),
        ([(10 * DAY_S, "cancel", {"timing": "next_billing_cycle"}), (DAY_S, "continue", {})], [("Base fee", "20")]),
    ],
)  # fmt: skip
def test_a_change_after_ten_days_of_january(steps: list[Step], expected: Any) -> None:
    changed = Changed(SOLD[0], "2026-01-01")
    for step in steps:
        changed.step(*step)
    changed.world.tick()
    check(changed)
    january = [
        line for line in changed.lines() if not line.rate_card.feature_key and line.period.start < "2026-02"
    ]
    assert sorted((line.name, line.totals.total) for line in january) == sorted(expected)


def test_a_draft_that_waits_for_its_usage_shows_what_a_change_makes_of_its_lines() -> None:
    """The fee of a period that began late is prorated, until the subscription ends with it and is billed in full."""
    changed = Changed(SOLD[1], "2026-01-31")
    changed.step(121, "change", custom(fee("100", "in_advance", "P1M"), "immediate"))
    changed.world.until(changed.world.now_s)
    (draft,) = [one for one in changed.world.invoices() if one.progress.state.startswith("draft")]
    assert [line.totals.total for line in draft.content.lines] == ["0", "99.99"]
    changed.step(0, "cancel", {"timing": "next_billing_cycle"})
    (draft,) = [one for one in changed.world.invoices() if one.progress.state.startswith("draft")]
    assert [line.totals.total for line in draft.content.lines] == ["0", "100"]
    assert draft.content.totals.total == "100"


@pytest.mark.parametrize("amount", ["10", "20"])
def test_an_item_that_is_removed_and_added_within_a_millisecond_has_lines_of_its_own(amount: str) -> None:
    changed = Changed(SOLD[0], "2026-01-31")
    changed.step(0, "edit", edit({"op": "remove_item", "phaseKey": "main", "itemKey": "fee"}, "immediate"))
    card = fee(amount, "in_advance", "P1M")
    changed.step(0, "edit", edit({"op": "add_item", "phaseKey": "main", "rateCard": card}, "immediate"))
    changed.world.until(changed.world.now_s + 2 * 3600)
    check(changed)
    ids = [line.id for line in changed.lines()]
    assert len(ids) == len(set(ids))


def test_a_subscription_is_counted_in_the_zone_of_the_customer_else_of_its_profile() -> None:
    world = BillWorld(Definitions(profile={"timeZone": "Europe/Berlin"}))
    id = world.subscribe(timing="immediate", billingAnchor="2026-01-31T00:00:00+01:00")
    assert world.subscription(id).zone == "Europe/Berlin"
    world.until(at("2026-04-02"))
    ends = {one.period.end for bill in world.billed() for one in live(bill)}
    assert {"2026-02-27T23:00:00.000Z", "2026-03-30T22:00:00.000Z", "2026-04-29T22:00:00.000Z"} <= ends
