"""What is wrong with the rate cards of a phase or an add-on.

Owns: the rules about one card, and about the cards of a list. Does not own: rules about the plan or add-on around them
(plan_validation, addon_validation), the form of a card (rate_card_reading).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.core.catalog import currency as currencies
from pipeline.core.catalog.catalog_issue import ROOT, CatalogIssue, below, issue, member, of_place
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.entitlement_template import template_issues
from pipeline.core.catalog.iso_duration import exact_duration
from pipeline.core.catalog.rate_card import RateCard

RATE_CARDS = "ratecards"  # as paths spell them


def rate_card_issues(cards: Sequence[RateCard], catalog: CatalogNow) -> Iterator[CatalogIssue]:
    """What is wrong with each card, and keys that occur twice; paths from what has the cards."""
    keys = set[str]()
    for place, card in enumerate(cards):
        path = of_place(ROOT, RATE_CARDS, place)
        if card.key in keys:
            yield issue("rate_card_duplicated_key", member(path, "key"))
        keys.add(card.key)
        yield from below(path, _card_issues(card, catalog))


def _card_issues(card: RateCard, catalog: CatalogNow) -> Iterator[CatalogIssue]:
    yield from _feature_issues(card, catalog)
    if card.billing_cadence is not None:
        cadence = exact_duration(card.billing_cadence)
        if cadence.is_negative or cadence.is_below_an_hour:
            yield issue("billing_cadence_invalid_value", member(ROOT, "billingCadence"))
    if card.entitlement_template is not None:
        path = member(ROOT, "entitlementTemplate")
        if card.feature_key is None:
            yield issue("entitlement_template_with_no_feature", member(ROOT, "featureKey"))
        yield from below(path, template_issues(card.entitlement_template))
    yield from _discount_issues(card)
    if card.currency is not None:
        yield from currency_issues(card.currency)


def _feature_issues(card: RateCard, catalog: CatalogNow) -> Iterator[CatalogIssue]:
    path = member(ROOT, "featureKey")
    if card.feature_key is None and card.feature_id is None:
        if card.is_priced_by_usage:
            yield issue("usage_based_price_with_no_feature", path)
        return
    if card.feature_key is not None and card.key != card.feature_key:
        yield issue("rate_card_key_feature_key_mismatch", member(ROOT, "key"))
    feature = catalog.feature(card.feature_key, card.feature_id)
    if feature is None:
        yield issue("rate_card_feature_not_found", path)
        return
    if card.feature_key is not None and feature.key != card.feature_key:
        yield issue("rate_card_feature_mismatch", path)
    if feature.archived_at is not None:
        yield issue("rate_card_feature_archived", path)
    if card.is_priced_by_usage and not catalog.has_meter(feature):
        yield issue("usage_based_price_with_feature_and_no_meter", path)


def _discount_issues(card: RateCard) -> Iterator[CatalogIssue]:
    discounts, path = card.discounts, member(ROOT, "discounts")
    if discounts is None:
        return
    if discounts.percentage is not None and not 0 <= discounts.percentage.percentage <= 100:
        yield issue("percentage_discount_invalid_value", f"{path}.percentage.percentage")
    if discounts.usage is not None:
        if discounts.usage.quantity.startswith("-"):
            yield issue("usage_discount_negative_quantity", f"{path}.usage.quantity")
        if not card.is_priced_by_usage:
            yield issue("usage_discount_with_flat_price", f"{path}.usage")


def currency_issues(code: str) -> Iterator[CatalogIssue]:
    """What is wrong with the code of a currency."""
    path = member(ROOT, "currency")
    if not currencies.is_code(code):
        yield issue("currency_invalid", path)
    elif code not in currencies.CURRENCIES:
        yield issue("currency_not_found", path)
