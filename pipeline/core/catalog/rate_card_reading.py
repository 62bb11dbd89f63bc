"""Rate cards that clients send, read member by member.

Owns: which members a rate card has and their form, finding its feature. Does not own: rules that have a code
(rate_card_validation): a value that breaks one of these is read as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import get_args

from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.entitlement_template import read_template
from pipeline.core.catalog.iso_duration import read_duration
from pipeline.core.catalog.price import FlatPrice, Price
from pipeline.core.catalog.price_reading import read_price
from pipeline.core.catalog.price_terms import (
    Discounts,
    PercentageDiscount,
    UnitConfig,
    UsageDiscount,
    read_unit_config,
)
from pipeline.core.catalog.rate_card import RateCard, RateCardType
from pipeline.core.catalog.tax_config import TaxConfig, read_tax_config
from pipeline.core.definitions.body import BodyReader
from pipeline.core.values import number

MOST_RATE_CARDS = 200
MOST_KEY = 64
MOST_NAME = 256
MOST_DESCRIPTION = 1024
_MEMBERS = (
    "type", "key", "name", "description", "metadata", "featureKey", "featureId", "entitlementTemplate", "taxConfig",
    "billingCadence", "price", "discounts", "currency", "unitConfig",
)  # fmt: skip
_STRIPE_CODE = re.compile(r"txcd_\d{8}", re.ASCII).fullmatch


def read_rate_cards(sent: BodyReader, kind: str, place: str, catalog: CatalogNow) -> tuple[RateCard, ...]:
    """The rate cards of a phase or an add-on.

    Args:
        sent: what has them.
        kind: of the definition; `bad-<kind>` is the reason of refusals.
        place: of `sent` in the definition, "" for the definition itself.
        catalog: where features are found.

    Raises:
        Rejected: `bad-<kind>`, with one sentence.
    """
    bodies = sent.objects("rateCards", 0, MOST_RATE_CARDS)
    if bodies is None:
        sent.refuse(f"{sent.kind} rateCards is required")
    before = f"{place}." if place else ""
    return tuple(
        read_rate_card(kind, body, f"{before}rateCards[{number}]", catalog)
        for number, body in enumerate(bodies)
    )


def read_rate_card(kind: str, body: Mapping[str, object], place: str, catalog: CatalogNow) -> RateCard:
    """One rate card. place: of `body` in the definition. Raises as `read_rate_cards`."""
    sent = BodyReader(kind, body, _MEMBERS, inside=place)
    chosen: RateCardType | None = sent.one_of("type", get_args(RateCardType))
    if chosen is None:
        sent.refuse(f"{sent.kind} type is required")
    cadence = read_duration(sent, "billingCadence")
    if chosen == "usage_based" and cadence is None:
        sent.refuse(f"{sent.kind} billingCadence is required")
    price = _price(sent, kind, place, chosen)
    feature_key, feature_id = _feature(sent, catalog)
    return RateCard(
        type=chosen,
        key=sent.slug("key", MOST_KEY),
        name=sent.required("name", MOST_NAME),
        description=sent.text("description", MOST_DESCRIPTION, multiline=True),
        metadata=sent.metadata(),
        feature_key=feature_key,
        feature_id=feature_id,
        entitlement_template=read_template(sent, kind, place),
        tax_config=_tax_config(sent, kind, place),
        billing_cadence=cadence,
        price=price,
        discounts=_discounts(sent, kind, place),
        currency=sent.text("currency", 64),
        unit_config=_unit_config(sent, kind, place, price),
    )


def _price(sent: BodyReader, kind: str, place: str, chosen: RateCardType) -> Price | None:
    body = sent.nested("price")
    price = None if body is None else read_price(kind, body, f"{place}.price")
    if chosen == "flat_fee" and price is not None and not isinstance(price, FlatPrice):
        sent.refuse(f"{sent.kind} price type must be flat, since the rate card is a flat_fee")
    return price


def _feature(sent: BodyReader, catalog: CatalogNow) -> tuple[str | None, str | None]:
    """Key and id of the feature; the one that was not sent is the found feature's, if one is found."""
    key = sent.slug("featureKey", MOST_KEY) if sent.text("featureKey", MOST_KEY) else None
    id = sent.text("featureId", MOST_KEY)
    feature = None if key is None and id is None else catalog.feature(key, id)
    if feature is None:
        return key, id
    return key or feature.key, id or feature.id


def _tax_config(sent: BodyReader, kind: str, place: str) -> TaxConfig | None:
    body = sent.nested("taxConfig")
    return None if body is None else read_tax_config(kind, body, f"{place}.taxConfig", ".")


def _discounts(sent: BodyReader, kind: str, place: str) -> Discounts | None:
    """Discounts of any size: those that are too large or negative have a code."""
    body = sent.nested("discounts")
    if body is None:
        return None
    parts = BodyReader(kind, body, ("percentage", "usage"), inside=f"{place}.discounts")
    share = _discount(parts, kind, f"{place}.discounts", "percentage", "percentage")
    free = _discount(parts, kind, f"{place}.discounts", "usage", "quantity")
    return Discounts(
        None if share is None else PercentageDiscount(Decimal(share)),
        None if free is None else UsageDiscount(free),
    )


def _discount(parts: BodyReader, kind: str, place: str, name: str, amount: str) -> str | None:
    body = parts.nested(name)
    if body is None:
        return None
    one = BodyReader(kind, body, (amount,), inside=f"{place}.{name}")
    scaled = one.amount(amount)
    if scaled is None:
        one.refuse(f"{one.kind} {amount} is required")
    return number.text(scaled)


def _unit_config(sent: BodyReader, kind: str, place: str, price: Price | None) -> UnitConfig | None:
    body = sent.nested("unitConfig")
    if body is None:
        return None
    if price is None or isinstance(price, FlatPrice):
        sent.refuse(f"{sent.kind} unitConfig needs a price by usage")
    return read_unit_config(kind, body, f"{place}.unitConfig")
