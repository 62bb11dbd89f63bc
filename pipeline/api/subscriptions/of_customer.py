"""`/customers/{customerIdOrKey}/subscriptions`: the subscriptions of a customer.

Owns: the list, its conditions and its order. Does not own: one subscription (subscriptions).
"""

from __future__ import annotations

from typing import Annotated, get_args

from fastapi import Depends, Query, Request, Response

from pipeline.api.customers.lookup import customer_named
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paging import Paged, Several, paginated, split
from pipeline.api.http.paths import Router
from pipeline.api.http.submit_billing import bills
from pipeline.api.subscriptions.answers import SubscriptionPage
from pipeline.api.subscriptions.subscription_answer import now_s, subscription_in
from pipeline.core.subscriptions.status import SubscriptionStatus
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.subscription_json import subscription_json
from pipeline.core.values.calendar import NEVER_S
from pipeline.errors import Rejected

router = Router(prefix="/customers/{customerIdOrKey}/subscriptions", tags=["subscriptions"])
STATUSES = get_args(SubscriptionStatus)
ORDER_BY = ("activeFrom", "activeTo")


@router.get(
    "",
    summary="Subscriptions of a customer",
    dependencies=[Depends(needs("query"))],
    **described(answer=SubscriptionPage, reasons=["bad-query"]),
)
def list_subscriptions(
    request: Request,
    customerIdOrKey: str,
    page: Paged,
    status: Several = None,
    orderBy: Annotated[str | None, Query(description=", ".join(ORDER_BY))] = None,
) -> Response:
    """One page, by their start; those without an end come last by `activeTo`. Deleted ones are not listed."""
    statuses = split(status)
    if unknown := sorted(statuses - set(get_args(SubscriptionStatus))):
        raise Rejected(
            "bad-query",
            f"status must be one of {' '.join(get_args(SubscriptionStatus))}, not {unknown[0][:64]}",
        )
    if orderBy not in (None, *ORDER_BY):
        raise Rejected("bad-query", f"orderBy must be one of {' '.join(ORDER_BY)}")
    customer = customer_named(request, customerIdOrKey)
    found = map(subscription_in, bills(request).subscriptions_of(namespace_of(request), customer.id))
    at_s = now_s()

    def place(one: Subscription) -> tuple[int, str]:
        end_s = NEVER_S if one.active_to_s is None else one.active_to_s
        return (end_s if orderBy == "activeTo" else one.active_from_s), one.id

    ordered = sorted((one for one in found if not one.is_deleted), key=place, reverse=page.descending)
    rows = [subscription_json(one, at_s) for one in ordered]
    return answer(paginated([one for one in rows if not statuses or one["status"] in statuses], page))
