"""What was given up is never taken back a second time: the law of what a customer owes after voids."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.rated_line import rating_terms
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import tariff_of
from pipeline.core.values import money, number
from tests.core.bills.bill_world import DAY_S, BillWorld, Definitions, at, lines_of, live
from tests.core.bills.test_bill_laws import PRICES, billed_of, plan
from tests.core.bills.test_invoice_void import HOOKS, tokens_billed, voided
from tests.fixtures.catalog_bodies import Body

USED_S = at("2026-01-12")
STEP_S = {"minute": 60, "days": 2 * DAY_S, "month": 33 * DAY_S}
Act = tuple[str, int]


class VoidStory:
    """The line of one month of usage while its usage and its invoices change. Amounts are in atto."""

    def __init__(self, price: Body) -> None:
        self.world = BillWorld(Definitions(app=HOOKS))
        self.world.now_s = at("2026-01-10")
        self.world.send(
            "subscription.create", {"customerId": self.world.customer, "customPlan": plan(price, "5")}
        )
        self.usage = self.given_up = 0
        self.act(("use", 30))
        self.world.until(at("2026-02-12"))
        self.line = next(line for _, line in self.lines() if line.corrects is None)

    def act(self, act: Act) -> None:
        kind, value = act
        if kind == "use":
            self.usage = value
            self.world.use(USED_S, str(value))
        elif kind in STEP_S:
            self.world.until(self.world.now_s + STEP_S[kind])
        elif unpaid := [
            one for one in self.world.billed() if one.progress.state == "payment_processing.pending"
        ]:
            self._void(unpaid[value % len(unpaid)], kind)

    def _void(self, invoice: StoredInvoice, kind: str) -> None:
        self.world.do("invoice.void", voided(kind), id=invoice.content.id)
        if kind == "discard":
            self.given_up += sum(
                billed_of(line) for one, line in self.lines() if one.content.id == invoice.content.id
            )

    def lines(self) -> list[tuple[StoredInvoice, InvoiceLine]]:
        """All lines of the month's usage, with their invoices."""
        return [
            (one, line)
            for one in self.world.invoices()
            for line in live(one)
            if line.rate_card.feature_key and line.period.start[:10] == "2026-01-10"
        ]

    @property
    def owed(self) -> int:
        """What the customer has to pay, has paid, or will get back with the next invoice."""
        found = 0
        for one, line in self.lines():
            if one.progress.state == "gathering" and line.corrects is None:
                found += self.worth - self._billed_of(line)
            elif one.progress.state != "voided":
                found += billed_of(line)
        return found

    def _billed_of(self, waiting: InvoiceLine) -> int:
        """What is billed already of a line that waits, to be billed again."""
        others = [
            (one, line)
            for one, line in self.lines()
            if line is not waiting and one.progress.state != "gathering"
        ]
        paid = sum(billed_of(line) for one, line in others if one.progress.state != "voided")
        return min(self.worth, paid + self.given_up)

    @property
    def worth(self) -> int:
        """The rating of the final usage."""
        terms = rating_terms(self.line)
        assert terms is not None
        return money.atto(rate(tariff_of(terms), LinePart(self.usage * number.SCALE, minimum=True)).total, 2)


acts: st.SearchStrategy[Act] = st.one_of(
    st.tuples(st.just("use"), st.integers(0, 60)),
    st.tuples(st.sampled_from([*STEP_S]), st.just(0)),
    st.tuples(st.sampled_from(["discard", "pending"]), st.integers(0, 5)),
)


@given(st.sampled_from(PRICES), st.lists(acts, min_size=2, max_size=10))
@settings(max_examples=25, deadline=None)
def test_owed_is_the_rating_of_the_final_usage_beyond_what_was_given_up(
    price: Body, found: list[Act]
) -> None:
    story = VoidStory(price)
    for act in found:
        story.act(act)
    story.act(("month", 0))
    story.act(("month", 0))
    assert number.text(story.owed) == number.text(max(0, story.worth - story.given_up))


def test_a_cancelled_fee_that_was_given_up_brings_nothing_back() -> None:
    world = BillWorld(Definitions(app=HOOKS))
    id = world.subscribe(timing="immediate")
    world.until(at("2026-01-03"))
    (made,) = [one for one in world.billed() if ("Base fee", "2026-01-01", "20") in lines_of(one)]
    world.do("invoice.void", voided("discard"), id=made.content.id)
    world.do("subscription.cancel", {"timing": "immediate"}, id=id)
    world.until(at("2026-02-03"))
    assert [line for one in world.invoices() for line in lines_of(one) if "correction" in line[0]] == []


@pytest.mark.parametrize(("usage", "correction"), [("4000", []), ("6000", ["10"]), ("5000", [])])
def test_usage_after_a_line_was_given_up_is_billed_beyond_it(usage: str, correction: list[str]) -> None:
    world, made = tokens_billed()
    world.do("invoice.void", voided("discard"), id=made.content.id)
    for known in ("1000", "7000", usage):
        world.use(at("2026-01-03"), known)
        world.until(world.now_s + 60)
    found = [total for name, _, total in lines_of(world.gathering()) if name == "Tokens: correction"]
    assert found == correction


def test_a_correction_that_waits_goes_with_the_line_that_is_given_up() -> None:
    world, made = tokens_billed()
    world.use(at("2026-01-03"), "4000")
    world.until(world.now_s + 60)
    assert ("Tokens: correction", "2026-01-01", "-10") in lines_of(world.gathering())
    world.do("invoice.void", voided("discard"), id=made.content.id)
    assert "Tokens: correction" not in [name for name, _, _ in lines_of(world.gathering())]
