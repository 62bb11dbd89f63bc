"""A replay of past usage by other prices or under another plan, as OpenAPI shows it.

Owns: members, forms, meaning. Does not own: reading them (core.explain, core.subscriptions).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.catalog.custom_plan_bodies import CustomPlanBody, PlanChoiceBody
from pipeline.api.catalog.price_bodies import AnyPriceBody, DiscountsBody, UnitConfigBody
from pipeline.api.http.members import Instant, Ulid
from pipeline.api.invoices.line_answers import InvoiceAmount


class ListedPriceBody(msgspec.Struct, forbid_unknown_fields=True):
    """The price of a rate card."""

    key: Annotated[str, Meta(description="of the rate card")]
    price: Annotated[AnyPriceBody | None, Meta(description="null: free")]
    planKey: (
        Annotated[str, Meta(description="of the plan whose subscriptions have it; absent: all")]
        | UnsetType
        | None
    ) = UNSET
    discounts: DiscountsBody | UnsetType | None = UNSET
    unitConfig: UnitConfigBody | UnsetType | None = UNSET


class PriceReplayBody(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Lines whose period begins in [from, to) are rated, if they were due by now."""

    from_: Annotated[str, Meta(description="RFC 3339, or a date in UTC")]
    to: Annotated[str, Meta(description="end, exclusive")]
    rateCards: Annotated[list[ListedPriceBody], Meta(min_length=1, max_length=1000)] | UnsetType | None = (
        UNSET
    )
    plan: (
        Annotated[PlanChoiceBody, Meta(description="of the catalog, whether it is sold or not")]
        | UnsetType
        | None
    ) = UNSET
    customPlan: (
        Annotated[CustomPlanBody, Meta(description="as a subscription can have it")] | UnsetType | None
    ) = UNSET
    planKey: (
        Annotated[str, Meta(description="only its subscriptions get the plan; absent: all")]
        | UnsetType
        | None
    ) = UNSET
    customer: (
        Annotated[str, Meta(description="id or key; absent: all with a subscription")] | UnsetType | None
    ) = UNSET


class ReplayedAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The lines of a customer in one currency, without taxes and credits."""

    customerId: Ulid
    currency: str
    lines: int
    old: Annotated[InvoiceAmount, Meta(description="as the subscriptions are")]
    new: Annotated[InvoiceAmount, Meta(description="as they would be")]
    difference: InvoiceAmount
    customerKey: str | UnsetType = UNSET


class PriceReplayAnswer(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    from_: Instant
    to: Instant
    totalCount: Annotated[int, Meta(ge=0, description="number of customers")]
    page: int
    pageSize: int
    items: list[ReplayedAnswer]
