"""Pending lines: what a client asks to be billed by hand.

Owns: which members a line may be sent with, the codes with which one is refused. Does not own: prices (catalog), when a
line is invoiced (gathering). `price`, `featureKey`, `taxConfig` and `discounts` beside `rateCard` are an older form; if
both are sent, `rateCard` counts.
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` InvoicePendingLineCreate, `openmeter/billing/errors.go`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from pipeline.core.catalog.price import FlatPrice
from pipeline.core.catalog.price_reading import read_price
from pipeline.core.catalog.price_terms import read_discounts
from pipeline.core.catalog.tax_config import read_tax_config
from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.body import BodyReader
from pipeline.core.invoices.line import InvoiceLine, LinePeriod, LineRateCard, line_id
from pipeline.core.invoices.totals import InvoiceTotals
from pipeline.core.values import number, timestamp
from pipeline.errors import Rejected

KIND: Final = "invoice-line"
MOST_LINES: Final = 1000
_MEMBERS = (
    "name", "description", "metadata", "period", "invoiceAt", "currency", "rateCard", "price", "featureKey",
    "taxConfig", "discounts",
)  # fmt: skip
_CARD = ("price", "featureKey", "taxConfig", "discounts")
_STRIPE_CODE = re.compile(r"txcd_\d{8}", re.ASCII).fullmatch


class PendingContext(NamedTuple):
    """What the lines of a command are checked against.

    Attributes:
        customer: to be billed.
        currency: of the gathering invoice.
        has_meter: feature key -> whether usage of it is counted.
        command_id: names the lines.
        now_ms: the time of the record.
    """

    customer: Customer
    currency: str
    has_meter: Mapping[str, bool]
    command_id: str
    now_ms: int


def read_pending_lines(
    bodies: Sequence[Mapping[str, object]], context: PendingContext, known: Collection[int] = ()
) -> list[InvoiceLine]:
    """The lines that a client sent, all or none.

    Args:
        known: places of lines that the invoice has already: the edit has a code of its own for one that would be 0.

    Raises:
        Rejected: `customer_deleted`, `invoice_create_no_lines`, `bad-invoice-line`, or a code of one line.
    """
    if context.customer.deleted_at is not None:
        raise Rejected("customer_deleted", "The customer is deleted.")
    if not bodies:
        raise Rejected("invoice_create_no_lines", "There must be at least one line.")
    if len(bodies) > MOST_LINES:
        raise Rejected("bad-invoice-line", f"There must be at most {MOST_LINES} lines.")
    return [_line(body, place, context, place in known) for place, body in enumerate(bodies)]


def _line(body: Mapping[str, object], place: int, context: PendingContext, is_known: bool) -> InvoiceLine:
    sent = BodyReader(KIND, body, _MEMBERS, inside=f"lines[{place}]")
    period = _period(sent, place)
    card = _rate_card(sent, body, place)
    currency = sent.text("currency", 3) or context.currency
    if currency != context.currency:
        raise Rejected(
            "invoice_line_currency_mismatch", f"The line is in {currency}, its invoice in {context.currency}."
        )
    _check(card, period, context, is_known)
    now = timestamp.text_of(context.now_ms)
    return InvoiceLine(
        id=line_id(context.now_ms, f"{context.command_id}/{place}"),
        name=sent.required("name", 256),
        description=sent.text("description", 1024, multiline=True),
        metadata=sent.metadata(),
        managed_by="manual",
        status="valid",
        period=period,
        invoice_at=_second(sent, "invoiceAt"),
        currency=currency,
        rate_card=card,
        totals=InvoiceTotals(),
        created_at=now,
        updated_at=now,
    )


def _check(card: LineRateCard, period: LinePeriod, context: PendingContext, is_known: bool) -> None:
    price = card.price
    if isinstance(price, FlatPrice):
        if not number.parse(price.amount) and not is_known:
            raise Rejected("invoice_line_zero_amount_create", "A line of a fixed amount must not be 0.")
        return
    if not context.has_meter.get(card.feature_key or ""):
        raise Rejected(
            "invoice_line_feature_has_no_meters", f"The feature {card.feature_key or ''} has no meter."
        )
    if not context.customer.subjects:
        raise Rejected(
            "invoice_create_ubp_line_customer_has_no_subjects",
            "The customer has no subjects, so it has no usage that could be billed.",
        )
    if period.end_s <= period.start_s:
        raise Rejected(
            "invoice_create_ubp_line_period_is_empty",
            "The period of a line by usage must have a second at least.",
        )


def _period(sent: BodyReader, place: int) -> LinePeriod:
    body = sent.nested("period")
    if body is None:
        sent.refuse(f"{sent.kind} period is required")
    parts = BodyReader(KIND, body, ("from", "to"), inside=f"lines[{place}] period")
    period = LinePeriod(_second(parts, "from"), _second(parts, "to"))
    if period.end_s < period.start_s:
        parts.refuse(f"{parts.kind} must not end before it starts")
    return period


def _second(sent: BodyReader, member: str) -> str:
    """A required instant, without its fraction of a second."""
    at_ms = sent.instant_ms(member)
    if at_ms is None:
        sent.refuse(f"{sent.kind} {member} is required")
    return timestamp.text_of(at_ms // 1000 * 1000)


def _rate_card(sent: BodyReader, body: Mapping[str, object], place: int) -> LineRateCard:
    nested = sent.nested("rateCard")
    inside = f"lines[{place}]" if nested is None else f"lines[{place}] rateCard"
    members = {name: body[name] for name in _CARD if name in body} if nested is None else nested
    card = BodyReader(KIND, members, _CARD, inside=inside)
    price, discounts, tax = card.nested("price"), card.nested("discounts"), card.nested("taxConfig")
    if price is None:
        card.refuse(f"{card.kind} price is required")
    return LineRateCard(
        feature_key=card.text("featureKey", 64),
        tax_config=None if tax is None else read_tax_config(KIND, tax, f"{inside} taxConfig"),
        price=read_price(KIND, price, f"{inside} price"),
        discounts=None if discounts is None else read_discounts(KIND, discounts, f"{inside} discounts"),
    )
