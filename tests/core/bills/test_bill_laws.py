"""Laws of bills: whatever comes in whatever order, what is billed is the rating of the final usage.

The second way of counting takes every line that the subscriptions of a customer have in the end, and rates the usage
that windows have in the end as if it had been known from the beginning. What invoices bill, with corrections that wait,
has to be the same. No chunk, no repeated record and no restart changes a byte of what is published.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.bills.bill_index import BillIndex
from pipeline.core.bills.terms import BillTerms
from pipeline.core.invoices.invoice import InvoiceContent
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.rated_line import rating_terms
from pipeline.core.invoices.subscription_lines import subscription_lines
from pipeline.core.invoices.workflow import BillingWorkflow
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import tariff_of
from pipeline.core.values import money, number
from tests.core.bills.bill_world import DAY_S, HOUR_S, ONE_PHASE, BillWorld, Definitions, Published, at
from tests.fixtures.catalog_bodies import FEE, TOKENS, Body, without_key

START = "2026-01-10T10:00:30Z"
SPAN_S = 75 * DAY_S
PRICES: list[Body] = [
    {"type": "unit", "amount": "0.013"},
    {"type": "unit", "amount": "0.5", "minimumAmount": "7", "maximumAmount": "30"},
    {"type": "dynamic", "multiplier": "1.2"},
    {"type": "package", "amount": "2", "quantityPerPackage": "30"},
    {
        "type": "tiered",
        "mode": "graduated",
        "tiers": [
            {"upToAmount": "50", "flatPrice": {"type": "flat", "amount": "3"}, "unitPrice": None},
            {"flatPrice": None, "unitPrice": {"type": "unit", "amount": "0.3"}},
        ],
    },
    {
        "type": "tiered",
        "mode": "volume",
        "tiers": [
            {"upToAmount": "40", "flatPrice": None, "unitPrice": {"type": "unit", "amount": "1"}},
            {"flatPrice": None, "unitPrice": {"type": "unit", "amount": "0.5"}},
        ],
    },
]


def plan(price: Body, fee: str) -> Body:
    cards = [{**FEE, "price": {**FEE["price"], "amount": fee}}, {**TOKENS, "price": price}]
    return {
        **without_key(ONE_PHASE),
        "currency": "EUR",
        "phases": [{"key": "main", "name": "Main", "duration": None, "rateCards": cards}],
    }


plans = st.builds(plan, st.sampled_from(PRICES), st.sampled_from(["20", "60", "0.01"]))
Act = Callable[["Story"], None]


class Story:
    """The bills of one customer while things happen. `usage`: the value that each window has in the end."""

    def __init__(self, definitions: Definitions | None = None) -> None:
        self.world = BillWorld(definitions or DEFINITIONS, TERMS)
        self.world.now_s = at(START)
        self.usage: dict[tuple[int, str], int] = {}
        self.members: dict[tuple[int, str], set[str]] = {}
        self.first_s = self.world.now_s

    def use(self, ago_s: int, value: int, subject: str) -> None:
        minute_s = max(self.world.now_s - ago_s, self.first_s - 120) // 60 * 60
        place = (minute_s, subject)
        if self.world.definitions.aggregation == "UNIQUE_COUNT":
            member = f"{value % 40:032x}"
            self.members.setdefault(place, set()).add(member)
            self.world.use(minute_s, str(len(self.members[place])), subject=subject, members=[member])
            return
        self.usage.pop(place, None)
        self.usage[place] = value  # the newest one lies last
        self.world.use(minute_s, str(value), subject=subject)

    def current(self) -> str | None:
        """The subscription that is active and has no end."""
        found = [self.world.subscription(id) for id in self.world.published.subscriptions]
        active = [
            one.id
            for one in found
            if one.active_to_s is None and one.active_from_s <= self.world.now_s and one.deleted_at_s is None
        ]
        return active[0] if active else None

    def change(self, sent: Body) -> None:
        id = self.current()
        if id is None:
            self.world.send("subscription.create", {"customerId": self.world.customer, "customPlan": sent})
        else:
            self.world.send("subscription.change", {"timing": "immediate", "customPlan": sent}, id=id)

    def end(self) -> None:
        if (id := self.current()) is not None:
            self.world.do("subscription.cancel", {"timing": "immediate"}, id=id)

    def quantity(self, start_s: int, end_s: int) -> int:
        """The usage of whole minutes, in atto."""
        start_s, end_s = start_s // 60 * 60, end_s // 60 * 60
        inside = [(place, value) for place, value in self.usage.items() if start_s <= place[0] < end_s]
        match self.world.definitions.aggregation:
            case "SUM":
                return sum(value for _, value in inside) * number.SCALE
            case "LATEST":
                newest = max((place[0] for place, _ in inside), default=None)
                return (
                    next((value for place, value in reversed(inside) if place[0] == newest), 0) * number.SCALE
                )
            case _:
                found = [own for place, own in self.members.items() if start_s <= place[0] < end_s]
                return len(set[str]().union(*found)) * number.SCALE

    def worth(self, line: InvoiceLine) -> int:
        """What a line costs by the final usage, in atto; the last part of one that was cut: what it adds."""
        if line.split is None:
            return self._up_to(line, line.period.start_s, line.period.end_s, minimum=True)
        start_s, cut_s = line.split.period.start_s, line.period.start_s
        return self._up_to(line, start_s, line.period.end_s, True) - self._up_to(line, start_s, cut_s, False)

    def _up_to(self, line: InvoiceLine, start_s: int, end_s: int, minimum: bool) -> int:
        terms = rating_terms(line)
        if terms is None:
            return 0
        usage = self.quantity(start_s, end_s) if line.is_metered else 0
        return money.atto(rate(tariff_of(terms), LinePart(usage, minimum=minimum)).total, 2)

    def expected(self) -> int:
        """What all lines that the subscriptions have in the end cost, in atto."""
        return sum(
            self.worth(line)
            for id in self.world.published.subscriptions
            for line in subscription_lines(
                self.world.subscription(id), BillingWorkflow(), self.world.now_s * 1000
            )
        )

    def billed(self) -> int:
        """What is on invoices, and what waits for the next one, in atto."""
        return sum(self._of(one.content, one.progress.state == "gathering") for one in self.world.invoices())

    def _of(self, content: InvoiceContent, waits: bool) -> int:
        return sum(
            self.worth(line) if waits and line.corrects is None else billed_of(line)
            for line in live_lines(content.lines)
        )

    def finish(self) -> None:
        """The customer leaves, and all that is due is invoiced."""
        self.end()
        self.world.until(self.world.now_s + 3 * DAY_S)


def billed_of(line: InvoiceLine) -> int:
    """What a line costs, also what credits of a credit note pay of it, in atto."""
    return number.parse(line.totals.total) + number.parse(line.totals.credits_total)


DEFINITIONS = Definitions()
METERS = [
    DEFINITIONS,
    DEFINITIONS,
    Definitions(aggregation="UNIQUE_COUNT"),
    Definitions(aggregation="LATEST"),
]
TERMS = BillTerms(replayed_ms=10 * 365 * DAY_S * 1000)

passing = st.sampled_from([0, 30, HOUR_S, DAY_S, 10 * DAY_S, 35 * DAY_S, 35 * DAY_S])
used = st.builds(
    lambda ago, value, subject: lambda story: story.use(ago, value, subject),
    st.sampled_from([0, 60, HOUR_S, DAY_S]) | st.integers(0, SPAN_S),
    st.integers(-20, 60),
    st.sampled_from("ab"),
)
passed = st.builds(
    lambda by_s, settles: lambda story: story.world.until(story.world.now_s + by_s, settles),
    passing,
    st.booleans(),
)
changed = st.builds(lambda sent: lambda story: story.change(sent), plans)
asked: st.SearchStrategy[Act] = st.sampled_from(
    [
        lambda story: story.end(),
        lambda story: story.world.send("invoice.now", {"customerId": story.world.customer}),
        lambda story: story.world.settle(),
    ]
)
acts: st.SearchStrategy[Act] = used | passed | used | passed | changed | asked


def happened(first: Body, found: list[Act], definitions: Definitions | None = None) -> Story:
    story = Story(definitions)
    story.change(first)
    for act in found:
        act(story)
    return story


@given(st.sampled_from(METERS), plans, st.lists(acts, min_size=6, max_size=24))
@settings(max_examples=40, deadline=None)
def test_what_is_billed_is_the_rating_of_the_final_usage(
    meter: Definitions, first: Body, found: list[Act]
) -> None:
    story = happened(first, found, meter)
    story.finish()
    assert number.text(story.billed()) == number.text(story.expected())
    for one in story.world.billed():
        assert one.progress.state in ("paid", "deleted")
        assert (number.parse(one.content.totals.total) < 0) == (one.content.type == "credit_note")
    for series in ("INV", "CN"):
        found = [one.progress.number or "" for one in story.world.billed()]
        numbers = sorted(int(one.rpartition("-")[2]) for one in found if one.startswith(f"{series}-"))
        assert numbers == list(range(1, len(numbers) + 1))
    gathering = [one for one in story.world.invoices() if one.progress.state == "gathering"]
    assert not any(line.corrects for one in gathering for line in live_lines(one.content.lines))


BY_HAND = {"workflow": {"invoicing": {"autoAdvance": False}}}
HOOKS = {"enableDraftSyncHook": True, "enableIssuingSyncHook": True}
COMPANIES = [
    DEFINITIONS,
    Definitions(profile=BY_HAND),
    Definitions(app=HOOKS),
    Definitions(app={**HOOKS, "enableIssuingSyncHook": False}),
]
BODIES: dict[str, list[Body]] = {
    "invoice.void": [
        {"reason": "r", "action": {"percentage": 100, "action": {"type": then}}} for then in ("discard", "pending")
    ],
    "invoice.update": [{"lines": []}, {"description": "d"}],
    "invoice.payment-status": [{"trigger": one} for one in ("paid", "payment_failed", "void", "payment_overdue")],
    "invoice.pending-lines": [
        {"currency": "EUR", "lines": [{
            "name": "Extra", "period": {"from": START, "to": "2026-03-01T00:00:00Z"}, "invoiceAt": START,
            "rateCard": {"price": price, "featureKey": "tokens"},
        }]} for price in PRICES
    ],
    "invoice.issuing-synchronized": [{}, {"invoicing": {"invoiceNumber": "OWN"}}],
}  # fmt: skip
KINDS = [
    "delete", "advance", "approve", "approve", "retry", "snapshot", "void", "update", "recalculate-tax",
    "pending-lines", "draft-synchronized", "draft-synchronized", "issuing-synchronized", "issuing-synchronized",
    "payment-status",
]  # fmt: skip


def command(kind: str, place: int, body: int) -> Act:
    """A command about some invoice, which may be refused."""

    def send(story: Story) -> None:
        ids = sorted(story.world.published.invoices)
        bodies = BODIES.get(f"invoice.{kind}", [{}])
        named = {"id": ids[place % len(ids)]} if ids else {}
        story.world.send(f"invoice.{kind}", bodies[body % len(bodies)], **named)
        story.world.answer_numbers()

    return send


commands = st.builds(command, st.sampled_from(KINDS), st.integers(0, 9), st.integers(0, 9))


@given(st.sampled_from(COMPANIES), plans, st.lists(acts | commands, min_size=6, max_size=20), st.integers())
@settings(max_examples=40, deadline=None)
def test_chunks_repeated_records_and_restarts_change_no_byte(
    company: Definitions, first: Body, found: list[Act], seed: int
) -> None:
    story = happened(first, found, company)
    story.finish()
    for one in story.world.billed():
        assert number.parse(one.content.totals.total) >= 0 or one.content.type == "credit_note"
    random, other = Random(seed), BillWorld(company, TERMS)
    place = 0
    while place < len(story.world.log):
        start = max(0, place - random.choice([0, 0, 1, 3, 40]))
        end = min(len(story.world.log), place + random.randint(1, 6))
        if random.random() < 0.3:
            other.index = BillIndex()
            other.index.load(other.table)
        other.play(story.world.log[start:end])
        place = end
    assert other.published.bytes() == story.world.published.bytes()
    assert {id for id, one in other.published.numbers.items()} == set(story.world.published.numbers)


def test_a_fresh_reader_of_a_replay_gets_the_same_documents() -> None:
    """What is published again from state is enough: a torn transaction may have lost the first time."""
    story = Story()
    story.change(plan(PRICES[0], "20"))
    story.use(0, 10, "a")
    story.world.until(story.world.now_s + 40 * DAY_S)
    lost = Published()
    for one in story.world.log:
        lost.read(story.world.play([one]))
    assert lost.bytes() == story.world.published.bytes()
