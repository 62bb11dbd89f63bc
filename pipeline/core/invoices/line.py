"""The lines of an invoice, as JSON has them.

Owns: the members of a line and of its detailed lines, their ids, the totals of a line. Does not own: quantities and
amounts (rating), which lines an invoice takes (gathering), the parts of a split line (line_split).

Every line is `usage_based`, a flat fee too; its detailed lines are `flat_fee`. A price and its discounts are a
snapshot: a plan that changes later changes no line. Ids are pure functions: a detailed line has that of its line and
its reference, so it keeps it over every rating.
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` InvoiceLine, InvoiceDetailedLine. `corrects` is ours.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Literal

import msgspec

from pipeline.core.catalog.price import FlatPrice, PaymentTerm, Price
from pipeline.core.catalog.price_terms import Discounts, UnitConfig, discounts_json
from pipeline.core.catalog.tax_config import TaxConfig
from pipeline.core.invoices.line_usage import LineUsage
from pipeline.core.invoices.totals import InvoiceTotals, summed
from pipeline.core.rating.tax import TaxBehavior
from pipeline.core.values import json_number, timestamp, ulid

ManagedBy = Literal["subscription", "system", "manual"]
LineStatus = Literal["valid", "detailed", "split"]
DetailCategory = Literal["regular", "commitment"]
_INSTANTS_KEPT = 1 << 14


@lru_cache(_INSTANTS_KEPT)
def second_of(text: str) -> int:
    """Seconds since 1970 of an RFC 3339 timestamp, rounded down. The lines of one month end have the same few."""
    return timestamp.ms_of(text) // 1000


@lru_cache(_INSTANTS_KEPT)
def text_of_s(at_s: int) -> str:
    """An instant as a line has it. at_s: seconds since 1970."""
    return timestamp.text_of(at_s * 1000)


class LinePeriod(msgspec.Struct, frozen=True, gc=False, rename={"start": "from", "end": "to"}):
    """[start, end) as RFC 3339, whole seconds."""

    start: str
    end: str

    @property
    def start_s(self) -> int:
        return second_of(self.start)

    @property
    def end_s(self) -> int:
        return second_of(self.end)


class MaximumSpend(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="maximum_spend"):
    """The maximum of the price was reached."""


class PercentageReason(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename="camel",
    tag_field="type",
    tag="ratecard_percentage",
    kw_only=True,
):
    """percentage: plain decimal text; answers show a number."""

    percentage: str
    correlation_id: str


class UsageReason(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename="camel",
    tag_field="type",
    tag="ratecard_usage",
    kw_only=True,
):
    """quantity: that costs nothing."""

    quantity: str
    correlation_id: str


DiscountReason = MaximumSpend | PercentageReason | UsageReason


class AmountDiscount(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """Money off."""

    id: str
    reason: DiscountReason
    description: str | None = None
    amount: str
    external_id: str | None = None


class QuantityDiscount(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True
):
    """Units off. pre_line_period_quantity: what earlier parts of the line had off."""

    id: str
    reason: DiscountReason
    description: str | None = None
    quantity: str
    pre_line_period_quantity: str | None = None


class LineDiscounts(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The discounts of a line."""

    amount: tuple[AmountDiscount, ...] = ()
    usage: tuple[QuantityDiscount, ...] = ()


class CreditAllocated(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True
):
    """What a credit paid. after_tax: it is one of a credit note, which pays the tax too."""

    amount: str
    description: str | None = None
    after_tax: bool = False


class LineRateCard(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """How a line is priced. tax_config: as its rate card has it."""

    feature_key: str | None = None
    tax_config: TaxConfig | None = None
    price: Price | None
    discounts: Discounts | None = None
    unit_config: UnitConfig | None = None


class LineTax(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A tax of a line; answers show the percentage as a number."""

    percent: Decimal
    behavior: TaxBehavior


class LineExternalIds(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The ids of a line in apps."""

    invoicing: str | None = None
    tax: str | None = None


class ReferenceId(msgspec.Struct, frozen=True, gc=False):
    """The id of something else."""

    id: str


class LineSubscription(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The item of a subscription that a line bills, and the billing period."""

    subscription: ReferenceId
    phase: ReferenceId
    item: ReferenceId
    billing_period: LinePeriod


class LineCorrects(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The issued line that a correction belongs to."""

    invoice_id: str
    line_id: str


class LineSplit(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the parts of a split line have in common: the id and the period of the line that they were."""

    group: str
    period: LinePeriod


class InvoiceDetailedLine(
    msgspec.Struct,
    frozen=True,
    gc=False,
    kw_only=True,
    rename="camel",
    omit_defaults=True,
    tag_field="type",
    tag="flat_fee",
):
    """One component of a line. child_reference: stable over ratings."""

    id: str
    child_reference: str
    name: str
    period: LinePeriod
    currency: str
    quantity: str
    per_unit_amount: str
    payment_term: PaymentTerm
    category: DetailCategory
    discounts: LineDiscounts | None = None
    credit_allocations: tuple[CreditAllocated, ...] = ()
    totals: InvoiceTotals


class InvoiceLine(
    msgspec.Struct,
    frozen=True,
    gc=False,
    kw_only=True,
    rename="camel",
    omit_defaults=True,
    tag_field="type",
    tag="usage_based",
):
    """A line. Quantities are decimal text, amounts too.

    Attributes:
        managed_by: manual: a client changed it, and its subscription leaves it as it is.
        invoice_at: when it may be invoiced.
        quantity, pre_line_period_quantity: of the period and of earlier parts, after the usage discount.
        metered_quantity, metered_pre_line_period_quantity: before it.
        split: it is a part of a line (line_split).
        corrects: it only changes what an issued line billed.
        reference: identity of what is billed; the same thing is never billed by two lines.
        counted: the usage of which it was rated; the answer about an invoice does not show it.
    """

    id: str
    reference: str | None = None
    name: str
    description: str | None = None
    metadata: dict[str, str] | None = None
    managed_by: ManagedBy
    status: LineStatus
    period: LinePeriod
    invoice_at: str
    currency: str
    rate_card: LineRateCard
    quantity: str | None = None
    metered_quantity: str | None = None
    pre_line_period_quantity: str | None = None
    metered_pre_line_period_quantity: str | None = None
    discounts: LineDiscounts | None = None
    credit_allocations: tuple[CreditAllocated, ...] = ()
    taxes: tuple[LineTax, ...] = ()
    totals: InvoiceTotals
    subscription: LineSubscription | None = None
    external_ids: LineExternalIds | None = None
    children: tuple[InvoiceDetailedLine, ...] = ()
    split: LineSplit | None = None
    corrects: LineCorrects | None = None
    counted: LineUsage | None = None
    created_at: str
    updated_at: str
    deleted_at: str | None = None

    @property
    def invoice_at_s(self) -> int:
        return second_of(self.invoice_at)

    @property
    def is_metered(self) -> bool:
        """Whether its quantity comes from usage; that of a correction is fixed."""
        price = self.rate_card.price
        return self.corrects is None and price is not None and not isinstance(price, FlatPrice)


def line_id(created_at_ms: int, reference: str) -> str:
    """The id of a line: the same for the same thing billed.

    Args:
        created_at_ms: the time of the record that made it.
        reference: identity of what is billed, or the id of the command and the place of the line in it.
    """
    return ulid.make(created_at_ms, f"line/{reference}")


def detail_id(of_line: str, child_reference: str) -> str:
    """The id of a detailed line."""
    return ulid.make(0, f"detail/{of_line}/{child_reference}")


def with_details(line: InvoiceLine, details: tuple[InvoiceDetailedLine, ...]) -> InvoiceLine:
    """The line with its detailed lines, and their sum as its totals."""
    return msgspec.structs.replace(line, children=details, totals=summed(one.totals for one in details))


def live_lines(lines: tuple[InvoiceLine, ...]) -> list[InvoiceLine]:
    """The lines that are billed."""
    return [one for one in lines if one.deleted_at is None and one.status == "valid"]


def shown(line: InvoiceLine) -> dict[str, object]:
    """The JSON of a line. Its price is a member of its own too, as clients of older versions read it."""
    members: dict[str, object] = msgspec.to_builtins(msgspec.structs.replace(line, counted=None))
    rate_card: dict[str, object] = msgspec.to_builtins(line.rate_card)
    if line.rate_card.discounts is not None:
        rate_card["discounts"] = discounts_json(line.rate_card.discounts)
    if line.taxes:
        members["taxes"] = [
            {"percent": json_number.plain(tax.percent), "behavior": tax.behavior} for tax in line.taxes
        ]
    if line.children:
        members["children"] = [_shown_detail(child) for child in line.children]
    repeated = {name: rate_card[name] for name in ("price", "featureKey", "taxConfig") if name in rate_card}
    return members | repeated | {"rateCard": rate_card}


def _shown_detail(detail: InvoiceDetailedLine) -> dict[str, object]:
    members: dict[str, object] = msgspec.to_builtins(detail)
    if detail.discounts is not None:
        members["discounts"] = {
            "amount": [_shown_discount(one) for one in detail.discounts.amount],
            "usage": [msgspec.to_builtins(one) for one in detail.discounts.usage],
        }
    return members


def _shown_discount(discount: AmountDiscount) -> dict[str, object]:
    members: dict[str, object] = msgspec.to_builtins(discount)
    if isinstance(discount.reason, PercentageReason):
        percentage = json_number.plain(Decimal(discount.reason.percentage))
        members["reason"] = msgspec.to_builtins(discount.reason) | {"percentage": percentage}
    return members
