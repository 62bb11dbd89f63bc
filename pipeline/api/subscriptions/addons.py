"""`/subscriptions/{subscriptionId}/addons`: the add-ons that a customer bought for a subscription.

Owns: the shape of requests and answers. Does not own: what may be bought (core.subscriptions.subscription_addons).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import Body, Depends, Request, Response

from pipeline.api.http.auth import needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paths import ChangesBills, Router
from pipeline.api.subscriptions.answers import SubscriptionAddonAnswer
from pipeline.api.subscriptions.bodies import SubscriptionAddonBody, SubscriptionAddonChangeBody
from pipeline.api.subscriptions.subscription_answer import changed, shown_addon, stored
from pipeline.core.subscriptions.subscription import QuantityChange
from pipeline.core.subscriptions.subscription_addons import purchase_of

router = Router(
    prefix="/subscriptions/{subscriptionId}/addons", tags=["subscriptions"], route_class=ChangesBills
)
READ, WRITE = [Depends(needs("query"))], [Depends(needs("billing:write"))]
AddonOrderRequest = Annotated[dict[str, Any], Body()]
REASONS = [
    "bad-subscription-addon", "bad-entitlement", "customer_deleted", "subscription_transition_not_allowed",
    "only_single_subscription_item_allowed_at_a_time",
]  # fmt: skip


@router.get(
    "",
    summary="Add-ons of a subscription",
    dependencies=READ,
    **described(answer=list[SubscriptionAddonAnswer]),
)
def list_subscription_addons(request: Request, subscriptionId: str) -> Response:
    """All of them, in the order in which they were bought; ended ones too."""
    subscription = stored(request, subscriptionId)
    return answer([shown_addon(subscription, one) for one in subscription.addons])


@router.post(
    "",
    status_code=201,
    summary="Buy an add-on",
    dependencies=WRITE,
    **described(
        SubscriptionAddonBody,
        SubscriptionAddonAnswer,
        status=201,
        reasons=[*REASONS, "subscription_addon_already_bought"],
    ),
)
def create_subscription_addon(request: Request, subscriptionId: str, addon: AddonOrderRequest) -> Response:
    """Its rate cards extend the items with the same keys; other keys are new items. 409 if it was bought before."""
    reply = changed(request, "addon-create", subscriptionId, addon)
    subscription = stored(request, subscriptionId)
    return answer(shown_addon(subscription, purchase_of(subscription, str(reply["addon"]))), 201)


@router.get(
    "/{subscriptionAddonId}",
    summary="One add-on of a subscription",
    dependencies=READ,
    **described(answer=SubscriptionAddonAnswer),
)
def get_subscription_addon(request: Request, subscriptionId: str, subscriptionAddonId: str) -> Response:
    """By the id of the purchase or of the add-on."""
    subscription = stored(request, subscriptionId)
    return answer(shown_addon(subscription, purchase_of(subscription, subscriptionAddonId)))


@router.patch(
    "/{subscriptionAddonId}",
    summary="Change an add-on of a subscription",
    dependencies=WRITE,
    **described(SubscriptionAddonChangeBody, SubscriptionAddonAnswer, reasons=REASONS),
)
def update_subscription_addon(
    request: Request, subscriptionId: str, subscriptionAddonId: str, addon: AddonOrderRequest
) -> Response:
    """A quantity of 0 ends it. Changes of the quantity that are scheduled for later are replaced."""
    before = stored(request, subscriptionId)
    changed(request, "addon-update", subscriptionId, addon, addon=subscriptionAddonId)
    after = stored(request, subscriptionId)
    bought = purchase_of(before, subscriptionAddonId)
    if all(one.id != bought.id for one in after.addons):  # it was never in force, so nothing of it is kept
        none = QuantityChange(max(after.updated_at_s, after.active_from_s), 0)
        return answer(shown_addon(after, msgspec.structs.replace(bought, changes=(none,))))
    return answer(shown_addon(after, purchase_of(after, bought.id)))
