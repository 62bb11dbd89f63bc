"""Billing profiles that a client sends, read member by member: whatever is wrong is refused with one sentence.

Owns: which values the members may have. Does not own: the Structs and which change is allowed (profile), the settings
(workflow_reading).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, get_args

from pipeline.core.customers.customer import BillingAddress
from pipeline.core.definitions.body import BodyReader
from pipeline.core.invoices.numbering import Numbering, SeriesScope, check_numbering
from pipeline.core.invoices.profile import USUAL_ZONE, BillingProfile, PartyTaxId, ProfileApps, Supplier
from pipeline.core.invoices.profile_json import profile_json
from pipeline.core.invoices.workflow_reading import KIND, read_workflow
from pipeline.core.rating.tax import MAX_RATES, read_tax_rates

_MEMBERS: Final = (
    "name", "description", "metadata", "supplier", "default", "workflow", "timeZone", "numbering", "taxRates",
)  # fmt: skip
_WRITTEN: Final = ("id", "createdAt", "updatedAt", "deletedAt")
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII).fullmatch


def read_new_profile(body: Mapping[str, object], id: str, now: str) -> BillingProfile:
    """A new profile.

    Args:
        body: as sent.
        id: of the profile.
        now: RFC 3339.

    Raises:
        Rejected: `bad-billing-profile`, with one sentence.
    """
    sent = BodyReader(KIND, body, (*_MEMBERS, "apps"), _WRITTEN)
    apps = sent.nested("apps")
    if apps is None:
        sent.refuse(f"{sent.kind} apps is required")
    parts = BodyReader(KIND, apps, ("tax", "invoicing", "payment"), inside="apps")
    read = ProfileApps(*(parts.required(part, 64) for part in ("tax", "invoicing", "payment")))
    return _profile(sent, id, read, now, now)


def read_changed_profile(body: Mapping[str, object], old: BillingProfile, now: str) -> BillingProfile:
    """A profile in place of another one, whose apps it keeps.

    Raises:
        Rejected: `bad-billing-profile`, with one sentence.
    """
    sent = BodyReader(KIND, body, _MEMBERS, (*_WRITTEN, "apps"), profile_json(old))
    return _profile(sent, old.id, old.apps, old.created_at, now)


def _profile(sent: BodyReader, id: str, apps: ProfileApps, created_at: str, now: str) -> BillingProfile:
    supplier, workflow, default = sent.nested("supplier"), sent.nested("workflow"), sent.flag("default")
    if supplier is None or workflow is None or default is None:
        sent.refuse(f"{sent.kind} supplier, workflow and default are required")
    return BillingProfile(
        id=id,
        name=sent.required("name", 256),
        description=sent.text("description", 1024, multiline=True),
        metadata=sent.metadata(),
        supplier=read_supplier(supplier),
        default=default,
        workflow=read_workflow(workflow),
        apps=apps,
        time_zone=sent.zone("timeZone") or USUAL_ZONE,
        numbering=_numbering(sent.nested("numbering") or {}),
        tax_rates=read_tax_rates(KIND, sent.objects("taxRates", 0, MAX_RATES) or []),
        created_at=created_at,
        updated_at=now,
    )


def read_supplier(body: Mapping[str, object]) -> Supplier:
    """Who sends an invoice.

    Raises:
        Rejected: `bad-billing-profile`, with one sentence.
    """
    sent = BodyReader(KIND, body, ("key", "name", "taxId", "addresses"), inside="supplier")
    tax = sent.nested("taxId")
    code = None if tax is None else BodyReader(KIND, tax, ("code",), inside="supplier taxId").text("code", 32)
    return Supplier(
        key=sent.text("key", 256),
        name=sent.text("name", 256),
        tax_id=None if code is None else PartyTaxId(code),
        addresses=tuple(map(_address, sent.objects("addresses", 0, 1) or [])),
    )


def _address(body: Mapping[str, object]) -> BillingAddress:
    sent = BodyReader(KIND, body, BillingAddress.__struct_encode_fields__, inside="supplier addresses")
    country = sent.text("country", 2)
    if country is not None and not _COUNTRY(country):
        sent.refuse(f"{sent.kind} country must be two capital letters, as ISO 3166 has it")
    others = (sent.text(part, 256) for part in BillingAddress.__struct_encode_fields__[1:])
    return BillingAddress(country, *others)


def _numbering(body: Mapping[str, object]) -> Numbering:
    sent = BodyReader(KIND, body, ("prefix", "scope", "start"), inside="numbering")
    usual = Numbering()
    scope: SeriesScope | None = sent.one_of("scope", get_args(SeriesScope))
    start = sent.integer("start", 0, 10**9)
    numbering = Numbering(
        sent.text("prefix", 64) or usual.prefix, scope or usual.scope, usual.start if start is None else start
    )
    check_numbering(numbering)
    return numbering
