"""Customers from a pending line to a paid invoice, by records alone: a writer that is killed at any record, and gets
each answer twice, writes the same bytes as one that is not."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.invoices import machine, payment, sandbox
from pipeline.core.invoices.gathering import collect, next_collection_s
from pipeline.core.invoices.invoice import InvoiceContent, answer_of, shown, with_lines
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.numbering import (
    Numbering,
    NumberRequest,
    NumberRow,
    draft_number,
    give,
    series_of,
    stem_of,
)
from pipeline.core.invoices.payment_fact import PaymentFact
from pipeline.core.invoices.pending_line import PendingContext, read_pending_lines
from pipeline.core.invoices.progress import EffectAnswer, InvoiceIntent, InvoiceProgress, Step
from pipeline.core.invoices.rated_line import rating_part, rating_terms, with_rating
from pipeline.core.invoices.workflow import BillingWorkflow, SubscriptionAlignment, terms_of
from pipeline.core.rating.rate import rate
from pipeline.core.rating.tariff import tariff_of
from pipeline.core.values.number import SCALE
from tests.core.invoices.invoices import HOUR_S, START_S, content, customer, text
from tests.fixtures.examples import examples

LINE = {
    "name": "Tokens",
    "period": {"from": text(START_S), "to": text(START_S + 10 * HOUR_S)},
    "invoiceAt": text(START_S + 10 * HOUR_S),
    "rateCard": {"price": {"type": "unit", "amount": "0.015"}, "featureKey": "tokens"},
}
USAGE_ATTO = 333 * SCALE


class Rows(msgspec.Struct):
    """What the writer of one customer keeps."""

    gathering: tuple[InvoiceLine, ...] = ()
    invoice: InvoiceProgress | None = None
    bill: InvoiceContent | None = None
    number: str = ""


class Writer:
    """One customer; `asked` are the intents for others, which answer by records."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = Rows()
        self.asked: list[InvoiceIntent] = []

    def restart(self) -> None:
        self.rows = msgspec.json.decode(msgspec.json.encode(self.rows), type=Rows)

    def line(self, at_s: int) -> None:
        context = PendingContext(customer(), "USD", {"tokens": True}, f"{self.name}/{at_s}", at_s * 1000)
        self.rows.gathering += tuple(read_pending_lines([LINE], context))

    def clock(self, at_s: int) -> None:
        rows = self.rows
        due_s = next_collection_s(rows.gathering, SubscriptionAlignment(), "UTC")
        if due_s is not None and due_s <= at_s:
            taken, rows.gathering = collect(rows.gathering, SubscriptionAlignment(), "UTC", at_s)
            rows.bill = with_lines(content(id=self.name, number=draft_number(self.name, "Acme")), taken)
            terms = terms_of(
                BillingWorkflow(), at_s, [one.invoice_at_s for one in taken if one.is_metered], "UTC"
            )
            self.take(machine.begin(self.name, terms, at_s), at_s)
        if rows.invoice is not None:
            self.take(machine.advance(rows.invoice, at_s), at_s)

    def answer(self, answered: EffectAnswer, at_s: int) -> None:
        if self.rows.invoice is not None:
            self.take(machine.answer(self.rows.invoice, answered, at_s), at_s)

    def paid(self, fact: PaymentFact, at_s: int) -> None:
        if self.rows.invoice is not None:
            self.take(payment.report(self.rows.invoice, fact, at_s).step, at_s)

    def take(self, step: Step, at_s: int) -> None:
        step = machine.perform(step, self.local, at_s)
        self.rows.invoice = step.invoice
        self.asked += step.intents

    def local(self, step: Step, intent: InvoiceIntent) -> EffectAnswer:
        if intent.effect == "rate" and self.rows.bill is not None:
            self.rows.bill = with_lines(self.rows.bill, tuple(map(rated, self.rows.bill.lines)))
        return EffectAnswer(sequence=intent.sequence, effect=intent.effect, terms=step.invoice.terms)


def rated(line: InvoiceLine) -> InvoiceLine:
    terms = rating_terms(line)
    assert terms is not None
    part = rating_part(line, USAGE_ATTO, 0, 0)
    return with_rating(line, part, rate(tariff_of(terms), part))


def run(customers: int, kills: Sequence[int], repeats: Sequence[int]) -> tuple[list[bytes], list[str]]:
    """A month: lines, hourly clocks, answers as they are asked for. kills, repeats: of records, by their number."""
    writers = [Writer(f"01C{place}") for place in range(customers)]
    lasts, numbers = dict[str, int](), dict[str, NumberRow]()
    log = 0

    def apply(writer: Writer, record: object, at_s: int) -> None:
        nonlocal log
        for _ in range(2 if log in repeats else 1):
            if isinstance(record, EffectAnswer):
                writer.answer(record, at_s)
            elif isinstance(record, PaymentFact):
                writer.paid(record, at_s)
            else:
                writer.clock(at_s)
        if log in kills:
            writer.restart()
        log += 1

    for writer in writers:
        writer.line(START_S)
    for hour in range(14):
        at_s = START_S + hour * HOUR_S
        for writer in writers:
            apply(writer, None, at_s)
            while writer.asked:
                intent = writer.asked.pop(0)
                apply(writer, answer_to(intent, lasts, numbers), at_s)
    seen = [
        msgspec.json.encode(shown(answer_of(writer.rows.bill, writer.rows.invoice, START_S)))
        for writer in writers
        if writer.rows.bill is not None and writer.rows.invoice is not None
    ]
    return seen, sorted((row.number for row in numbers.values()), key=lambda one: int(one.rpartition("-")[2]))


def answer_to(
    intent: InvoiceIntent, lasts: dict[str, int], numbers: dict[str, NumberRow]
) -> EffectAnswer | PaymentFact:
    if intent.effect == "request_number":
        series = series_of("default", "standard", Numbering(), "c", "p")
        stem = stem_of("standard", Numbering(), "Acme", "c")
        request = NumberRequest(series=series, invoice_id=intent.invoice_id, stem=stem)
        number = give(lasts, numbers, request).number
        return EffectAnswer(sequence=intent.sequence, effect=intent.effect, number=number)
    if intent.effect == "collect":
        return EffectAnswer(sequence=intent.sequence, effect="collect")
    return (
        sandbox.payment_of(intent, None)
        or sandbox.answer_of(intent)
        or EffectAnswer(sequence=0, effect="book")
    )


STRAIGHT, NUMBERS = run(3, [], [])


def test_a_month_ends_paid() -> None:
    assert len(STRAIGHT) == 3
    invoices = [msgspec.json.decode(one) for one in STRAIGHT]
    assert {one["status"] for one in invoices} == {"paid"}
    assert {one["totals"]["total"] for one in invoices} == {"5"}  # 333 x 0.015 = 4.995
    assert [one["number"] for one in invoices] == NUMBERS == ["INV-ACME-1", "INV-ACME-2", "INV-ACME-3"]
    assert {one["issuedAt"] for one in invoices} == {
        text(START_S + 11 * HOUR_S)
    }  # an hour after the last usage


@settings(max_examples=examples(33))
@given(kills=st.sets(st.integers(0, 80), max_size=12), repeats=st.sets(st.integers(0, 80), max_size=12))
def test_kills_and_repeats_write_the_same_bytes(kills: set[int], repeats: set[int]) -> None:
    assert run(3, sorted(kills), sorted(repeats)) == (STRAIGHT, NUMBERS)
