"""Credits that an invoice sells: the line of a grant, its payment, what happens when the line is taken back.

Owns: these. Does not own: grants (credits), the way of the invoice (flow), top-ups (credit_step).
"""

from __future__ import annotations

import msgspec

from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.gathering_invoice import gathering_of
from pipeline.core.bills.placing import new_group, put_lines
from pipeline.core.catalog.price import FlatPrice
from pipeline.core.catalog.tax_config import TaxConfig
from pipeline.core.credits import grant_postings
from pipeline.core.credits.credit_grant import CreditGrant, PaymentOfGrant
from pipeline.core.credits.grant_postings import GrantChange
from pipeline.core.invoices.credited_lines import SOLD, sold_grant
from pipeline.core.invoices.invoice import InvoiceContent
from pipeline.core.invoices.line import InvoiceLine, LinePeriod, LineRateCard, line_id, live_lines
from pipeline.core.invoices.totals import InvoiceTotals
from pipeline.core.values import money, timestamp
from pipeline.core.values.currency import digits_of

_STEPS: tuple[PaymentOfGrant, ...] = ("pending", "authorized", "settled")


def add_grant(bills: CustomerBills, grant: CreditGrant, tax_config: TaxConfig | None = None) -> CreditGrant:
    """A new grant; one that an invoice sells gets a line on the gathering invoice, to be invoiced at once.

    Raises:
        Rejected: there is no profile.
    """
    if grant.purchase is not None and grant.funding == "invoice":
        line = _sold(bills, grant, grant.purchase.price, tax_config)
        id = gathering_of(bills, grant.currency)
        put_lines(bills, id, [*bills.invoice(id).content.lines, line])
        new_group(bills, line, None, id)
        purchase = msgspec.structs.replace(grant.purchase, invoice_line=line.id)
        grant = msgspec.structs.replace(grant, purchase=purchase)
    bills.credits.put(grant)
    bills.credits.book(
        "credit.granted", grant.id, grant.currency, grant_postings.granted(grant), name=grant.name
    )
    return grant


def pay_grant(bills: CustomerBills, grant: CreditGrant, payment: PaymentOfGrant) -> CreditGrant:
    """The payment of a grant has come so far. Raises Rejected."""
    changed, postings = grant_postings.paid(grant, payment, bills.moment.now_ms)
    bills.credits.put(changed)
    bills.credits.book(f"credit.{payment}", grant.id, grant.currency, postings, name=grant.name)
    return changed


def pay_sold_grants(bills: CustomerBills, content: InvoiceContent, payment: PaymentOfGrant) -> None:
    """An invoice is paid, and so are the credits that it sells; those that are paid already stay so."""
    for grant in _sold_by(bills, content):
        if grant.purchase is not None and _STEPS.index(grant.purchase.payment) < _STEPS.index(payment):
            pay_grant(bills, grant, payment)


def give_up_sold_grants(bills: CustomerBills, content: InvoiceContent) -> None:
    """An invoice is uncollectible, and so is what is owed for the credits that it sells."""
    for grant in _sold_by(bills, content):
        _change(bills, "credit.uncollectible", grant, grant_postings.uncollectible(grant))


def withdraw_sold_grants(bills: CustomerBills, content: InvoiceContent) -> None:
    """An invoice is taken back: grants whose line is not billed again end, and nothing is owed for them."""
    groups = bills.groups_of(content.id)
    for line in content.lines:  # deleted ones too: those of a draft that is deleted
        group = bills.find_group(groups.get(line.id, ""))
        waits_again = group is not None and any(
            part.open is not None and part.open.invoice != content.id for part in group.parts
        )
        if not waits_again:
            withdraw_sale(bills, line)


def withdraw_sale(bills: CustomerBills, line: InvoiceLine) -> None:
    """A line is not billed: if it sells a grant, that ends, and nothing is owed for it."""
    id = sold_grant(line)
    grant = None if id is None else bills.credits.find(id)
    if grant is not None:
        _change(bills, "credit.withdrawn", grant, grant_postings.withdrawn(grant, bills.moment.now_ms))


def _change(bills: CustomerBills, kind: str, grant: CreditGrant, change: GrantChange) -> None:
    if change.grant != grant:
        bills.credits.put(change.grant)
        bills.credits.book(kind, grant.id, grant.currency, change.postings, name=grant.name)


def _sold_by(bills: CustomerBills, content: InvoiceContent) -> list[CreditGrant]:
    ids = [sold_grant(line) for line in live_lines(content.lines)]
    found = [bills.credits.find(id) for id in ids if id is not None]
    return [one for one in found if one is not None]


def _sold(bills: CustomerBills, grant: CreditGrant, price: int, tax_config: TaxConfig | None) -> InvoiceLine:
    """The line that sells a grant. price: in minor units."""
    moment = bills.moment
    at = timestamp.text_of(moment.now_s * 1000)
    amount = money.text(price, digits_of(grant.currency))
    return InvoiceLine(
        id=line_id(moment.now_ms, SOLD + grant.id),
        reference=SOLD + grant.id,
        name=f"Credits: {grant.name}",
        description=grant.description,
        managed_by="system",
        status="valid",
        period=LinePeriod(at, at),
        invoice_at=at,
        currency=grant.currency,
        rate_card=LineRateCard(tax_config=tax_config, price=FlatPrice(amount)),
        totals=InvoiceTotals(),
        created_at=moment.now,
        updated_at=moment.now,
    )
