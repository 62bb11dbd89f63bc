"""A profile is shown with the defaults of what was not sent, and its apps by reference."""

from __future__ import annotations

from pipeline.core.invoices.profile_json import app_references, profile_json
from pipeline.core.invoices.profiles_now import sandbox_profile_of


def test_defaults_are_shown_and_not_stored() -> None:
    profile = sandbox_profile_of("default")
    shown = profile_json(profile)
    assert {"timeZone", "numbering", "taxRates"}.isdisjoint(profile.members)
    assert (shown["timeZone"], shown["taxRates"]) == ("UTC", [])
    assert shown["numbering"] == {"prefix": "INV", "scope": "namespace", "start": 1}
    assert shown["apps"] == app_references(profile.apps)
    assert shown["apps"] == {name: {"id": profile.apps.tax} for name in ("tax", "invoicing", "payment")}
