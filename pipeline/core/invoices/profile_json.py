"""A billing profile and a customer's override as answers show them, in OpenMeter's JSON.

Owns: the forms. Does not own: the definitions (profile), the settings' own JSON (workflow).
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` BillingProfile, BillingProfileAppsOrReference,
BillingProfileCustomerOverrideWithDetails. `timeZone`, `numbering`, `taxRates` and `workflow.dunning` are ours.
"""

from __future__ import annotations

import msgspec

from pipeline.core.invoices.profile import BillingProfile, ProfileApps


def profile_json(profile: BillingProfile) -> dict[str, object]:
    """The whole profile, with its apps by reference. What has a default is shown with it."""
    settings = {
        "timeZone": profile.time_zone,
        "numbering": msgspec.to_builtins(profile.numbering),
        "taxRates": msgspec.to_builtins(list(profile.tax_rates)),
    }
    return {**profile.members, **settings, "apps": app_references(profile.apps)}


def app_references(apps: ProfileApps) -> dict[str, object]:
    """The apps of a profile, each by its id."""
    return {name: {"id": getattr(apps, name)} for name in ProfileApps.__struct_fields__}
