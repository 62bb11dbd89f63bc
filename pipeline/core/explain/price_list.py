"""A list of prices that takes the place of those which subscriptions have, to see what they would have cost.

Owns: reading the list, a subscription with its prices. Does not own: prices (catalog), what they cost (price_replay).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pipeline.core.catalog.price import FlatPrice, Price
from pipeline.core.catalog.price_reading import read_price
from pipeline.core.catalog.price_terms import Discounts, UnitConfig, read_discounts, read_unit_config
from pipeline.core.definitions.body import BodyReader
from pipeline.core.subscriptions.subscription import Subscription, SubscriptionItem, SubscriptionPhase
from pipeline.errors import Rejected

KIND = "price-list"
MOST_PRICES = 1_000


class ListedPrice(msgspec.Struct, frozen=True, kw_only=True):
    """The price of a rate card.

    Attributes:
        key: of the rate card.
        plan: key of the plan whose subscriptions have it; None: all.
        price: None: free.
    """

    key: str
    plan: str | None
    price: Price | None
    discounts: Discounts | None
    unit_config: UnitConfig | None


def read_price_list(body: Mapping[str, object]) -> list[ListedPrice]:
    """The prices that a client sent.

    Args:
        body: `rateCards`: a list of {key, planKey?, price, discounts?, unitConfig?}.

    Raises:
        Rejected: `bad-price-list`.
    """
    sent = BodyReader(KIND, body, ("rateCards",))
    cards = sent.objects("rateCards", 1, MOST_PRICES)
    if cards is None:
        sent.refuse(f"{sent.kind} rateCards is required")
    found = [_listed(card, f"rateCards[{place}]") for place, card in enumerate(cards)]
    names = [(one.plan, one.key) for one in found]
    for place, name in enumerate(names):
        if name in names[:place]:
            sent.refuse(f"{sent.kind} rateCards has two prices for {name[1]}")
    return found


def with_prices(subscription: Subscription, prices: list[ListedPrice]) -> Subscription:
    """The subscription as it would be with the prices of the list. Rate cards that are not listed stay as they are.

    Raises:
        Rejected: `bad-price-list`: a rate card without a feature would have a price by usage.
    """
    plan = None if subscription.plan is None else subscription.plan.key
    listed = {
        one.key: one
        for one in sorted(prices, key=lambda one: one.plan is not None)
        if one.plan in (None, plan)
    }
    return msgspec.structs.replace(
        subscription, phases=tuple(_phase(phase, listed) for phase in subscription.phases)
    )


def check_listed(subscriptions: Iterable[Subscription], prices: list[ListedPrice]) -> None:
    """A price that no subscription has is a mistake of its key: it would change nothing.

    Args:
        subscriptions: of all customers that are asked for; none: no price can be checked. They are read only until
            every price is found.
        prices: of the list.

    Raises:
        Rejected: `bad-price-list`, with the key.
    """
    missing = {(one.plan, one.key) for one in prices}
    has_any = False
    for subscription in subscriptions:
        has_any = True
        plan = None if subscription.plan is None else subscription.plan.key
        keys = {
            item.card.key
            for phase in subscription.phases
            for items in phase.timelines.values()
            for item in items
        }
        missing = {
            (of_plan, key) for of_plan, key in missing if of_plan not in (None, plan) or key not in keys
        }
        if not missing:
            return
    if has_any:
        of_plan, key = min(missing, key=lambda one: (one[1], one[0] or ""))
        where = "" if of_plan is None else f" of the plan {of_plan}"
        raise Rejected(f"bad-{KIND}", f"No subscription{where} has a rate card with the key {key}.")


def _listed(body: Mapping[str, object], inside: str) -> ListedPrice:
    sent = BodyReader(KIND, body, ("key", "planKey", "price", "discounts", "unitConfig"), inside=inside)
    price, discounts, config = sent.nested("price"), sent.nested("discounts"), sent.nested("unitConfig")
    if "price" not in body:
        sent.refuse(f"{sent.kind} price is required; null: free")
    read = None if price is None else read_price(KIND, price, f"{inside}.price")
    if config is not None and (read is None or isinstance(read, FlatPrice)):
        sent.refuse(f"{sent.kind} unitConfig needs a price by usage")
    return ListedPrice(
        key=sent.required("key", 64),
        plan=sent.text("planKey", 64),
        price=read,
        discounts=None if discounts is None else read_discounts(KIND, discounts, f"{inside}.discounts"),
        unit_config=None if config is None else read_unit_config(KIND, config, f"{inside}.unitConfig"),
    )


def _phase(phase: SubscriptionPhase, listed: Mapping[str, ListedPrice]) -> SubscriptionPhase:
    timelines = {
        key: tuple(_item(item, listed.get(item.card.key)) for item in items)
        for key, items in phase.timelines.items()
    }
    return msgspec.structs.replace(phase, timelines=timelines)


def _item(item: SubscriptionItem, listed: ListedPrice | None) -> SubscriptionItem:
    if listed is None:
        return item
    by_usage = listed.price is not None and not isinstance(listed.price, FlatPrice)
    if by_usage and item.card.feature_key is None:
        raise Rejected(
            f"bad-{KIND}", f"The rate card {listed.key} has no feature, so it cannot have a price by usage."
        )
    card = msgspec.structs.replace(
        item.card, price=listed.price, discounts=listed.discounts, unit_config=listed.unit_config
    )
    return msgspec.structs.replace(item, card=card)
