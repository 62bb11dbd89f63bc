"""Credits and the ledger on the way of an invoice: burnt when it is issued, booked at each step.

Owns: what each step of an invoice does to grants and to the ledger. Does not own: the steps (flow), sharing
(credits.burn_down), postings (ledger.invoice_postings).

Credits are burnt once, when the lines of an invoice are final: by the grants that can be used at that instant. A
correction first gives back what the lines before it of the same part had burnt, the newest first; then the rest of the
invoice is paid. Credits of credit notes come last: they are money, which pays an invoice with its tax, and which a
correction does not give back, since it takes back tax as well. Lines that sell credits are not paid by credits. Of a
statement (`credit_only`) nothing is due: what no grant covers is a burn of no grant.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from pipeline.core.bills import drafts
from pipeline.core.bills.below_zero import billed_before, returns
from pipeline.core.bills.credit_rows import InvoiceBookedRow
from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.grant_payment import give_up_sold_grants, pay_sold_grants, withdraw_sold_grants
from pipeline.core.bills.line_group import BookedLine
from pipeline.core.credits.burn_down import (
    CreditBurn,
    CreditCharge,
    burn,
    come_back,
    spread_back,
    sums_by_grant,
)
from pipeline.core.credits.credit_grant import with_burnt
from pipeline.core.credits.grant_postings import forfeited
from pipeline.core.credits.settlement import CREDIT_ONLY, UNCOVERED, UncoveredCharge, settle
from pipeline.core.invoices.credit_note import original_id
from pipeline.core.invoices.credited_lines import charges_of, sold_grant, with_credits
from pipeline.core.invoices.invoice import InvoiceContent, with_lines
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.state_table import InvoiceState
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.ledger import invoice_postings
from pipeline.core.ledger.invoice_postings import BilledMoney, PaidByCredit
from pipeline.core.ledger.transaction import Posting, merged, reversed_of
from pipeline.core.values import money, number
from pipeline.core.values.currency import digits_of
from pipeline.errors import Rejected


def pay_by_credits(bills: CustomerBills, stored: StoredInvoice) -> StoredInvoice:
    """The invoice with what credits pay of it, and with that booked. The same again changes nothing."""
    content, credits = stored.content, bills.credits
    row = credits.booked(content.id)
    if row.postings:
        return stored
    digits = digits_of(content.currency)
    burns: list[CreditBurn] = []
    if bills.credits.is_used or content.settlement_mode == CREDIT_ONLY:
        lines = [line for line in live_lines(content.lines) if sold_grant(line) is None]
        burns = _given_back(bills, content.id, lines, digits)
        row = InvoiceBookedRow(has_returned=bool(burns))
        left = _after(lines, burns, digits)
        paid = _burnt(bills, content, left, burns, digits)
        _take(bills, paid, 1)
        bills.credits.add_uncovered(_uncovered(content.id, content.currency, paid, left))
        row = msgspec.structs.replace(row, burns=tuple(paid))
        burns += paid
        content = _credited(bills, content, burns, digits)
        after = _burnt_after_tax(bills, content, digits)
        _take(bills, after, 1)
        row = msgspec.structs.replace(row, burns=(*row.burns, *after))
        burns += after
        content = _with_burns(bills, content, after, digits, after_tax=True)
    found = [PaidByCredit(grant, amount) for grant, amount in sums_by_grant(burns).items()]
    credits.put_booked(content.id, row)
    postings = invoice_postings.accrued(_money_of(content, digits), found)
    credits.book_invoice("invoice.accrued", content.id, content.currency, postings)
    return msgspec.structs.replace(stored, content=content)


def earn(bills: CustomerBills, content: InvoiceContent) -> None:
    """An invoice is issued: what was accrued is revenue."""
    _book(bills, "invoice.earned", content, invoice_postings.earned(_booked(bills, content)))


def pay(bills: CustomerBills, content: InvoiceContent, state: InvoiceState) -> None:
    """The payment of an invoice is booked, and that of the credits that it sells. state: that books it."""
    if state == "payment_processing.booking_authorized":
        _book(bills, "invoice.authorized", content, invoice_postings.authorized(_booked(bills, content)))
        pay_sold_grants(bills, content, "authorized")
    else:
        _book(bills, "invoice.settled", content, invoice_postings.settled(_booked(bills, content)))
        pay_sold_grants(bills, content, "settled")


def enter(bills: CustomerBills, content: InvoiceContent, entered: Iterable[InvoiceState]) -> None:
    """An invoice has entered states. Raises Rejected as `give_back`."""
    for state in entered:
        if state == "uncollectible":
            postings = invoice_postings.uncollectible(_booked(bills, content))
            _book(bills, "invoice.uncollectible", content, postings)
            give_up_sold_grants(bills, content)
        elif state == "voided":
            give_back(bills, content, "invoice.voided")
        elif state == "delete.in_progress":
            give_back(bills, content, "invoice.deleted")


def give_back(bills: CustomerBills, content: InvoiceContent, kind: str) -> None:
    """An invoice is taken back: so is all that it booked, and its credits return to their grants.

    Raises:
        Rejected: `invoice_has_returned_credits`: others may have been paid with what its corrections gave back;
            `invoice_has_credit_note`: a credit note has lowered what is due for it.
    """
    row = bills.credits.booked(content.id)
    if row.lowered:
        raise Rejected(
            "invoice_has_credit_note",
            "A credit note has lowered what is due for the invoice: it cannot be taken back any more.",
        )
    if row.has_returned:
        raise Rejected(
            "invoice_has_returned_credits",
            "A correction on the invoice gave credits back, which may have paid others since: it cannot be taken back.",
        )
    if row.postings:
        came_back = invoice_postings.came_back(row.postings, sums_by_grant(row.burns))
        bills.credits.take_uncovered(_uncovered(content.id, content.currency, row.burns))
        expired = _take(bills, row.burns, -1)
        taken = [*reversed_of(row.postings), *came_back, *expired]
        bills.credits.book_invoice(kind, content.id, content.currency, taken)
        bills.credits.put_booked(content.id, InvoiceBookedRow())
    withdraw_sold_grants(bills, content)


def _given_back(
    bills: CustomerBills, invoice_id: str, lines: list[InvoiceLine], digits: int
) -> list[CreditBurn]:
    """What lines below 0 give back to grants of what was burnt for what they take back: burns below 0."""
    found: list[CreditBurn] = []
    for line in lines:
        charges = charges_of(line, digits)
        left = -sum(one.amount for one in charges)
        if left <= 0:
            continue
        back: list[CreditBurn] = []
        for booked in reversed(_booked_before(bills, invoice_id, line)):
            row = bills.credits.booked(booked.invoice)
            own = [one for one in row.burns if one.line == booked.line and returns(bills, line, one)]
            more, kept = come_back(own, left)
            if more:
                left -= sum(one.amount for one in more)
                back += more
                others = [one for one in row.burns if one not in own]
                row = msgspec.structs.replace(row, burns=(*others, *kept))
                bills.credits.put_booked(booked.invoice, row)
                bills.credits.take_uncovered(_uncovered(booked.invoice, line.currency, more))
        expired = _take(bills, back, -1)
        bills.credits.book("credit.forfeited", line.id, line.currency, expired)
        found += spread_back(charges, back)
    return found


def _booked_before(bills: CustomerBills, invoice_id: str, line: InvoiceLine) -> tuple[BookedLine, ...]:
    """The lines from which a line takes something back, the oldest first."""
    group = bills.group(bills.groups_of(invoice_id)[line.id])
    place = group.part_of(line.id)
    return () if place is None else billed_before(line, group, place)


def _burnt(
    bills: CustomerBills,
    content: InvoiceContent,
    left: list[CreditCharge],
    back: list[CreditBurn],
    digits: int,
) -> list[CreditBurn]:
    """What grants pay of an invoice: as much as they can without a total, with tax, below 0.

    Args:
        content: without credits.
        left: what can be paid.
        back: what corrections on it gave back.
    """
    grants = bills.credits.grants(content.currency)
    if content.settlement_mode == CREDIT_ONLY:
        return settle(CREDIT_ONLY, left, grants, bills.moment.now_ms)
    grants = [one for one in grants if not one.after_tax]

    def paid(most: int | None) -> list[CreditBurn]:
        return burn(left, grants, bills.moment.now_ms, most)

    def missing(most: int) -> int:
        total = _credited(bills, content, [*back, *paid(most)], digits).totals.total
        return -_minor(total, digits)

    found = paid(None)
    most = sum(one.amount for one in found)
    if not found or missing(most) <= 0:
        return found
    # A correction with a higher tax than what is paid takes back more than its net. More credits, a lower total.
    return paid(max(0, bisect_right(range(most), 0, key=missing) - 1))


def _burnt_after_tax(bills: CustomerBills, content: InvoiceContent, digits: int) -> list[CreditBurn]:
    """What credits of credit notes pay of an invoice, with its tax. content: with what other credits pay."""
    grants = [one for one in bills.credits.grants(content.currency) if one.after_tax]
    if content.settlement_mode == CREDIT_ONLY or not grants:
        return []
    charges = [
        CreditCharge(line.id, child.id, _minor(child.totals.total, digits), line.rate_card.feature_key)
        for line in live_lines(content.lines)
        if sold_grant(line) is None
        for child in line.children
    ]
    return burn(charges, grants, bills.moment.now_ms)


def _after(lines: list[InvoiceLine], burns: list[CreditBurn], digits: int) -> list[CreditCharge]:
    """The components of lines after what was given back for them."""
    back: dict[str, int] = defaultdict(int)
    for one in burns:
        back[one.component] += one.amount
    return [
        charge._replace(amount=charge.amount - back[charge.component])
        for line in lines
        for charge in charges_of(line, digits)
    ]


def _take(bills: CustomerBills, burns: Iterable[CreditBurn], sign: int) -> list[Posting]:
    """Take what burns pay from their grants; sign -1: it returns to them.

    Returns:
        The postings by which what returns to a grant that has ended is lost at once.
    """
    lost: list[Posting] = []
    for id, amount in sums_by_grant(one for one in burns if one.grant != UNCOVERED).items():
        grant = with_burnt(bills.credits.grant(id), sign * amount)
        if sign < 0 and grant.status(bills.moment.now_ms) in ("expired", "voided"):
            lost += forfeited(grant, amount)
            grant = msgspec.structs.replace(grant, balance=grant.balance - amount)
        bills.credits.put(grant)
    return list(merged(lost))


def _uncovered(
    invoice: str, currency: str, burns: Iterable[CreditBurn], charges: Iterable[CreditCharge] = ()
) -> list[UncoveredCharge]:
    """What no grant covers of the burns of an invoice. charges: its components, for their features."""
    features = {one.component: one.feature for one in charges}
    return [
        UncoveredCharge(currency, invoice, one.line, one.component, one.amount, features.get(one.component))
        for one in burns
        if one.grant == UNCOVERED
    ]


def _credited(
    bills: CustomerBills, content: InvoiceContent, burns: list[CreditBurn], digits: int
) -> InvoiceContent:
    if not burns:
        return content
    credited = bills.credits.booked(original_id(content)).credited if content.preceding else ()
    return drafts.taxed(_with_burns(bills, content, burns, digits), credited)


def _with_burns(
    bills: CustomerBills,
    content: InvoiceContent,
    burns: list[CreditBurn],
    digits: int,
    *,
    after_tax: bool = False,
) -> InvoiceContent:
    """The content with what burns pay, before its taxes are computed again."""
    if not burns:
        return content
    by_component: dict[str, list[CreditBurn]] = defaultdict(list)
    for one in burns:
        by_component[one.component].append(one)
    names = {one.grant: bills.credits.grant(one.grant).name for one in burns if one.grant != UNCOVERED}
    names[UNCOVERED] = "Not covered by credits yet"
    live = {line.id for line in live_lines(content.lines)}
    lines = tuple(
        with_credits(line, by_component, names, digits, after_tax=after_tax) if line.id in live else line
        for line in content.lines
    )
    return with_lines(content, lines)


def _money_of(content: InvoiceContent, digits: int) -> BilledMoney:
    """The money of an invoice, with credits counted as not paid."""
    net = tax = sold_tax = sold_inside = 0
    for line in live_lines(content.lines):
        totals = line.totals
        inside, on_top = (
            _minor(totals.taxes_inclusive_total, digits),
            _minor(totals.taxes_exclusive_total, digits),
        )
        if sold_grant(line) is not None:
            sold_tax, sold_inside = sold_tax + on_top, sold_inside + inside
        else:
            credits = _minor(totals.credits_total, digits)
            net += _minor(totals.total, digits) - on_top + credits - inside
            tax += inside + on_top
    return BilledMoney(net, tax, sold_tax, sold_inside)


def _minor(text: str, digits: int) -> int:
    return money.minor(number.parse(text), digits)


def _booked(bills: CustomerBills, content: InvoiceContent) -> tuple[Posting, ...]:
    return bills.credits.booked(content.id).postings


def _book(bills: CustomerBills, kind: str, content: InvoiceContent, postings: tuple[Posting, ...]) -> None:
    if postings:
        bills.credits.book_invoice(kind, content.id, content.currency, postings)
