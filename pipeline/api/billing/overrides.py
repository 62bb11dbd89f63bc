"""`/billing/customers`: which billing profile a customer has, in OpenMeter's JSON.

Owns: the routes, which customers the list selects. Does not own: which overrides are allowed
(core.invoices.profile_commands), the profile's own form (profiles).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.billing.profile_answers import BillingOverrideAnswer, BillingOverridePage
from pipeline.api.billing.profile_bodies import OverrideBody
from pipeline.api.billing.profiles import expanded_apps, look_up
from pipeline.api.customers.lookup import Substring, has_part
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.paging import Paged, Several, ordered, paginated, split
from pipeline.api.http.paths import Router
from pipeline.api.http.submit import definitions, submit
from pipeline.core.customers.customer import Customer
from pipeline.core.invoices.profile import CODES, refuse
from pipeline.core.invoices.profile_json import profile_json
from pipeline.core.invoices.profiles_now import ProfilesNow
from pipeline.errors import Rejected

router = Router(prefix="/billing/customers", tags=["billing"])
READ, WRITE = [Depends(needs("query"))], [Depends(needs("billing:write"))]
ORDER_BY = {
    "customerId": "id", "customerName": "name", "customerKey": "key", "customerPrimaryEmail": "primaryEmail",
    "customerCreatedAt": "createdAt",
}  # fmt: skip
REASONS = ["bad-billing-override", "profile_not_found",
           *sorted(code for code in CODES if code.startswith("customer"))]  # fmt: skip
OF_CUSTOMER = ("supplier", "workflow", "apps", "timeZone", "numbering", "taxRates")
ExpandOverride = Annotated[
    list[Literal["apps", "customer"]] | None,
    Query(description="apps: whole apps instead of their ids; customer: the customer too"),
]


@router.get(
    "",
    summary="Customers with their overrides",
    dependencies=READ,
    **described(answer=BillingOverridePage, reasons=["bad-query"]),
)
def list_overrides(
    request: Request,
    page: Paged,
    billingProfile: Annotated[Several, Query(description="ids: only customers with one of them")] = None,
    customersWithoutPinnedProfile: Annotated[
        bool, Query(description="only customers whose override names no profile, or that have none")
    ] = False,
    includeAllCustomers: Annotated[bool, Query(description="customers without an override too")] = True,
    customerId: Several = None,
    customerName: Substring = None,
    customerKey: Substring = None,
    customerPrimaryEmail: Substring = None,
    expand: ExpandOverride = None,
    orderBy: Annotated[str | None, Query(description=", ".join(ORDER_BY))] = None,
) -> dict[str, Any]:
    """One page of customers that are not deleted, by id: the override of each, and the profile that is in force."""
    if orderBy is not None and orderBy not in ORDER_BY:
        raise Rejected("bad-query", f"orderBy must be one of {' '.join(ORDER_BY)}")
    ids, profile_ids = split(customerId), split(billingProfile)
    found = [
        customer
        for customer in definitions(request).customers(namespace_of(request))
        if (not ids or customer.id in ids)
        and has_part(customer.name, customerName)
        and has_part(customer.key, customerKey)
        and has_part(customer.primary_email, customerPrimaryEmail)
    ]
    rows = ordered(
        (one.members for one in found), ORDER_BY[orderBy or "customerId"], tuple(ORDER_BY.values()), page
    )
    by_id = {customer.id: customer for customer in found}

    def listed(profiles: ProfilesNow) -> dict[str, Any]:
        kept = [
            row
            for row in rows
            if _selected(profiles, row["id"], customersWithoutPinnedProfile, includeAllCustomers)
            and (not profile_ids or profiles.in_force(row["id"]).id in profile_ids)
        ]
        cut = paginated(kept, page)
        return {**cut, "items": [_shown(profiles, by_id[one["id"]], expand) for one in cut["items"]]}

    return look_up(request, listed)


@router.get(
    "/{customerIdOrKey}",
    summary="One customer's override",
    dependencies=READ,
    **described(answer=BillingOverrideAnswer, reasons=["customer_not_found"]),
)
def get_override(request: Request, customerIdOrKey: str, expand: ExpandOverride = None) -> dict[str, Any]:
    """A customer without an override has the default profile, and no `customerOverride`."""
    customer = _customer(request, customerIdOrKey)
    return look_up(request, lambda profiles: _shown(profiles, customer, expand))


@router.put(
    "/{customerIdOrKey}",
    summary="Set a customer's override",
    dependencies=WRITE,
    **described(OverrideBody, BillingOverrideAnswer, reasons=REASONS),
)
def upsert_override(
    request: Request, customerIdOrKey: str, override: Annotated[dict[str, Any], Body()]
) -> dict[str, Any]:
    """The customer has this profile; without `billingProfileId`, the default profile, whichever it is then."""
    if "customerId" in override:
        raise Rejected(
            "bad-billing-override",
            "billing-override customerId is named by the path: leave it out of the body",
        )
    submit(request, "billing-override.upsert", {**override, "customerId": customerIdOrKey})
    return get_override(request, customerIdOrKey)


@router.delete(
    "/{customerIdOrKey}",
    status_code=204,
    summary="Delete a customer's override",
    dependencies=WRITE,
    **described(status=204, reasons=REASONS),
)
def delete_override(request: Request, customerIdOrKey: str) -> Response:
    """The customer has the default profile."""
    submit(request, "billing-override.delete", {"customerId": customerIdOrKey})
    return Response(status_code=204)


def _customer(request: Request, id_or_key: str) -> Customer:
    found = definitions(request).customer(namespace_of(request), id_or_key)
    return refuse("customer_not_found") if found is None else found


def _selected(profiles: ProfilesNow, customer_id: str, unpinned: bool, everyone: bool) -> bool:
    if everyone and not unpinned:
        return True
    override = profiles.override(customer_id)
    has_one = override is not None and not override.is_deleted
    if unpinned:
        return not has_one or override is None or override.billing_profile_id is None
    return has_one


def _shown(profiles: ProfilesNow, customer: Customer, expand: ExpandOverride) -> dict[str, Any]:
    override, profile = profiles.override(customer.id), profiles.in_force(customer.id)
    whole = profile_json(profile)
    if "apps" in (expand or ()):
        whole["apps"] = expanded_apps(profiles, profile)
    found: dict[str, Any] = {
        "baseBillingProfileId": profile.id,
        "customerProfile": {name: whole[name] for name in OF_CUSTOMER},
    }
    if override is not None and not override.is_deleted:
        found["customerOverride"] = override.members
    if "customer" in (expand or ()):
        found["customer"] = customer.members
    return found
