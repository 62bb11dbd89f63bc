"""`/portal/credits.html`: a customer's own credits, for its browser.

Owns: the route, the zone of its dates. Does not own: the token (http.auth), whose it is (portal), the page (page), its
texts (core.invoices.printed_credits).
"""

from __future__ import annotations

import time

from fastapi import Request, Response

from pipeline.api.http.auth import namespace_of
from pipeline.api.http.described import HTML, described
from pipeline.api.http.paths import Router
from pipeline.api.http.submit import definitions
from pipeline.api.http.submit_billing import bills
from pipeline.api.invoices.page import credits_response
from pipeline.api.invoices.portal import TOKEN, portal_customer
from pipeline.core.credits.credit_grant import decode_grant
from pipeline.core.invoices.printed_credits import printed_credits
from pipeline.core.invoices.profiles_now import ProfilesNow
from pipeline.core.values.zone import UTC
from pipeline.errors import Rejected

router = Router(prefix="/portal", tags=["portal"])


@router.get(
    "/credits.html", summary="The credits of a portal token's customer", dependencies=TOKEN,
    **described(answer=str, media_type=HTML),
)  # fmt: skip
def get_portal_credits(request: Request) -> Response:
    """A page to read and to print: the balance, the grants in the order in which they are used, with when they expire,
    and the newest transactions. 404 if the subject of the token belongs to no customer.
    """
    namespace, id = namespace_of(request), portal_customer(request)
    customer = definitions(request).customer(namespace, id) if id else None
    if customer is None:
        raise Rejected("not-found", "The subject of the portal token belongs to no customer.")
    view = bills(request)
    grants = [decode_grant(one.body) for one in view.credits_of(namespace, id)]
    zone = customer.time_zone or _zone(request, id)
    now_ms = time.time_ns() // 1_000_000
    return credits_response(
        printed_credits(customer.name, grants, view.ledger_of(namespace, id), now_ms, zone)
    )


def _zone(request: Request, customer: str) -> str:
    """The zone of the profile in force for a customer (id); UTC where there is none."""
    namespace = namespace_of(request)
    try:
        return definitions(request).look_up(
            lambda index: ProfilesNow(index, namespace).in_force(customer).time_zone
        )
    except Rejected:
        return UTC
