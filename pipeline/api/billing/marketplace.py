"""`/marketplace/listings`: what can be connected, in OpenMeter's JSON.

Owns: the routes. Does not own: the listings (core.billing.marketplace), connecting one (apps).
There is no broker between an installation and Stripe, so an account is connected by its key: both OAuth2 routes answer
501, as OpenMeter's do.
"""

from __future__ import annotations

from typing import Any

from fastapi import Depends, Request

from pipeline.api.billing.answers import ListingAnswer, ListingPage
from pipeline.api.http.auth import needs
from pipeline.api.http.described import described
from pipeline.api.http.paging import PagedInOrder, ordered, paginated
from pipeline.api.http.paths import OpenRouter, Router
from pipeline.core.billing.marketplace import LISTINGS, NO_CREDENTIALS, install_methods
from pipeline.errors import Rejected

READ, WRITE = [Depends(needs("query"))], [Depends(needs("billing:write"))]
router = Router(prefix="/marketplace/listings", tags=["billing"])

# A provider may send parameters of any name.
oauth2 = OpenRouter(prefix="/marketplace/listings", tags=["billing"])


@router.get("", summary="What can be connected", dependencies=READ, **described(answer=ListingPage))
def list_listings(request: Request, page: PagedInOrder) -> dict[str, Any]:
    """One page of listings, sorted by type."""
    return paginated(ordered(LISTINGS.values(), None, ("type",), page), page)


@router.get("/{listingType}", summary="One listing", dependencies=READ, **described(answer=ListingAnswer))
def get_listing(request: Request, listingType: str) -> dict[str, object]:
    """By its type: `sandbox`, `stripe` or `custom_invoicing`."""
    return _listing(listingType)


@router.get(
    "/{listingType}/install/oauth2",
    summary="Where to connect by OAuth2",
    dependencies=WRITE,
    **described(status=204, reasons=["oauth2-off"]),
)
def oauth2_url(request: Request, listingType: str) -> None:
    """Always 501: an account is connected by its key."""
    _refuse_oauth2(listingType)


@oauth2.get(
    "/{listingType}/install/oauth2/authorize",
    summary="Connect by OAuth2",
    dependencies=WRITE,
    **described(status=204, reasons=["oauth2-off"]),
)
def oauth2_authorize(request: Request, listingType: str) -> None:
    """Always 501: an account is connected by its key."""
    _refuse_oauth2(listingType)


def _listing(type: str) -> dict[str, object]:
    found = LISTINGS.get(type)
    if found is None:
        raise Rejected("not-found", f"There is no listing {type[:64]}: there are {', '.join(LISTINGS)}.")
    return found


def _refuse_oauth2(type: str) -> None:
    path = f"POST /api/v1/marketplace/listings/{type}/install"
    sent = path if NO_CREDENTIALS in install_methods(_listing(type)) else f"{path}/apikey, with a key"
    raise Rejected("oauth2-off", f"Apps are not installed by OAuth2: send {sent}.")
