"""Laws of credits in the billing stage: whatever happens in whatever order, nothing is lost and nothing is below 0.

For each invoice what credits pay and what is due are the total. The ledger sums to 0 and holds for each grant what its
document has left. No chunk, no repeated record and no restart changes a byte of what is published, the ledger included.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.bills.bill_index import BillIndex
from pipeline.core.invoices.invoice import InvoiceContent
from pipeline.core.ledger.trial_balance import trial_balance
from pipeline.core.values import number
from tests.core.bills.bill_world import Definitions, at
from tests.core.bills.test_bill_laws import COMPANIES, START, TERMS, Act, Story, acts, commands, plans
from tests.core.bills.test_customer_credits import CreditWorld
from tests.fixtures.catalog_bodies import Body

SENT: list[tuple[str, Body]] = [
    ("grant", {"amount": "25"}),
    (
        "grant",
        {"amount": "7.77", "filters": {"features": ["tokens"]}, "priority": 2, "expires_after": "P20D"},
    ),
    ("grant", {"amount": "40", "funding_method": "invoice", "purchase": {"per_unit_cost_basis": "0.333"}}),
    (
        "grant",
        {"amount": "9", "funding_method": "invoice", "purchase": {"availability_policy": "on_settlement"}},
    ),
    ("grant", {"amount": "60", "funding_method": "external", "expires_after": "P40D"}),
    ("adjust", {"amount": "3"}),
    ("adjust", {"amount": "-5"}),
    ("rule", {"threshold": "5", "amount": "20", "expires_after": "P30D"}),
    ("rule", {"threshold": "1", "amount": "4", "target": "15", "availability_policy": "on_settlement"}),
]


def credit(place: int) -> Act:
    """A command about credits."""
    kind, sent = SENT[place % len(SENT)]
    name = {} if kind == "rule" else {"name": "Pack"}

    def send(story: Story) -> None:
        story.world.send(f"credit.{kind}", {"currency": "EUR", **name, **sent})

    return send


def end_credit(kind: str, place: int) -> Act:
    """A command about a grant, which may be refused."""

    def send(story: Story) -> None:
        ids = sorted(story.world.published.credits)
        named = {"id": ids[place % len(ids)]} if ids else {"id": "none"}
        story.world.send(f"credit.{kind}", {"status": "settled"} if kind == "settle" else {}, **named)

    return send


credits = st.builds(credit, st.integers(0, 8)) | st.builds(
    end_credit, st.sampled_from(["void", "settle"]), st.integers(0, 5)
)


class CreditStory(Story):
    """A story whose world reads credits too."""

    def __init__(self, definitions: Definitions | None = None) -> None:
        super().__init__(definitions)
        self.world: Any = CreditWorld(self.world.definitions, TERMS)
        self.world.now_s = at(START)


def happened(company: Definitions, first: Body, found: list[Act]) -> CreditStory:
    story = CreditStory(company)
    story.change(first)
    for act in found:
        act(story)
        story.world.check()
    story.finish()
    return story


def check_totals(content: InvoiceContent, is_issued: bool) -> None:
    """A draft shows a correction before the credits that it gives back, which it does when it is issued."""
    totals = content.totals
    paid, total = number.parse(totals.credits_total), number.parse(totals.total)
    owed = (
        number.parse(totals.amount)
        + number.parse(totals.charges_total)
        + number.parse(totals.taxes_exclusive_total)
        - number.parse(totals.discounts_total)
    )
    assert paid + total == owed
    assert total >= 0 or not is_issued


@given(
    st.sampled_from(COMPANIES),
    plans,
    st.lists(acts | credits | commands | credits, min_size=6, max_size=24),
    st.integers(),
)
@settings(max_examples=40, deadline=None)
def test_nothing_is_lost_and_a_replay_changes_no_byte(
    company: Definitions, first: Body, found: list[Act], seed: int
) -> None:
    story = happened(company, first, found)
    world = story.world
    for one in world.billed():
        check_totals(one.content, not one.progress.state.startswith(("draft", "delete")))
    world.check()
    random, other = Random(seed), CreditWorld(company, TERMS)
    place = 0
    while place < len(world.log):
        start = max(0, place - random.choice([0, 0, 1, 3, 40]))
        end = min(len(world.log), place + random.randint(1, 6))
        if random.random() < 0.3:
            other.index = BillIndex()
            other.index.load(other.table)
        other.play(world.log[start:end])
        place = end
    assert other.published.bytes() == world.published.bytes()
    assert trial_balance(other.published.ledger.values()) == trial_balance(world.published.ledger.values())
