"""Laws of credits in the billing stage: whatever happens in whatever order, nothing is lost and nothing is below 0.

For each invoice what credits pay and what is due are the total. Of a subscription that is settled by credits only
nothing is due, and what none covers is in the ledger. That sums to 0 and holds for each grant what its document has
left. A low balance fires once when the balance falls to it. No chunk, no repeated record and no restart changes a byte
of what is published, the ledger and the alerts included.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.bills.bill_index import BillIndex
from pipeline.core.bills.bill_rows import CREDIT_ACCOUNT, BillOutput, BillRows
from pipeline.core.bills.usage_rows import customer_key
from pipeline.core.invoices.credited_lines import sold_grant
from pipeline.core.invoices.invoice import InvoiceContent, due_of
from pipeline.core.invoices.line import live_lines
from pipeline.core.ledger.trial_balance import trial_balance
from pipeline.core.notifications.rule import CREDIT
from pipeline.core.values import money, number
from tests.core.bills.bill_world import NAMESPACE, Definitions, Record, at
from tests.core.bills.test_bill_laws import (
    BY_HAND,
    HOOKS,
    METERS,
    START,
    TERMS,
    Act,
    Story,
    acts,
    commands,
    plans,
)
from tests.core.bills.test_customer_credits import CreditWorld
from tests.core.inputs import ENDPOINT
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


def settled(sent: Body, mode: str) -> Body:
    return {**sent, "settlementMode": mode}


any_plans = st.builds(settled, plans, st.sampled_from(["credit_then_invoice", "credit_only"]))
changes = st.builds(lambda sent: lambda story: story.change(sent), any_plans)


LEVELS = (30, 5, 1)


def watched(**named: Any) -> Definitions:
    """A company with a rule for each level of a low balance."""
    made = Definitions(**named)
    channel = made.log.do("endpoint.create", ENDPOINT)["id"]
    for level in LEVELS:
        rule = {
            "type": CREDIT,
            "name": str(level),
            "channels": [channel],
            "currency": "EUR",
            "threshold": level,
        }
        made.log.do("rule.create", rule)
    made.read()
    return made


NO_HOOKS = {"enableDraftSyncHook": False, "enableIssuingSyncHook": False}
TAX: Body = {"taxRates": [{"code": "default", "percent": "19"}], "workflow": {"tax": {"enabled": True}}}
INSIDE: Body = {**TAX, "taxRates": [{"code": "default", "percent": "7.7", "behavior": "inclusive"}]}
TAXED = [watched(app=NO_HOOKS, profile=TAX), watched(app=NO_HOOKS, profile=INSIDE), watched(profile=TAX)]
WATCHED = [
    *TAXED,
    watched(),
    watched(profile=BY_HAND),
    watched(app=HOOKS),
    watched(app={**HOOKS, "enableIssuingSyncHook": False}),
]


class WatchedWorld(CreditWorld):
    """A world that keeps what a customer can use after each record, in minor units."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen = [0]

    def record(self, record: Record) -> BillOutput:
        output = super().record(record)
        row = BillRows(self.table).credit_accounts.get(
            CREDIT_ACCOUNT + customer_key(NAMESPACE, self.customer)
        )
        self.seen.append(0 if row is None else row.balances.get("EUR", 0))
        return output

    def fired(self) -> Counter[str]:
        return Counter(one.rule for one in self.published.alerts.values() if one.type == CREDIT)


def check_fired(world: WatchedWorld) -> None:
    """Each level fires as often as the balance falls to it from above."""
    falls = {
        level: sum(before > level * 100 >= after for before, after in pairwise(world.seen))
        for level in LEVELS
    }
    assert sorted(world.fired().values()) == sorted(count for count in falls.values() if count)


class CreditStory(Story):
    """A story whose world reads credits too."""

    def __init__(self, definitions: Definitions | None = None) -> None:
        super().__init__(definitions)
        self.world: Any = WatchedWorld(self.world.definitions, TERMS)
        self.world.now_s = at(START)

    def _of(self, content: InvoiceContent, waits: bool) -> int:
        """What lines cost before credits pay it, without those that sell credits."""
        return sum(
            self.worth(line)
            if waits and line.corrects is None
            else number.parse(line.totals.total) + number.parse(line.totals.credits_total)
            for line in live_lines(content.lines)
            if sold_grant(line) is None
        )


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
    is_owed = total <= 0 if content.type == "credit_note" else total >= 0
    assert is_owed or not is_issued
    assert total == 0 or not is_issued or content.settlement_mode != "credit_only"


@given(
    st.sampled_from(WATCHED),
    any_plans,
    st.lists(acts | credits | commands | credits | changes, min_size=6, max_size=24),
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
    check_fired(world)
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


@given(st.sampled_from(METERS), any_plans, st.lists(acts | credits | changes, min_size=6, max_size=24))
@settings(max_examples=25, deadline=None)
def test_credits_and_invoices_together_are_the_rating_of_the_final_usage(
    meter: Definitions, first: Body, found: list[Act]
) -> None:
    story = happened(meter, first, found)
    assert number.text(story.billed()) == number.text(story.expected())


def check_books(world: CreditWorld) -> None:
    """The ledger has the taxes of all documents in force, and what is due for those that are not paid."""
    tax = owed = 0
    for one in world.billed():
        content, state = one.content, one.progress.state
        if state.startswith(("draft", "delete")) or state in ("voided", "issuing.line_finalization_failed"):
            continue
        tax += number.parse(content.totals.taxes_total)
        if (
            content.type == "standard"
            and state != "paid"
            and not state.startswith("payment_processing.booking")
        ):
            owed += due_of(content)
    accounts = {name: number.parse(text) for name, text in world.accounts().items()}
    assert accounts.get("tax_payable", 0) == tax
    if not any(one.purchase for one in world.grants()):
        unpaid = accounts.get("customer_receivable", 0) + accounts.get("bad_debt", 0)
        assert -unpaid == money.atto(owed, 2)


@given(
    st.sampled_from(TAXED),
    plans,
    st.lists(acts | credits | commands | changes, min_size=6, max_size=24),
)
@settings(max_examples=40, deadline=None)
def test_the_ledger_has_the_taxes_and_the_debts_of_the_documents(
    company: Definitions, first: Body, found: list[Act]
) -> None:
    story = happened(company, first, found)
    check_books(story.world)
