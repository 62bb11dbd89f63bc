"""`/subscriptions`: which plan a customer has, from when to when. Changes are decided by the billing stage.

Owns: the shape of requests and answers. Does not own: what a subscription may be (core.subscriptions), its add-ons
(addons).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.customers.lookup import customer_named
from pipeline.api.http.auth import needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paths import ChangesBills, Router
from pipeline.api.http.submit import body_of
from pipeline.api.http.submit_billing import submit_billing
from pipeline.api.subscriptions.answers import (
    ExpandedSubscriptionAnswer,
    SubscriptionAnswer,
    SuccessionAnswer,
)
from pipeline.api.subscriptions.bodies import (
    CancelationBody,
    MigrationBody,
    SubscriptionBody,
    SubscriptionChangeBody,
    SubscriptionEditBody,
)
from pipeline.api.subscriptions.subscription_answer import (
    changed,
    expanded,
    instant_s,
    shown,
    stored,
)
from pipeline.errors import Rejected

router = Router(prefix="/subscriptions", tags=["subscriptions"], route_class=ChangesBills)
READ, WRITE = [Depends(needs("query"))], [Depends(needs("billing:write"))]
SubscriptionRequest = Annotated[dict[str, Any], Body()]
OptionalChange = Annotated[dict[str, Any] | None, Body()]
ORDERED = [
    "bad-subscription", "bad-plan", "bad-entitlement", "customer_deleted",
    "only_single_subscription_allowed_per_customer_at_a_time", "only_single_subscription_item_allowed_at_a_time",
]  # fmt: skip
NOT_ALLOWED = "subscription_transition_not_allowed"


@router.post(
    "",
    status_code=201,
    summary="Create a subscription",
    dependencies=WRITE,
    **described(SubscriptionBody, SubscriptionAnswer, status=201, reasons=[*ORDERED, "not-found"]),
)
def create_subscription(request: Request, subscription: SubscriptionRequest) -> Response:
    """A customer has one subscription at a time: a second one is refused with 409, also when both come at once.

    Rate cards are copied, so that a later change of the plan does not reach it. Entitlements follow its items, within
    about a second; one that the customer has for the same feature ends where the subscription's begins.
    """
    customer = customer_named(request, _named_customer(subscription))
    reply = body_of(submit_billing(request, "subscription.create", customer.id, {"sent": subscription}))
    return answer(shown(request, reply["subscription"]), 201)


@router.get(
    "/{subscriptionId}",
    summary="One subscription",
    dependencies=READ,
    **described(answer=ExpandedSubscriptionAnswer, reasons=["bad-query"]),
)
def get_subscription(
    request: Request,
    subscriptionId: str,
    at: Annotated[str | None, Query(description="RFC 3339: whose items are shown; now by default")] = None,
) -> Response:
    """With its phases and items. A deleted one can still be read, with `deletedAt`."""
    return answer(expanded(request, stored(request, subscriptionId), instant_s("at", at)))


@router.patch(
    "/{subscriptionId}",
    summary="Edit a subscription",
    dependencies=WRITE,
    **described(
        SubscriptionEditBody,
        SubscriptionAnswer,
        reasons=["bad-subscription-edit", "bad-entitlement", "customer_deleted", NOT_ALLOWED,
                 "only_single_subscription_item_allowed_at_a_time"],
    ),
)  # fmt: skip
def edit_subscription(request: Request, subscriptionId: str, edit: SubscriptionRequest) -> Response:
    """Items and phases of an active subscription without add-ons. What has passed cannot be changed."""
    changed(request, "edit", subscriptionId, edit)
    return answer(shown(request, subscriptionId))


@router.delete(
    "/{subscriptionId}",
    status_code=204,
    summary="Delete a subscription",
    dependencies=WRITE,
    **described(status=204, reasons=["bad-subscription", NOT_ALLOWED]),
)
def delete_subscription(request: Request, subscriptionId: str) -> Response:
    """One that has not begun. A running one is canceled instead."""
    changed(request, "delete", subscriptionId)
    return Response(status_code=204)


@router.post(
    "/{subscriptionId}/cancel",
    summary="Cancel a subscription",
    dependencies=WRITE,
    **described(
        CancelationBody, SubscriptionAnswer, reasons=["bad-subscription", NOT_ALLOWED], optional=True
    ),
)
def cancel_subscription(
    request: Request, subscriptionId: str, cancelation: OptionalChange = None
) -> Response:
    """It ends at once, at the end of its billing period, or at another boundary of its billing periods."""
    changed(request, "cancel", subscriptionId, cancelation)
    return answer(shown(request, subscriptionId))


@router.post(
    "/{subscriptionId}/change",
    summary="Change the plan of a subscription",
    dependencies=WRITE,
    **described(SubscriptionChangeBody, SuccessionAnswer, reasons=[*ORDERED, NOT_ALLOWED]),
)
def change_subscription(request: Request, subscriptionId: str, change: SubscriptionRequest) -> Response:
    """It ends, and another one of the customer begins at the same instant, with the same billing periods."""
    return _succession(request, changed(request, "change", subscriptionId, change))


@router.post(
    "/{subscriptionId}/migrate",
    summary="Move a subscription to another version of its plan",
    dependencies=WRITE,
    **described(
        MigrationBody,
        SuccessionAnswer,
        reasons=[one for one in ORDERED if one != "bad-plan"] + [NOT_ALLOWED],
        optional=True,
    ),
)
def migrate_subscription(request: Request, subscriptionId: str, migration: OptionalChange = None) -> Response:
    """As a change. Its name, description, metadata and modes stay."""
    return _succession(request, changed(request, "migrate", subscriptionId, migration))


@router.post(
    "/{subscriptionId}/unschedule-cancelation",
    summary="Take back a cancelation",
    dependencies=WRITE,
    **described(
        answer=SubscriptionAnswer,
        reasons=["bad-subscription", "customer_deleted", NOT_ALLOWED,
                 "only_single_subscription_allowed_per_customer_at_a_time"],
    ),
)  # fmt: skip
def unschedule_cancelation(request: Request, subscriptionId: str) -> Response:
    """Until the subscription has ended. 409 if another one begins after it."""
    changed(request, "continue", subscriptionId)
    return answer(shown(request, subscriptionId))


@router.post(
    "/{subscriptionId}/restore",
    summary="Take back a cancelation and what is scheduled after it",
    dependencies=WRITE,
    **described(answer=SubscriptionAnswer, reasons=["bad-subscription", "customer_deleted", NOT_ALLOWED]),
)
def restore_subscription(request: Request, subscriptionId: str) -> Response:
    """Subscriptions of the customer that have not begun are deleted, and this one continues."""
    changed(request, "restore", subscriptionId)
    return answer(shown(request, subscriptionId))


def _named_customer(sent: dict[str, Any]) -> str:
    named = [one for one in (sent.get("customerId"), sent.get("customerKey")) if one is not None]
    if not named or not all(isinstance(one, str) and one for one in named):
        raise Rejected("bad-subscription", "subscription customerId or customerKey is required, as a string")
    return str(named[0])


def _succession(request: Request, reply: Any) -> Response:
    following = expanded(request, stored(request, str(reply["next"])))
    return answer({"current": shown(request, reply["current"]), "next": following})
