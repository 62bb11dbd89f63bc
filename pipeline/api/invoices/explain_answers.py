"""The explanation of a line in answers, as OpenAPI shows it.

Owns: members, forms, meaning. Does not own: how they are made (explain), lines (line_answers).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.http.members import Instant, Ulid
from pipeline.api.invoices.line_answers import (
    InvoiceAmount,
    InvoicePeriodAnswer,
    LineRateCardAnswer,
    Quantity,
)


class ExplainedPositionAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """Events of the partition up to the position are counted."""

    partition: Annotated[int, Meta(description="of `events-unique`; -1: what a backfill counted")]
    position: Annotated[int, Meta(description="offset")]


class ExplainedMeterAnswer(msgspec.Struct, forbid_unknown_fields=True):
    slug: str
    meterId: Annotated[int, Meta(description="the number of the meter; one made again has another")]
    aggregation: str
    eventType: str
    valueProperty: str | UnsetType = UNSET


class ExplainedPriceAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The price of the line, and where it is from; without a subscription a client made the line."""

    rateCard: LineRateCardAnswer
    subscriptionId: Ulid | UnsetType = UNSET
    phaseId: Ulid | UnsetType = UNSET
    itemId: Ulid | UnsetType = UNSET
    planKey: str | UnsetType = UNSET
    planVersion: int | UnsetType = UNSET


class ExplainedTierAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A component of the line, such as a tier."""

    component: str
    name: str
    quantity: Quantity
    perUnitAmount: InvoiceAmount
    total: InvoiceAmount


class ExplainedEventPositionAnswer(msgspec.Struct, forbid_unknown_fields=True):
    topic: str
    partition: int
    offset: int


class ExplainedEventAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """An event under the line."""

    id: str
    source: str
    subject: str
    time: Instant
    value: Annotated[str, Meta(description="what the meter read from it")]
    groupBy: dict[str, str]
    change: Annotated[
        Literal["counted", "added", "removed"],
        Meta(description="added and removed: what a correction counts beside the line before it"),
    ]
    position: ExplainedEventPositionAnswer


class LineExplanationAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """What a line bills, and exactly the events under it. Further pages have `items` and `nextCursor` only."""

    items: list[ExplainedEventAnswer]
    nextCursor: str | UnsetType = UNSET
    invoiceId: Ulid | UnsetType = UNSET
    invoiceNumber: str | UnsetType = UNSET
    lineId: Ulid | UnsetType = UNSET
    customerId: Ulid | UnsetType = UNSET
    name: str | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    period: InvoicePeriodAnswer | UnsetType = UNSET
    correctsLineId: Ulid | UnsetType = UNSET
    price: ExplainedPriceAnswer | UnsetType = UNSET
    meter: ExplainedMeterAnswer | UnsetType = UNSET
    filters: Annotated[dict[str, Any], Meta(description="of the feature")] | UnsetType = UNSET
    from_: Instant | UnsetType = msgspec.field(name="from", default=UNSET)
    to: Instant | UnsetType = UNSET
    events: Annotated[int, Meta(description="under the line")] | UnsetType = UNSET
    quantity: Annotated[str, Meta(description="metered from `from` to `to`")] | UnsetType = UNSET
    beforeQuantity: Annotated[str, Meta(description="metered before the part that it bills")] | UnsetType = (
        UNSET
    )
    correctedQuantity: (
        Annotated[str, Meta(description="metered by the line before the correction")] | UnsetType
    ) = UNSET
    positions: list[ExplainedPositionAnswer] | UnsetType = UNSET
    tiers: list[ExplainedTierAnswer] | UnsetType = UNSET
    total: InvoiceAmount | UnsetType = UNSET
