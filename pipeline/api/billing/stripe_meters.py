"""`/billing/stripe/meters`: which meter's usage goes to which meter of Stripe.

Owns: the routes. Does not own: which mappings there may be (core.billing.stripe_meter_commands), calls to Stripe
(stripe_calls). OpenMeter has no such routes.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.billing.answers import StripeMeterAnswer, StripeMeterPage
from pipeline.api.billing.bodies import StripeMeterBody
from pipeline.api.billing.stripe_calls import app_of, meter_at_stripe
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.bulkheads import loaded
from pipeline.api.http.described import described
from pipeline.api.http.paging import Paged, ordered, paginated
from pipeline.api.http.paths import Router
from pipeline.api.http.services import services_of
from pipeline.api.http.submit import (
    CommandBody,
    audited,
    body_of,
    definitions,
    submit,
    submit_in_turn,
    with_id,
)
from pipeline.core.billing.stripe_meter import StripeMeter
from pipeline.core.billing.stripe_meter_commands import CHECKED
from pipeline.core.definitions.kinds import STRIPE_METER
from pipeline.errors import Rejected

router = Router(prefix="/billing/stripe/meters", tags=["billing"])
READ, WRITE = [Depends(needs("query"))], [Depends(needs("billing:write"))]
ORDER_BY = ("id", "meterSlug", "eventName", "createdAt", "updatedAt")
REASONS = ["not-found", "bad-stripe-meter", "stripe-meter-conflict", "app-conflict", "bad-app", "stripe-key-refused",
           "stripe-refused", "sealed"]  # fmt: skip
MappingRequest = Annotated[dict[str, Any], Body()]
MappingJson = dict[str, Any]


@router.get(
    "", summary="Mappings of meters to Stripe", dependencies=READ, **described(answer=StripeMeterPage)
)
def list_mappings(
    request: Request,
    page: Paged,
    includeDeleted: bool = False,
    orderBy: Annotated[str | None, Query(description=", ".join(ORDER_BY))] = None,
) -> MappingJson:
    """One page, oldest first."""
    found = definitions(request).all(StripeMeter, namespace_of(request))
    rows = [one.shown for one in found if includeDeleted or not one.is_deleted]
    return paginated(ordered(rows, orderBy, ORDER_BY, page), page)


@router.post(
    "",
    status_code=201,
    summary="Map a meter to a meter of Stripe",
    dependencies=WRITE,
    **described(StripeMeterBody, StripeMeterAnswer, status=201, reasons=REASONS),
)
async def create_mapping(request: Request, mapping: MappingRequest) -> MappingJson:
    """From `from` on, the usage of each window and customer is sent once it has ended, and its later changes after it.

    The meter at Stripe must be active and have the formula sum; it gets the usage of one mapping. After a mapping has
    ended, the next one for the same meter of Stripe begins where it ended.
    """
    await loaded(services_of(request).definitions)
    checks = _checked(request, mapping.get("appId"), mapping.get("eventName"))
    added = await audited(request, "stripe-meter.create", {}, checks)
    return body_of(await submit_in_turn(request, "stripe-meter.create", mapping, added))


@router.get("/{mappingId}", summary="One mapping", dependencies=READ, **described(answer=StripeMeterAnswer))
def get_mapping(request: Request, mappingId: str) -> MappingJson:
    """Also when it has ended, then with `deletedAt`."""
    found = definitions(request).find(StripeMeter, namespace_of(request), mappingId)
    if found is None:
        raise Rejected("not-found", f"There is no mapping with the id {mappingId[:64]}.")
    return found.shown


@router.put(
    "/{mappingId}",
    summary="Change a mapping",
    dependencies=WRITE,
    **described(StripeMeterBody, StripeMeterAnswer, reasons=REASONS),
)
async def update_mapping(request: Request, mappingId: str, mapping: MappingRequest) -> MappingJson:
    """Until the first window begins all but the app and the meter can be changed, afterwards only `metadata`: what was
    sent must stay what the mapping says. Optional members that are absent stay as they are.
    """
    await loaded(services_of(request).definitions)
    stored, event_name = (
        definitions(request).find(StripeMeter, namespace_of(request), mappingId),
        mapping.get("eventName"),
    )
    added: CommandBody = {}
    if stored is not None and event_name not in (None, stored.event_name):
        checks = _checked(request, stored.app_id, event_name)
        added = await audited(request, "stripe-meter.update", {"id": mappingId}, checks)
        added.pop("appId")
    asked = with_id(STRIPE_METER, mapping, mappingId)
    return body_of(await submit_in_turn(request, "stripe-meter.update", asked, added))


@router.delete(
    "/{mappingId}",
    status_code=204,
    summary="End a mapping",
    dependencies=WRITE,
    **described(status=204, reasons=["bad-stripe-meter"]),
)
def delete_mapping(request: Request, mappingId: str) -> Response:
    """Nothing more is sent by it, and what was sent stays at Stripe. Usage of the window in progress is not sent."""
    submit(request, "stripe-meter.delete", {"id": mappingId})
    return Response(status_code=204)


async def _checked(request: Request, app_id: object, event_name: object) -> CommandBody:
    """The app, and what Stripe has for an event name; nothing where it has nothing, which control refuses."""
    app = app_of(request, app_id)
    if not isinstance(event_name, str) or not event_name:
        return {"appId": app.id}
    found = await meter_at_stripe(request, app, event_name)
    if found is None:
        return {"appId": app.id}
    return {
        "appId": app.id,
        CHECKED: {
            "stripeMeterId": found.id, "customerKey": found.customer_key, "valueKey": found.value_key,
            "formula": found.formula, "active": found.active,
        }
    }  # fmt: skip
