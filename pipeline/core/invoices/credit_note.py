"""A credit note that was made: its number, what it takes back, the credit that it gave.

Owns: these. Does not own: when one is made (bills.credit_notes), its page (printed_invoice).

A credit note is kept as an invoice of the type `credit_note`: its lines are corrections, so that its total is not
above 0. It has no draft, no app and no payment: it waits for its number in `issuing.syncing`, and is final then. One
whose number was refused is in `issuing.failed`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from pipeline.core.invoices.credited_lines import charges_of
from pipeline.core.invoices.invoice import InvoiceContent
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.state_table import Effect, InvoiceState
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.values import money, number, timestamp
from pipeline.core.values.currency import digits_of
from pipeline.errors import Rejected

GRANT: Final = "creditGrantId"  # the member of `metadata` that names the grant
LOWERED: Final = "takenOffDue"  # and that with what was taken off what was due for the invoice


class CreditedLine(NamedTuple):
    """amount: that a line takes back without tax, in minor units; below 0: it bills something."""

    line: InvoiceLine
    amount: int


class CreditedAmounts(NamedTuple):
    """What a credit note takes back, in minor units.

    Attributes:
        total: with taxes.
        tax: in it.
        returned: of the total: to credits that had paid.
        lowered: taken off what was due for the invoice.
        granted: given as a new credit.
    """

    total: int
    tax: int
    returned: int
    lowered: int
    granted: int


def numbered(stored: StoredInvoice, given: str, now_s: int) -> StoredInvoice:
    """The credit note with its number, which ends it. Another number after the first changes nothing."""
    if stored.progress.number is not None:
        return stored
    moved = _moved(stored, "paid", (), now_s)
    return msgspec.structs.replace(moved, progress=msgspec.structs.replace(moved.progress, number=given))


def not_numbered(stored: StoredInvoice, now_s: int) -> StoredInvoice:
    """The credit note whose number was refused: a retry asks again."""
    return _moved(stored, "issuing.failed", (), now_s)


def retried(stored: StoredInvoice, now_s: int) -> StoredInvoice:
    """The credit note that asks for its number once more. Raises Rejected unless it was refused."""
    if stored.progress.state != "issuing.failed":
        raise Rejected("invoice_action_not_available", "A credit note is final: it cannot be changed.")
    return _moved(stored, "issuing.syncing", ("request_number",), now_s)


def _moved(
    stored: StoredInvoice, state: InvoiceState, waiting: tuple[Effect, ...], now_s: int
) -> StoredInvoice:
    progress = msgspec.structs.replace(
        stored.progress,
        state=state,
        sequence=stored.progress.sequence + 1,
        entered_at_s=max(now_s, stored.progress.entered_at_s),
        waiting=waiting,
    )
    content = msgspec.structs.replace(stored.content, updated_at=timestamp.text_of(now_s * 1000))
    return msgspec.structs.replace(stored, content=content, progress=progress)


def credited_lines(content: InvoiceContent) -> list[CreditedLine]:
    """The lines of a credit note, without taxes."""
    digits = digits_of(content.currency)
    return [CreditedLine(line, -_billed(line, digits)) for line in live_lines(content.lines)]


def credited(content: InvoiceContent) -> CreditedAmounts:
    """What a credit note takes back, and where it went."""
    digits = digits_of(content.currency)
    totals = content.totals

    def minor(text: str) -> int:
        return money.minor(number.parse(text), digits)

    granted = granted_amount(content)
    lowered = minor((content.metadata or {}).get(LOWERED, "0"))
    returned = -minor(totals.credits_total)
    return CreditedAmounts(
        granted + returned, -minor(totals.taxes_total), returned, lowered, granted - lowered
    )


def credited_total(content: InvoiceContent) -> str:
    """What a credit note takes back in all, with taxes, as plain decimal text."""
    return money.text(credited(content).total, digits_of(content.currency))


def _billed(line: InvoiceLine, digits: int) -> int:
    """What a line bills without tax, with what credits pay of it, or get back."""
    paid = money.minor(number.parse(line.totals.credits_total), digits)
    return paid + sum(one.amount for one in charges_of(line, digits))


def granted_amount(content: InvoiceContent) -> int:
    """What a credit note gives back in money, in minor units: all but what returned to the credits that had paid."""
    return -money.minor(number.parse(content.totals.total), digits_of(content.currency))


def original_id(content: InvoiceContent) -> str:
    """The id of the invoice that a credit note corrects; empty: the content is no credit note."""
    return content.preceding[0].url.rpartition("/")[2] if content.preceding else ""
