"""Which changes of a meter are refused because something else needs what would go."""

from __future__ import annotations

from tests.fixtures.alert_desk import METER, METERED
from tests.fixtures.control_log import Log


def test_a_meter_keeps_the_dimension_by_which_an_archived_feature_finds_its_usage() -> None:
    made = Log()
    made.do("meter.apply", METER)
    made.do("customer.create", {"key": "acme", "name": "Acme"})
    made.do("feature.create", {"key": "gpt", "name": "GPT", "meterSlug": "tokens"})
    small = {
        "key": "small",
        "name": "Small",
        "meterSlug": "tokens",
        "meterGroupByFilters": {"model": "small"},
    }
    made.do("feature.create", small)
    entitlement = made.do("entitlement.create", {**METERED, "featureKey": "small"})
    for key in ("small", "gpt"):
        made.do("feature.archive", {"id": key})
    without = {"slug": "tokens", "groupBy": {}}
    assert made.refused("meter.update", without) == (
        "meter-conflict",
        f"meter group by key model cannot be removed: the entitlement {entitlement['id']} to the archived feature "
        "small needs it",
    )
    made.do("entitlement.delete", {"id": entitlement["id"]})
    made.do("meter.update", without)
