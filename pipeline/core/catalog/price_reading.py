"""Prices that clients send, read member by member: whatever is wrong with one is refused with one sentence.

Owns: which values a price may have, and the canonical text of each. Does not own: the Structs (price).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from pipeline.core.catalog.price import (
    DynamicPrice,
    FlatPrice,
    GraduatedPercentagePrice,
    PackagePrice,
    PaymentTerm,
    PercentagePrice,
    PercentageTier,
    Price,
    PriceTier,
    TieredPrice,
    TierFlatPrice,
    TierMode,
    TierUnitPrice,
    UnitPrice,
)
from pipeline.core.definitions.body import BodyReader
from pipeline.core.values import number

TYPES = ("flat", "unit", "tiered", "dynamic", "package", "percentage", "graduated_percentage")
MAX_TIERS = 100
MAX_FREE_EVENTS = 10**9
_LIMITS = ("minimumAmount", "maximumAmount")
_OF_EVENTS = ("fixedAmount", "freeEvents", "eventMinimum", "eventMaximum")


def read_price(
    kind: str, body: Mapping[str, object], inside: str = "price", *, by_event: bool = False
) -> Price:
    """The price that a client sent.

    Args:
        kind: of the definition that has it; `bad-<kind>` is the reason of refusals.
        body: JSON object of the price.
        inside: the member that holds it, for refusals.
        by_event: whether a price may need the amount of each event. Usage is kept as sums, so that nothing that is sold
            may.

    Raises:
        Rejected: `bad-<kind>`, with one sentence.
    """
    chosen = body.get("type")
    if chosen == "flat":
        sent = BodyReader(kind, body, ("type", "amount", "paymentTerm"), inside=inside)
        term: PaymentTerm = sent.one_of("paymentTerm", get_args(PaymentTerm)) or "in_advance"
        return FlatPrice(_required(sent, "amount"), term)
    if chosen == "unit":
        sent = _sent(kind, body, inside, "amount")
        return UnitPrice(amount=_required(sent, "amount"), **_limits(sent))
    if chosen == "package":
        sent = _sent(kind, body, inside, "amount", "quantityPerPackage")
        size = _above_zero(sent, "quantityPerPackage")
        return PackagePrice(amount=_required(sent, "amount"), quantity_per_package=size, **_limits(sent))
    if chosen == "dynamic":
        sent = _sent(kind, body, inside, "multiplier")
        return DynamicPrice(multiplier=_amount(sent, "multiplier") or "1", **_limits(sent))
    if chosen == "tiered":
        return _tiered(kind, body, inside)
    if chosen == "percentage":
        return _percentage(kind, body, inside, by_event)
    if chosen == "graduated_percentage":
        sent = _sent(kind, body, inside, "tiers")
        parts = _tiers(sent, kind, inside, ("upToAmount", "rate", "flatAmount"))
        return GraduatedPercentagePrice(
            tiers=tuple(
                PercentageTier(
                    up_to_amount=bound, rate=_required(one, "rate"), flat_amount=_amount(one, "flatAmount")
                )
                for bound, one in parts
            ),
            **_limits(sent),
        )
    shown = "is required" if chosen is None else f"must be one of {', '.join(TYPES)}"
    return BodyReader(kind, body, tuple(body), inside=inside).refuse(f"{kind} {inside} type {shown}")


def _sent(kind: str, body: Mapping[str, object], inside: str, *members: str) -> BodyReader:
    return BodyReader(kind, body, ("type", *members, *_LIMITS), inside=inside)


def _amount(sent: BodyReader, member: str) -> str | None:
    scaled = sent.at_least_zero(member)
    return None if scaled is None else number.text(scaled)


def _required(sent: BodyReader, member: str) -> str:
    amount = _amount(sent, member)
    if amount is None:
        sent.refuse(f"{sent.kind} {member} is required")
    return amount


def _above_zero(sent: BodyReader, member: str) -> str:
    amount = _required(sent, member)
    if amount == "0":
        sent.refuse(f"{sent.kind} {member} must be above 0")
    return amount


def _limits(sent: BodyReader) -> dict[str, str | None]:
    least, most = _ordered(sent, *_LIMITS)
    return {"minimum_amount": least, "maximum_amount": most}


def _ordered(sent: BodyReader, lower: str, upper: str) -> tuple[str | None, str | None]:
    least, most = sent.at_least_zero(lower), sent.at_least_zero(upper)
    if least is not None and most is not None and least > most:
        sent.refuse(f"{sent.kind} {lower} must not be above {upper}")
    return _amount(sent, lower), _amount(sent, upper)


def _tiers(
    sent: BodyReader, kind: str, inside: str, members: tuple[str, ...]
) -> list[tuple[str | None, BodyReader]]:
    """The bound of each tier and its other members."""
    bodies = sent.objects("tiers", 1, MAX_TIERS)
    if bodies is None:
        sent.refuse(f"{sent.kind} tiers is required")
    read: list[tuple[str | None, BodyReader]] = []
    before = -1
    for place, body in enumerate(bodies):
        tier = BodyReader(kind, body, members, inside=f"{inside} tiers[{place}]")
        bound = tier.at_least_zero("upToAmount")
        if place == len(bodies) - 1:
            if bound is not None:
                tier.refuse(
                    f"{tier.kind} is the last tier and must have no upToAmount, or usage above it is free"
                )
            read.append((None, tier))
            continue
        if bound is None:
            tier.refuse(f"{tier.kind} upToAmount is required, since only the last tier is without a bound")
        if bound <= before:
            tier.refuse(f"{tier.kind} upToAmount must be above that of the tier before")
        before = bound
        read.append((number.text(bound), tier))
    return read


def _tiered(kind: str, body: Mapping[str, object], inside: str) -> TieredPrice:
    sent = _sent(kind, body, inside, "mode", "tiers")
    mode: TierMode | None = sent.one_of("mode", get_args(TierMode))
    if mode is None:
        sent.refuse(f"{sent.kind} mode is required")
    tiers = []
    for place, (bound, one) in enumerate(
        _tiers(sent, kind, inside, ("upToAmount", "flatPrice", "unitPrice"))
    ):
        of_tier = f"{inside} tiers[{place}]"
        flat, unit = (_part(kind, one, of_tier, name) for name in ("flat", "unit"))
        if flat is None and unit is None:
            one.refuse(f"{one.kind} must have a flatPrice or a unitPrice")
        tiers.append(
            PriceTier(
                up_to_amount=bound,
                flat_price=None if flat is None else TierFlatPrice(flat),
                unit_price=None if unit is None else TierUnitPrice(unit),
            )
        )
    return TieredPrice(mode=mode, tiers=tuple(tiers), **_limits(sent))


def _part(kind: str, tier: BodyReader, inside: str, name: str) -> str | None:
    """The amount of the flat or the unit price of a tier."""
    body = tier.nested(f"{name}Price")
    if body is None:
        return None
    part = BodyReader(kind, body, ("type", "amount"), inside=f"{inside} {name}Price")
    if part.one_of("type", (name,)) is None:
        part.refuse(f"{part.kind} type is required")
    return _required(part, "amount")


def _percentage(kind: str, body: Mapping[str, object], inside: str, by_event: bool) -> PercentagePrice:
    names: tuple[str, ...] = ("rate", "freeAmount")
    if by_event:
        names = (*names, *_OF_EVENTS)
    elif wrong := [name for name in _OF_EVENTS if name in body]:
        BodyReader(kind, body, tuple(body), inside=inside).refuse(
            f"{kind} {inside} {wrong[0]} needs the amount of each event, and usage is kept as sums: leave it out"
        )
    sent = _sent(kind, body, inside, *names)
    least, most = _ordered(sent, "eventMinimum", "eventMaximum")
    return PercentagePrice(
        rate=_required(sent, "rate"),
        fixed_amount=_amount(sent, "fixedAmount"),
        free_events=sent.integer("freeEvents", 0, MAX_FREE_EVENTS),
        free_amount=_amount(sent, "freeAmount"),
        event_minimum=least,
        event_maximum=most,
        **_limits(sent),
    )
