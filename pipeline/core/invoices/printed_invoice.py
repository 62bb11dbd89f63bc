"""An invoice as a person reads it, for a page: every text of it, in order.

Owns: the facts, parties, lines and totals of the page, and their words. Does not own: its form (api.invoices.page),
the rows of a line (printed_line), numbers and dates as text (print_text).

Dates are those of the zone of the profile that the invoice was created with, amounts are in its currency.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pipeline.core.credits.settlement import CREDIT_ONLY
from pipeline.core.customers.customer import BillingAddress
from pipeline.core.invoices import print_text
from pipeline.core.invoices.invoice import InvoiceContent, ValidationIssue
from pipeline.core.invoices.line import InvoiceLine, LineTax, live_lines
from pipeline.core.invoices.printed_line import PrintedLine, net_total, paid_after_tax, printed_line
from pipeline.core.invoices.profile import PartyTaxId
from pipeline.core.invoices.progress import InvoiceProgress
from pipeline.core.invoices.state_table import InvoiceState
from pipeline.core.invoices.status_details import status_of
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.values import number, timestamp

# What a short status means for who reads the invoice; one that is still open has no words of its own.
_STATUSES: Final[Mapping[str, str]] = {
    "gathering": "Not invoiced yet",
    "draft": "Draft",
    "issuing": "Draft",
    "delete": "Deleted",
    "deleted": "Deleted",
    "paid": "Paid",
    "overdue": "Overdue",
    "uncollectible": "Unpaid",
    "voided": "Void",
}
VOID_REASON: Final = "voidReason"  # the member of `metadata` that holds it
_OPEN: Final = "Open"
_STAMPED: Final = frozenset({"Not invoiced yet", "Draft", "Deleted", "Void"})
_UTC: Final = frozenset({"Z", "UTC"})


class PrintedParty(NamedTuple):
    """Who sends or gets an invoice. rows: address, tax id."""

    name: str
    rows: tuple[str, ...]


class PrintedFact(NamedTuple):
    """A label and its value, above the lines."""

    label: str
    value: str


class PrintedTotal(NamedTuple):
    """A row below the lines. is_total: what has to be paid."""

    label: str
    amount: str
    is_total: bool = False


class PrintedInvoice(NamedTuple):
    """The whole page.

    Attributes:
        stamp: laid over every sheet of what is no bill to be paid; empty for the others.
        issues: what keeps a draft from being issued, or is worth knowing.
        footnotes: below the totals.
    """

    title: str
    number: str
    status: str
    stamp: str
    currency: str
    supplier: PrintedParty
    customer: PrintedParty
    facts: tuple[PrintedFact, ...]
    issues: tuple[str, ...]
    lines: tuple[PrintedLine, ...]
    totals: tuple[PrintedTotal, ...]
    footnotes: tuple[str, ...]


def printed_invoice(
    stored: StoredInvoice, numbers: Mapping[str, str], root: str | None = None
) -> PrintedInvoice:
    """The texts of a page.

    Args:
        stored: any invoice, a gathering one or a draft too.
        numbers: id of an invoice -> its number, for the invoices that lines of this one correct.
        root: of its proof, hexadecimal; None: none was made.
    """
    content, progress = stored.content, stored.progress
    zone = progress.terms.zone
    live = live_lines(content.lines)
    status = _STATUSES.get(status_of(progress), _OPEN)
    return PrintedInvoice(
        title=_title(content, progress.state),
        number=content.number if progress.number is None else progress.number,
        status=status,
        stamp=status if status in _STAMPED else "",
        currency=content.currency,
        supplier=_party(content.supplier.name, content.supplier.tax_id, content.supplier.addresses),
        customer=_party(content.customer.name, content.customer.tax_id, content.customer.addresses),
        facts=tuple(_facts(content, progress, zone)),
        issues=tuple(_issue(one) for one in content.validation_issues if progress.issued_at_s is None),
        lines=tuple(printed_line(line, zone, numbers) for line in live),
        totals=tuple(_totals(content, live)),
        footnotes=tuple(_footnotes(content, progress, zone, root)),
    )


def corrected_invoices(content: InvoiceContent) -> list[str]:
    """The ids of the invoices that lines of this one correct."""
    found = [line.corrects.invoice_id for line in content.lines if line.corrects is not None]
    return list(dict.fromkeys(found))


def _title(content: InvoiceContent, state: InvoiceState) -> str:
    if state == "gathering":
        return "Pending charges"
    if content.settlement_mode == CREDIT_ONLY:
        return "Statement of credits"
    return "Credit note" if content.type == "credit_note" else "Invoice"


def _party(
    name: str | None, tax_id: PartyTaxId | None, addresses: tuple[BillingAddress, ...]
) -> PrintedParty:
    rows = [row for address in addresses[:1] for row in _address(address)]
    if tax_id is not None:
        rows.append(f"Tax ID {tax_id.code}")
    return PrintedParty(name or "", tuple(rows))


def _address(address: BillingAddress) -> Iterator[str]:
    city = " ".join(part for part in (address.postal_code, address.city) if part)
    rows = (address.line1, address.line2, city, address.state, address.country, address.phone_number)
    yield from (row for row in rows if row)


def _facts(content: InvoiceContent, progress: InvoiceProgress, zone: str) -> Iterator[PrintedFact]:
    is_due = progress.issued_at_s is not None and content.voided_at is None and content.type == "standard"
    is_due = is_due and content.settlement_mode != CREDIT_ONLY
    dates = (("Issued", progress.issued_at_s), ("Due", progress.due_at_s if is_due else None))
    for label, at_s in dates:
        if at_s is not None:
            yield PrintedFact(label, print_text.day(timestamp.text_of(at_s * 1000), zone))
    if content.voided_at is not None:
        yield PrintedFact("Voided", print_text.day(content.voided_at, zone))
        reason = (content.metadata or {}).get(VOID_REASON)
        if reason:
            yield PrintedFact("Reason", reason)
    if content.period is not None:
        yield PrintedFact("Period", print_text.period(content.period, zone))
    yield PrintedFact("Currency", content.currency)
    for before in content.preceding:
        yield PrintedFact("Refers to", before.number or before.url)
        if before.reason:
            yield PrintedFact("Reason", before.reason)


def _issue(issue: ValidationIssue) -> str:
    return issue.message


def _totals(content: InvoiceContent, live: list[InvoiceLine]) -> Iterator[PrintedTotal]:
    totals, currency = content.totals, content.currency

    def money(atto: int) -> str:
        return print_text.money(number.text(atto), currency)

    charged = number.exact(totals.amount) + number.exact(totals.charges_total)
    later = sum(map(paid_after_tax, live))
    discounts, credits = number.exact(totals.discounts_total), number.exact(totals.credits_total) - later
    exclusive = number.exact(totals.taxes_exclusive_total)
    if discounts or credits or (later and not exclusive):
        yield PrintedTotal("Sum", money(charged))
    if discounts:
        yield PrintedTotal("Discounts", money(-discounts))
    if credits:
        yield PrintedTotal("Paid by credits", money(-credits))
    taxed = _taxed(live)
    if exclusive:
        yield PrintedTotal("Net total", money(number.exact(totals.total) - exclusive + later))
    for tax, (net, amount) in taxed.items():
        if tax is None or tax.behavior == "exclusive":
            yield PrintedTotal(_tax_of(tax, print_text.amount(number.text(net), currency)), money(amount))
    if later:
        yield PrintedTotal("Paid by credit notes", money(-later))
    yield PrintedTotal("Total", money(number.exact(totals.total)), is_total=True)
    if content.amount_due is not None:
        due = number.exact(content.amount_due)
        yield PrintedTotal("Taken off by credit notes", money(due - number.exact(totals.total)))
        yield PrintedTotal("Amount due", money(due), is_total=True)
    for tax, (_, amount) in taxed.items():
        if tax is not None and tax.behavior == "inclusive":
            yield PrintedTotal(f"of which {print_text.percent(f'{tax.percent:f}')} tax", money(amount))


def _tax_of(tax: LineTax | None, net: str) -> str:
    return "Tax" if tax is None else f"{print_text.percent(f'{tax.percent:f}')} tax on {net}"


def _taxed(live: list[InvoiceLine]) -> dict[LineTax | None, tuple[int, int]]:
    """By tax, what is taxed and the tax, in atto. None: an app computed it without naming a rate."""
    found: dict[LineTax | None, tuple[int, int]] = {}
    for line in live:
        tax, amount = next(iter(line.taxes), None), number.exact(line.totals.taxes_total)
        if tax is None and not amount:
            continue
        net, sum_of = found.get(tax, (0, 0))
        found[tax] = net + number.exact(net_total(line)), sum_of + amount
    return found


def _footnotes(
    content: InvoiceContent, progress: InvoiceProgress, zone: str, root: str | None
) -> Iterator[str]:
    if content.description:
        yield content.description
    if status_of(progress) in ("issued", "payment_processing", "overdue"):
        yield _payment(content, progress, zone)
    yield f"Dates are in {'UTC' if zone in _UTC else zone}."
    if root is not None:
        yield f"Proof: {root}"


def _payment(content: InvoiceContent, progress: InvoiceProgress, zone: str) -> str:
    if content.workflow.workflow.payment.collection_method == "charge_automatically":
        return "The amount is collected automatically."
    due_at_s = progress.due_at_s
    if due_at_s is None:
        return "Payment is due on receipt."
    return f"Please pay by {print_text.day(timestamp.text_of(due_at_s * 1000), zone)}."
