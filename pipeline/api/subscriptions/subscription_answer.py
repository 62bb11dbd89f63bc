"""What the routes about subscriptions share: reading one, sending a command about one, the form of answers.

Owns: these, and which feature and entitlement an item includes. Does not own: the other members of an answer
(core.subscriptions), what a command does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import Request

from pipeline.api.catalog.version_answer import with_numbers
from pipeline.api.http.auth import namespace_of
from pipeline.api.http.submit import body_of, definitions
from pipeline.api.http.submit_billing import bills, submit_billing
from pipeline.core.catalog.feature import Feature
from pipeline.core.customers.customer import Customer
from pipeline.core.quota.entitlement import Entitlement
from pipeline.core.quota.entitlement_json import entitlement_json
from pipeline.core.subscriptions.addon_json import purchase_json
from pipeline.core.subscriptions.entitlements import given_entitlements
from pipeline.core.subscriptions.subscription import Subscription, SubscriptionAddon
from pipeline.core.subscriptions.subscription_json import Shown, expanded_json, subscription_json
from pipeline.core.subscriptions.timeline import placed_items
from pipeline.core.values import timestamp
from pipeline.errors import Rejected
from pipeline.records import BillDocument

SubscriptionJson = dict[str, Any]
_decode = msgspec.json.Decoder(Subscription).decode


def now_s() -> int:
    """Now, in seconds since 1970."""
    return time.time_ns() // 1_000_000_000


def subscription_in(document: BillDocument) -> Subscription:
    """The subscription that a document holds."""
    return _decode(document.body)


def stored(request: Request, id: str) -> Subscription:
    """A subscription of the request's namespace, deleted ones too. Raises Rejected `not-found`."""
    found = bills(request).subscription(namespace_of(request), id)
    if found is None:
        raise Rejected("not-found", f"There is no subscription {id[:256]}.")
    return subscription_in(found)


def changed(
    request: Request, action: str, subscription_id: str, sent: object = None, **named: str
) -> Mapping[str, object]:
    """The reply's body of a command about a subscription.

    Args:
        request: of the client.
        action: of the command subscription.<action>.
        subscription_id: as the path has it.
        sent: the client's JSON, None for none.
        named: what else the path names.

    Raises:
        Rejected: as decided; `not-found`.
        Unavailable: nothing is decided in time.
    """
    customer = stored(request, subscription_id).customer_id
    asked = {"id": subscription_id, "sent": sent, **named}
    return body_of(submit_billing(request, f"subscription.{action}", customer, asked))


def shown(request: Request, id: object) -> SubscriptionJson:
    """The answer with a subscription, as it is after a command."""
    return subscription_json(stored(request, str(id)), now_s())


def expanded(request: Request, subscription: Subscription, at_s: int | None = None) -> SubscriptionJson:
    """The answer with a subscription and its phases, by the items at an instant; None: now."""
    asked_s = max(now_s(), subscription.updated_at_s)
    return expanded_json(
        subscription, asked_s, asked_s if at_s is None else at_s, _included(request, subscription, asked_s)
    )


def shown_addon(subscription: Subscription, bought: SubscriptionAddon) -> SubscriptionJson:
    """The answer with an add-on of a subscription."""
    shown = purchase_json(subscription, bought, now_s())
    cards: Any = shown["rateCards"]
    numbered = with_numbers({"rateCards": [one["rateCard"] for one in cards]})["rateCards"]
    shown["rateCards"] = [{**one, "rateCard": card} for one, card in zip(cards, numbered, strict=True)]
    return shown


def instant_s(name: str, text: str | None) -> int | None:
    """Seconds since 1970 of an RFC 3339 parameter. Raises Rejected `bad-query`."""
    try:
        return None if text is None else timestamp.ms_of(text) // 1000
    except Rejected as refusal:
        raise Rejected("bad-query", f"{name} is not valid: {refusal.detail}") from refusal


def _included(request: Request, subscription: Subscription, now_s: int) -> dict[str, Shown]:
    """Feature and entitlement of each item that has a feature."""
    namespace, known = namespace_of(request), definitions(request)
    customer = known.find(Customer, namespace, subscription.customer_id)
    entitlements = {
        item: given.followed.id for given in given_entitlements(subscription) for item in given.item_ids
    }
    found: dict[str, Shown] = {}
    for placed in placed_items(subscription):
        id, item = placed.item.card.feature_id, placed.item.id
        feature = None if id is None else known.find(Feature, namespace, id)
        if feature is None:
            continue
        found[item] = {"feature": feature.shown}
        given = entitlements.get(item)
        entitlement = None if given is None else known.find(Entitlement, namespace, given)
        if entitlement is not None:
            found[item]["entitlement"] = entitlement_json(entitlement, now_s, customer)
    return found
