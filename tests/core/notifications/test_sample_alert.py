"""The event of a rule's test has the members of a real one, so that a receiver can be written by it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.core.notifications import rule, sample_alert
from pipeline.core.notifications.rule import Rule
from tests.fixtures.alert_desk import AT_S, DAY_S, METERED, Usage, data, desk, volume, watch

GRANT = {"amount": 10, "expiration": {"duration": "DAY", "count": 1}}
RULES: list[dict[str, Any]] = [
    watch("", 5),
    {"type": rule.RESET, "name": "n"},
    {"type": rule.EXPIRING, "name": "n", "before": "PT1H"},
    volume("", 5, "DAY"),
]


@pytest.mark.parametrize("wanted", RULES, ids=lambda one: one["type"])
def test_a_test_has_the_members_of_a_real_event(wanted: dict[str, Any]) -> None:
    made, _, endpoint = desk()
    body = made.do("rule.create", {**wanted, "channels": [endpoint]})
    made.do("entitlement.create", {**METERED, "usagePeriod": {"interval": "DAY"}, "grants": [GRANT]})
    made.use([Usage(1).event("a", AT_S, 6)], AT_S + 1)
    made.clock(AT_S + DAY_S - 60)
    made.clock(AT_S + DAY_S)
    real = next(one for one in made.alerts if one.type == wanted["type"])
    tried = sample_alert.alert("0" * 26, "default", Rule.read(body), AT_S * 1000)
    found = data(tried)
    assert found.pop("annotations") == {sample_alert.TEST: True}
    assert found.keys() == data(real).keys()
    assert msgspec.json.decode(tried.payload).keys() == msgspec.json.decode(real.payload).keys()
