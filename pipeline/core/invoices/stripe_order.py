"""An invoice of ours as an order for Stripe: its items, each with the amount that we billed.

Owns: which items an invoice has at Stripe, their sum, what Stripe cannot be asked for. Does not own: the calls
(billing.stripe_request), their order (billing.stripe_invoice), amounts (billing.stripe_amount).

Our amounts win: an item has the rounded amount of a detailed line, with quantity and price in its text, so that Stripe
computes nothing. Discounts and credits follow as items below 0; our taxes go along as amounts. An invoice of Stripe has
at most 250 items: one with more details has an item for each line, and one with more lines has the rest in one item, so
that the total is the same and one call adds all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

from pipeline.core.billing.stripe_amount import stripe_amount
from pipeline.core.billing.stripe_request import address_of
from pipeline.core.invoices.invoice import InvoiceContent
from pipeline.core.invoices.line import InvoiceDetailedLine, InvoiceLine, live_lines
from pipeline.core.invoices.progress import InvoiceProgress
from pipeline.core.invoices.taxed_lines import taxed_net
from pipeline.core.values import money, number
from pipeline.core.values.currency import digits_of
from pipeline.errors import Broken, Rejected
from pipeline.records import StripeAction, StripeItem, StripeItemKind, StripeItemTax, StripeOrder

MOST_ITEMS: Final = 250
MOST_TEXT: Final = 500
DAY_S: Final = 86_400
COMPONENT: Final = "stripe"  # of the issues that name what Stripe refused
BELOW_ZERO: Final = "stripe_total_below_zero"
CREDIT_NOTE: Final = "stripe_credit_note_not_available"


def is_refused(content: InvoiceContent) -> bool:
    """Whether an issue of the invoice says that Stripe refused something of it."""
    return any(one.component == COMPONENT for one in content.validation_issues)


def check_order(content: InvoiceContent) -> None:
    """Whether Stripe could be asked for an invoice with this content.

    Raises:
        Rejected: `stripe_amount_not_possible`, `stripe_total_below_zero`, `stripe_credit_note_not_available`.
    """
    if content.type != "standard":
        raise Rejected(CREDIT_NOTE, "Credit notes are not sent to Stripe.")
    if stripe_amount(content.totals.total, content.currency) < 0:
        raise Rejected(BELOW_ZERO, "An invoice below zero is not sent to Stripe.")
    items_of(content)


def order_of(
    content: InvoiceContent, progress: InvoiceProgress, action: StripeAction, email: str, now_s: int
) -> StripeOrder:
    """What Stripe is to do.

    Args:
        content: of the invoice, which no longer changes.
        progress: of the invoice.
        action: see StripeOrder.
        email: of the customer; empty: none.
        now_s: the time of the record.

    Raises:
        Rejected: as `check_order`.
    """
    known = content.external_ids
    order = StripeOrder(
        action,
        content.workflow.apps.invoicing,
        progress.sequence,
        stripe_id="" if known is None else known.invoicing or "",
    )
    if action != "issue":
        return order
    check_order(content)
    method = content.workflow.workflow.payment.collection_method
    due_s = progress.due_at_s
    order.number = progress.number or ""
    order.currency = content.currency
    order.total = stripe_amount(content.totals.total, content.currency)
    order.sends = method == "send_invoice"
    order.due_days = 0 if due_s is None else max(0, -((now_s - due_s) // DAY_S))
    order.description = (content.description or "")[:MOST_TEXT]
    order.name, order.email = content.customer.name, email
    order.address = address_of(next(iter(content.customer.addresses), None))
    order.items = items_of(content)
    return order


def items_of(content: InvoiceContent) -> list[StripeItem]:
    """The items of an invoice, at most 250, whose amounts and exclusive taxes sum to its total.

    Raises:
        Rejected: `stripe_amount_not_possible`.
        Broken: they do not.
    """
    by_line = [_of_line(line, content.currency) for line in live_lines(content.lines)]
    items = list(chain.from_iterable(by_line))
    if len(items) > MOST_ITEMS:
        items = [_together(found, found[0].description) for found in by_line if found]
    if len(items) > MOST_ITEMS:
        rest = items[MOST_ITEMS - 1 :]
        items = [*items[: MOST_ITEMS - 1], _together(rest, f"{len(rest)} further lines")]
    if total_of(items) != stripe_amount(content.totals.total, content.currency):
        raise Broken(f"The items of the invoice {content.id} do not sum to its total.")
    return items


def total_of(items: Sequence[StripeItem]) -> int:
    """What items come to with their exclusive taxes, in Stripe's smallest unit."""
    taxes = (tax.amount for item in items for tax in item.taxes if not tax.inclusive)
    return sum(item.amount for item in items) + sum(taxes)


def _of_line(line: InvoiceLine, currency: str) -> list[StripeItem]:
    return [item for detail in line.children for item in _of_detail(line, detail, currency)]


def _of_detail(line: InvoiceLine, detail: InvoiceDetailedLine, currency: str) -> list[StripeItem]:
    totals = detail.totals
    gross = number.exact(totals.amount) + number.exact(totals.charges_total)
    taxed = money.text(taxed_net(detail, digits_of(currency)), digits_of(currency))
    inclusive = number.exact(totals.taxes_inclusive_total) != 0
    taxes = [
        StripeItemTax(
            "Tax",
            str(tax.percent),
            inclusive,
            stripe_amount(totals.taxes_total, currency),
            stripe_amount(taxed, currency),
        )
        for tax in line.taxes
    ]
    text = detail.name
    if detail.quantity != "1":
        text = f"{detail.name} ({detail.quantity} x {detail.per_unit_amount} {currency})"

    def item(kind: StripeItemKind, plain: str, text: str, taxes: list[StripeItemTax]) -> StripeItem:
        amount, period = stripe_amount(plain, currency), detail.period
        return StripeItem(kind, line.id, amount, text[:MOST_TEXT], period.start_s, period.end_s, taxes)

    found = [item("line", number.text(gross), text, taxes)]
    if number.exact(totals.discounts_total):
        discounts = number.text(-number.exact(totals.discounts_total))
        found.append(item("discount", discounts, f"{detail.name}: discount", []))
    if number.exact(totals.credits_total):
        credits = number.text(-number.exact(totals.credits_total))
        found.append(item("credit", credits, f"{detail.name}: credits", []))
    return found


def _together(items: Sequence[StripeItem], text: str) -> StripeItem:
    """Several items as one."""
    taxes: dict[tuple[str, str, bool], tuple[int, int]] = {}
    for tax in chain.from_iterable(item.taxes for item in items):
        kind = (tax.name, tax.percent, tax.inclusive)
        amount, taxable = taxes.get(kind, (0, 0))
        taxes[kind] = (amount + tax.amount, taxable + tax.taxable)
    return StripeItem(
        "line",
        items[0].line,
        sum(item.amount for item in items),
        text,
        min(item.start_s for item in items),
        max(item.end_s for item in items),
        [StripeItemTax(*kind, *amounts) for kind, amounts in taxes.items()],
    )
