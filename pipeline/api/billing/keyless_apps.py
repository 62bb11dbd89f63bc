"""`/marketplace/listings/{listingType}/install`: apps that need no key, in OpenMeter's JSON.

Owns: the route. Does not own: what is installed (core.invoices.keyless_app_commands), apps with a key (apps).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, Request

from pipeline.api.billing.answers import KeylessAppInstalledAnswer
from pipeline.api.billing.bodies import KeylessAppInstallBody
from pipeline.api.http.auth import needs
from pipeline.api.http.described import described
from pipeline.api.http.paths import Router
from pipeline.api.http.submit import body_of, recorded, submit
from pipeline.core.billing.marketplace import LISTINGS
from pipeline.core.definitions.kinds import APP
from pipeline.core.invoices.keyless_app_commands import KEYLESS
from pipeline.errors import Rejected

router = Router(prefix="/marketplace/listings", tags=["billing"])


@router.post(
    "/{listingType}/install",
    summary="Install an app that needs no key",
    dependencies=[Depends(needs("billing:write"))],
    **described(KeylessAppInstallBody, KeylessAppInstalledAnswer, reasons=["bad-app"], optional=True),
)
def install(
    request: Request, listingType: str, app: Annotated[dict[str, Any] | None, Body()] = None
) -> dict[str, Any]:
    """`sandbox` and `custom_invoicing`. A billing profile comes with it, unless `createBillingProfile` is false.

    The profile of custom_invoicing becomes the default where the default profile has a sandbox.
    """
    asked = app or {}
    with recorded(request, "app.add", {"type": listingType[:64]}):
        _check_listing(listingType, asked)
    return body_of(submit(request, "app.add", {**asked, "type": listingType}))


def _check_listing(listing: str, asked: dict[str, Any]) -> None:
    if listing not in LISTINGS:
        raise Rejected("not-found", f"There is no listing {listing[:64]}: there are {', '.join(LISTINGS)}.")
    if listing not in KEYLESS:
        raise Rejected(
            "bad-app",
            f"app {listing} needs a key: send it to POST .../listings/{listing}/install/apikey",
        )
    if "type" in asked:
        raise Rejected(f"bad-{APP}", "app type is named by the path: leave it out of the body")
