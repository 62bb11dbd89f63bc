"""`/billing/profiles`: how customers are billed, in OpenMeter's JSON.

Owns: the routes. Does not own: which changes are allowed (core.invoices.profile_commands), the form of a profile
(core.invoices.profile_json).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.billing.profile_answers import BillingProfileAnswer, BillingProfilePage
from pipeline.api.billing.profile_bodies import ProfileBody, ProfileUpdateBody
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.paging import Paged, ordered, paginated
from pipeline.api.http.paths import Router
from pipeline.api.http.submit import body_of, definitions, submit, with_id
from pipeline.core.definitions.kinds import BILLING_PROFILE
from pipeline.core.invoices.profile import CODES, BillingProfile, refuse
from pipeline.core.invoices.profile_json import profile_json
from pipeline.core.invoices.profiles_now import ProfilesNow

router = Router(prefix="/billing/profiles", tags=["billing"])
READ, WRITE = [Depends(needs("query"))], [Depends(needs("billing:write"))]
T = TypeVar("T")
ORDER_BY = ("createdAt", "updatedAt", "default", "name")
REASONS = ["bad-billing-profile", *sorted(code for code in CODES if "profile" in code)]
ProfileRequest = Annotated[dict[str, Any], Body()]
ExpandApps = Annotated[
    list[Literal["apps"]] | None, Query(description="apps: whole apps instead of their ids")
]


@router.get(
    "",
    summary="Billing profiles",
    dependencies=READ,
    **described(answer=BillingProfilePage, reasons=["bad-query"]),
)
def list_profiles(
    request: Request,
    page: Paged,
    includeArchived: Annotated[bool, Query(description="deleted ones too")] = False,
    expand: ExpandApps = None,
    orderBy: Annotated[str | None, Query(description=", ".join(ORDER_BY))] = None,
) -> dict[str, Any]:
    """One page of them, oldest first. Every namespace has one from the beginning."""

    def listed(profiles: ProfilesNow) -> list[dict[str, Any]]:
        found = [one for one in profiles.profiles.values() if includeArchived or not one.is_deleted]
        return [shown(profiles, one, bool(expand)) for one in found]

    return paginated(ordered(look_up(request, listed), orderBy, ORDER_BY, page), page)


@router.post(
    "",
    status_code=201,
    summary="Create a billing profile",
    dependencies=WRITE,
    **described(ProfileBody, BillingProfileAnswer, status=201, reasons=REASONS),
)
def create_profile(request: Request, profile: ProfileRequest) -> dict[str, Any]:
    """A customer is billed by the profile of its override, else by the default profile.

    An invoice keeps the settings that it was created with: no change of a profile reaches one that exists.
    """
    return body_of(submit(request, "billing-profile.create", profile))


@router.get(
    "/{profileId}",
    summary="One billing profile",
    dependencies=READ,
    **described(answer=BillingProfileAnswer, reasons=["profile_not_found"]),
)
def get_profile(request: Request, profileId: str, expand: ExpandApps = None) -> dict[str, Any]:
    """Also when it was deleted, then with `deletedAt`."""

    def found(profiles: ProfilesNow) -> dict[str, Any]:
        profile = profiles.profiles.get(profileId)
        return refuse("profile_not_found") if profile is None else shown(profiles, profile, bool(expand))

    return look_up(request, found)


@router.put(
    "/{profileId}",
    summary="Replace a billing profile",
    dependencies=WRITE,
    **described(ProfileUpdateBody, BillingProfileAnswer, reasons=REASONS),
)
def update_profile(request: Request, profileId: str, profile: ProfileRequest) -> dict[str, Any]:
    """Replaces all but the apps: what is absent has its default. What was read can be sent back with changes."""
    return body_of(submit(request, "billing-profile.update", with_id(BILLING_PROFILE, profile, profileId)))


@router.delete(
    "/{profileId}",
    status_code=204,
    summary="Delete a billing profile",
    dependencies=WRITE,
    **described(status=204, reasons=REASONS),
)
def delete_profile(request: Request, profileId: str) -> Response:
    """Refused for the default profile, and while an override names it."""
    submit(request, "billing-profile.delete", {"id": profileId})
    return Response(status_code=204)


def look_up(request: Request, question: Callable[[ProfilesNow], T]) -> T:
    """The answer to a question about the profiles of the request's namespace. Raises Unavailable."""
    namespace = namespace_of(request)
    return definitions(request).look_up(lambda index: question(ProfilesNow(index, namespace)))


def shown(profiles: ProfilesNow, profile: BillingProfile, with_apps: bool) -> dict[str, Any]:
    """A profile as answers have it. with_apps: with whole apps instead of references."""
    found = profile_json(profile)
    return {**found, "apps": expanded_apps(profiles, profile)} if with_apps else found


def expanded_apps(profiles: ProfilesNow, profile: BillingProfile) -> dict[str, Any]:
    """The apps of a profile, each whole."""
    app = profiles.app(profile).shown  # one for all
    return dict.fromkeys(profile.apps.__struct_fields__, app)
