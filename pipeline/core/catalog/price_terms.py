"""What stands beside a price on a rate card: discounts, and the conversion of units.

Owns: their members, which values they may have, their canonical text. Does not own: prices (price), in which order they
apply (rating). Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` Discounts; `unit_config` of its v3 API.

A percentage is a JSON number of the API. It is kept as a Decimal of the digits that were sent; stored bodies hold it as
text, as msgspec writes a Decimal, and `discounts_json` is what answers show.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, get_args

import msgspec

from pipeline.core.definitions.body import BodyReader
from pipeline.core.values import json_number, number

Operation = Literal["divide", "multiply"]
UnitRounding = Literal["none", "ceiling", "floor", "half_up"]
_HUNDRED = 100 * number.SCALE


class PercentageDiscount(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A share off each detailed line. percentage: 0 to 100."""

    percentage: Decimal


class UsageDiscount(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The first units of a period cost nothing. quantity: plain decimal text."""

    quantity: str


class Discounts(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """The discounts of a rate card."""

    percentage: PercentageDiscount | None = None
    usage: UsageDiscount | None = None


class UnitConfig(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """Billed units are metered ones divided or multiplied by a factor, then rounded to `precision` decimals.

    Attributes:
        conversion_factor: plain decimal text, above 0.
        display_unit: the name of a billed unit.
    """

    operation: Operation
    conversion_factor: str
    rounding: UnitRounding = "none"
    precision: int = 0
    display_unit: str | None = None


def read_discounts(kind: str, body: Mapping[str, object], inside: str = "discounts") -> Discounts:
    """The discounts that a client sent.

    Args:
        kind: of the definition that has them; `bad-<kind>` is the reason of refusals.
        body: JSON object of the discounts.
        inside: the member that holds it, for refusals.

    Raises:
        Rejected: `bad-<kind>`, with one sentence.
    """
    sent = BodyReader(kind, body, ("percentage", "usage"), inside=inside)
    percentage, usage = sent.nested("percentage"), sent.nested("usage")
    share = free = None
    if percentage is not None:
        part = BodyReader(kind, percentage, ("percentage",), inside=f"{inside} percentage")
        scaled = part.at_least_zero("percentage")
        if scaled is None or scaled > _HUNDRED:
            part.refuse(f"{part.kind} percentage must be a number from 0 to 100")
        share = PercentageDiscount(Decimal(number.text(scaled)))
    if usage is not None:
        part = BodyReader(kind, usage, ("quantity",), inside=f"{inside} usage")
        quantity = part.at_least_zero("quantity")
        if quantity is None:
            part.refuse(f"{part.kind} quantity is required")
        free = UsageDiscount(number.text(quantity))
    return Discounts(share, free)


def discounts_json(discounts: Discounts) -> dict[str, object]:
    """Discounts as answers show them.

    >>> msgspec.json.encode(discounts_json(Discounts(PercentageDiscount(Decimal("12.5")), UsageDiscount("3"))))
    b'{"percentage":{"percentage":12.5},"usage":{"quantity":"3"}}'
    """
    shown: dict[str, object] = {}
    if discounts.percentage is not None:
        shown["percentage"] = {"percentage": json_number.plain(discounts.percentage.percentage)}
    if discounts.usage is not None:
        shown["usage"] = {"quantity": discounts.usage.quantity}
    return shown


def read_unit_config(kind: str, body: Mapping[str, object], inside: str = "unitConfig") -> UnitConfig:
    """The conversion of units that a client sent.

    Args:
        kind: of the definition that has it; `bad-<kind>` is the reason of refusals.
        body: JSON object of the conversion.
        inside: the member that holds it, for refusals.

    Raises:
        Rejected: `bad-<kind>`, with one sentence.
    """
    members = ("operation", "conversionFactor", "rounding", "precision", "displayUnit")
    sent = BodyReader(kind, body, members, inside=inside)
    operation: Operation | None = sent.one_of("operation", get_args(Operation))
    if operation is None:
        sent.refuse(f"{sent.kind} operation is required")
    factor = sent.at_least_zero("conversionFactor")
    if not factor:
        sent.refuse(f"{sent.kind} conversionFactor must be above 0")
    rounding: UnitRounding = sent.one_of("rounding", get_args(UnitRounding)) or "none"
    return UnitConfig(
        operation=operation,
        conversion_factor=number.text(factor),
        rounding=rounding,
        precision=sent.integer("precision", 0, number.DECIMALS) or 0,
        display_unit=sent.text("displayUnit", 64),
    )
