"""Billing: what changes the bill of a customer, and the documents that follow from it."""

from __future__ import annotations

from typing import Literal

import msgspec

from pipeline.records.control import Command
from pipeline.records.stripe import StripeInvoiceFact

BillingWorkKind = Literal["command", "clock", "number", "settled", "stripe"]


class BillingWork(msgspec.Struct, omit_defaults=True):
    """`billing-work`, beside windows: everything else that changes the bill of a customer.

    command: a change that a client requests, of one customer. clock: time has passed; `items` name definitions that
    changed. number: the answer of the numbering to an invoice. settled: the windows of every event that arrived before
    `settled_ms` lie before this record. stripe: what is known of an invoice at Stripe.
    """

    kind: BillingWorkKind
    at_ms: int = 0  # of a clock that is ahead of the broker's; 0: the time of the record counts
    customer: str = ""  # id, of a command, a number or a fact of Stripe
    command: Command | None = None
    revision: int = 0  # of a command: of the definitions with which it has to be decided, or newer ones
    namespace: str = ""  # of a number or a fact of Stripe, as is `invoice`
    invoice: str = ""  # id
    number: str = ""  # the number of the invoice; empty: it was refused
    error: str = ""  # reason of that refusal
    detail: str = ""  # its sentence
    settled_ms: int = 0  # ms since 1970
    stripe: StripeInvoiceFact | None = None
    items: list[list[str]] = []  # of a clock, such as ["customer", namespace, id]


class NumberWork(msgspec.Struct):
    """`number-requests`, key = `invoice`: an invoice asks for its number. It may be repeated with the same members."""

    namespace: str
    customer: str  # id
    invoice: str  # id
    series: str
    stem: str  # the number without its count
    start: int  # the first number, if the series is new


class BillDocument(msgspec.Struct):
    """`subscriptions`, `invoices`, `credit-grants` (compacted), key namespace/customer/id: a document, newest state.

    `body` is the JSON of a core.subscriptions.subscription.Subscription, of a
    core.invoices.stored_invoice.StoredInvoice or of a core.credits.credit_grant.CreditGrant; a deleted one stays.
    """

    namespace: str
    customer: str  # id
    id: str
    revision: int  # offset in `billing-work` of the record that changed it last
    at_ms: int  # time of that record
    body: msgspec.Raw


class InvoiceRoot(msgspec.Struct, frozen=True):
    """`invoice-roots` (compacted), key namespace/invoice: the Merkle root of an invoice of which a proof was made."""

    namespace: str
    invoice: str  # id
    root: str  # hexadecimal
    rows: int  # of the proof, without the root
    at_ms: int  # when the proof was made
