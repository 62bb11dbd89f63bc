"""What is wrong with a version of an add-on.

Owns: the rules about an add-on alone. Does not own: rules about rate cards (rate_card_validation) and about an add-on
of a plan (plan_addon_validation).
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.core.catalog.addon import INSTANCE_TYPES, Addon
from pipeline.core.catalog.catalog_issue import ROOT, CatalogIssue, issue, member, of_place
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.iso_duration import are_equal
from pipeline.core.catalog.rate_card_validation import RATE_CARDS, rate_card_issues
from pipeline.core.catalog.version_validation import version_issues


def addon_issues(addon: Addon, catalog: CatalogNow) -> list[CatalogIssue]:
    """All that is wrong with an add-on, by the definitions as they are.

    Args:
        addon: a version, stored or about to be.
        catalog: where features and meters are found.
    """
    return list(_issues(addon, catalog))


def _issues(addon: Addon, catalog: CatalogNow) -> Iterator[CatalogIssue]:
    if not addon.key:
        yield issue("addon_key_empty", member(ROOT, "key"))
    if not addon.name:
        yield issue("addon_name_empty", member(ROOT, "name"))
    yield from version_issues(addon)
    if addon.instance_type not in INSTANCE_TYPES:
        yield issue("addon_invalid_instance_type", member(ROOT, "instanceType"))
    if not addon.rate_cards:
        yield issue("addon_has_no_rate_cards", member(ROOT, "rateCards"))
    yield from rate_card_issues(addon.rate_cards, catalog)
    yield from _cadence_issues(addon)
    for place, card in enumerate(addon.rate_cards):
        path = of_place(ROOT, RATE_CARDS, place)
        if addon.instance_type == "multiple" and card.is_priced_by_usage:
            yield issue("addon_invalid_ratecard_price_for_multi_instance", member(path, "price"))
        if card.currency is not None and card.currency != addon.currency:
            yield issue("plan_multiple_fiat_currencies", member(path, "currency"))


def _cadence_issues(addon: Addon) -> Iterator[CatalogIssue]:
    """The cards whose cadence is another one than that of the first recurring card with a price."""
    recurring = [
        (place, card.recurring_cadence)
        for place, card in enumerate(addon.rate_cards)
        if card.recurring_cadence is not None
    ]
    for place, cadence in recurring[1:]:
        if not are_equal(cadence, recurring[0][1]):
            path = member(of_place(ROOT, RATE_CARDS, place), "billingCadence")
            yield issue("rate_card_multiple_billing_cadence", path)
