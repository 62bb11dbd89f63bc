"""Lists of invoices: which invoices a list selects, and in which order.

Owns: the head of an invoice, which is what a condition or an order of a list needs; these conditions and orders. Does
not own: pages (api.http.paging), the JSON of an invoice (invoice.shown), where heads and invoices are kept
(stores.kafka.invoices). A list of many invoices costs no decoding of their lines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Literal, NamedTuple, get_args

import msgspec

from pipeline.core.invoices.line import LinePeriod
from pipeline.core.invoices.numbering import NumberedKind
from pipeline.core.invoices.state_table import InvoiceState, short_status
from pipeline.core.values import timestamp

InvoiceOrder = Literal["createdAt", "updatedAt", "issuedAt", "periodStart", "status", "customer.name"]
INVOICE_ORDERS: Final[tuple[InvoiceOrder, ...]] = get_args(InvoiceOrder)


class _Customer(msgspec.Struct, frozen=True):
    id: str
    name: str


class _Content(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    customer: _Customer
    created_at: str
    updated_at: str
    period: LinePeriod | None = None
    deleted_at: str | None = None
    type: NumberedKind = "standard"


class _Progress(msgspec.Struct, frozen=True):
    state: InvoiceState
    issued_at_s: int | None = None


class InvoiceHead(msgspec.Struct, frozen=True):
    """What a list needs of a core.invoices.stored_invoice.StoredInvoice."""

    content: _Content
    progress: _Progress

    @property
    def id(self) -> str:
        """Of the invoice."""
        return self.content.id

    @property
    def status(self) -> str:
        """The short status."""
        return short_status(self.progress.state)


class Between(NamedTuple):
    """Instants from `after_ns` to `before_ns`, both included, in ns since 1970; None: without a bound."""

    after_ns: int | None = None
    before_ns: int | None = None

    def holds(self, at_ms: int | None) -> bool:
        """Whether an instant is in it; where there is a bound, one that is not known is not."""
        if at_ms is None:
            return self == Between()
        at_ns = at_ms * 1_000_000
        return (self.after_ns is None or at_ns >= self.after_ns) and (
            self.before_ns is None or at_ns <= self.before_ns
        )


class InvoiceSelection(NamedTuple):
    """What a list selects; an empty condition selects all.

    Attributes:
        customers: ids.
        statuses, extended_statuses: short ones, states.
        issued, period_start, created: when.
        include_deleted: whether deleted invoices are listed too.
    """

    customers: Collection[str] = ()
    statuses: Collection[str] = ()
    extended_statuses: Collection[str] = ()
    issued: Between = Between()
    period_start: Between = Between()
    created: Between = Between()
    include_deleted: bool = False

    def selects(self, head: InvoiceHead) -> bool:
        """Whether an invoice is in the list."""
        content, progress = head.content, head.progress
        issued_s = progress.issued_at_s
        return (
            (self.include_deleted or (content.deleted_at is None and progress.state != "deleted"))
            and (not self.customers or content.customer.id in self.customers)
            and (not self.statuses or head.status in self.statuses)
            and (not self.extended_statuses or progress.state in self.extended_statuses)
            and self.issued.holds(None if issued_s is None else issued_s * 1000)
            and self.period_start.holds(_start_ms(content))
            and self.created.holds(timestamp.ms_of(content.created_at))
        )


def head_of(body: bytes | msgspec.Raw) -> InvoiceHead:
    """The head of the JSON of a StoredInvoice. Raises msgspec.DecodeError."""
    return _read(body)


_read = msgspec.json.Decoder(InvoiceHead).decode


def listed_invoices(
    heads: Iterable[InvoiceHead],
    selection: InvoiceSelection,
    by: InvoiceOrder = "createdAt",
    descending: bool = False,
) -> list[InvoiceHead]:
    """The invoices that a list selects, in its order; ties by id. What has no value of the order comes first."""
    found = [one for one in heads if selection.selects(one)]
    return sorted(found, key=lambda one: _place(one, by), reverse=descending)


def _place(head: InvoiceHead, by: InvoiceOrder) -> tuple[bool, str | int, str]:
    content = head.content
    value: str | int | None
    match by:
        case "createdAt":
            value = timestamp.ms_of(content.created_at)
        case "updatedAt":
            value = timestamp.ms_of(content.updated_at)
        case "issuedAt":
            value = head.progress.issued_at_s
        case "periodStart":
            value = _start_ms(content)
        case "status":
            value = head.status
        case "customer.name":
            value = content.customer.name.casefold()
    return value is not None, 0 if value is None else value, content.id


def _start_ms(content: _Content) -> int | None:
    return None if content.period is None else timestamp.ms_of(content.period.start)
