"""Answers about the next invoices of a customer, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (upcoming, core.invoices.forecast).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.http.members import Instant, Ulid
from pipeline.api.invoices.line_answers import IdAnswer, InvoicePeriodAnswer, InvoiceTotalsAnswer, Quantity


class LineForecastAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A line at the end of its period. SUM and COUNT grow as they did since its start; others stay as they are."""

    extrapolated: Annotated[bool, Meta(description="more usage is expected than there is now")]
    totals: InvoiceTotalsAnswer
    quantity: Quantity | UnsetType = UNSET


class UpcomingLineAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A line with the usage until now."""

    id: Ulid
    name: str
    period: InvoicePeriodAnswer
    invoiceAt: Instant
    totals: InvoiceTotalsAnswer
    forecast: LineForecastAnswer
    featureKey: str | UnsetType = UNSET
    quantity: Quantity | UnsetType = UNSET


class InvoiceForecastAnswer(msgspec.Struct, forbid_unknown_fields=True):
    totals: InvoiceTotalsAnswer


class UpcomingInvoiceAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """What is invoiced at one instant, if nothing but usage changes until then. updatedAt: of its lines and usage."""

    invoice: Annotated[IdAnswer, Meta(description="the gathering invoice on which the lines wait")]
    currency: str
    collectionAt: Instant
    updatedAt: Instant
    totals: Annotated[InvoiceTotalsAnswer, Meta(description="of the usage until now, with taxes")]
    forecast: InvoiceForecastAnswer
    lines: list[UpcomingLineAnswer]


class CustomerUpcomingAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The next invoices of a customer, by currency and time."""

    customer: IdAnswer
    asOf: Instant
    items: list[UpcomingInvoiceAnswer]
