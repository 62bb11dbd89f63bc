"""What a stored entitlement means: its type, when it is in force, its usage periods, its grace period."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.quota.entitlement import Entitlement, MeteredEntitlement, StaticEntitlement, grace_s
from pipeline.core.values.calendar import NEVER_S
from pipeline.errors import Rejected

START_S = 1_767_225_600  # 2026-01-01T00:00:00Z
BODY: dict[str, Any] = {
    "id": "e", "type": "boolean", "customerId": "c", "featureId": "f", "featureKey": "k",
    "activeFrom": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z",
    "updatedAt": "2026-01-01T00:00:00.000Z",
}  # fmt: skip
METERED = {
    **BODY, "type": "metered", "usagePeriod": {"interval": "MONTH", "anchor": "2026-01-01T00:00:00+01:00"},
    "measureUsageFrom": "2025-12-31T23:59:00.000Z", "isSoftLimit": False, "preserveOverageAtReset": False, "resets": [],
}  # fmt: skip


def test_each_type_has_its_members() -> None:
    assert type(Entitlement.read(BODY)) is Entitlement
    static = Entitlement.read({**BODY, "type": "static", "config": "{}"})
    assert isinstance(static, StaticEntitlement) and static.config == "{}"
    assert isinstance(Entitlement.read(METERED), MeteredEntitlement)


@pytest.mark.parametrize(
    ("more", "end_s"),
    [
        ({}, NEVER_S),
        ({"activeTo": "2026-01-01T01:00:00.000Z"}, START_S + 3_600),
        ({"deletedAt": "2026-01-01T00:30:59.999Z"}, START_S + 1_800),
        ({"activeTo": "2026-01-01T01:00:00.000Z", "deletedAt": "2026-01-01T02:00:00.000Z"}, START_S + 3_600),
    ],
)
def test_it_is_in_force_from_its_start_until_its_first_end(more: dict[str, Any], end_s: int) -> None:
    entitlement = Entitlement.read({**BODY, **more})
    assert entitlement.span == (START_S, end_s)
    assert entitlement.in_force(START_S) and not entitlement.in_force(START_S - 1)
    assert entitlement.in_force(end_s - 1) and not entitlement.in_force(end_s)


def test_usage_periods_step_in_the_named_zone_else_in_the_offset_of_their_anchor() -> None:
    metered = MeteredEntitlement.read(METERED)
    assert (metered.zone, metered.schedule.start_s) == ("+01:00", START_S - 60)
    assert metered.schedule.recurrence.anchor_s == START_S - 3_600
    reset = {
        "effectiveAt": "2026-01-02T00:00:00.000Z",
        "anchor": "2026-01-02T00:00:00-05:00",
        "preserveOverage": True,
    }
    again = MeteredEntitlement.read({**METERED, "resets": [reset]})
    assert (again.anchor, again.zone) == ("2026-01-02T00:00:00-05:00", "-05:00")
    assert [(one.at_s, one.anchor_s, one.zone) for one in again.schedule.resets] == [
        (START_S + 86_400, START_S + 104_400, "-05:00")
    ]
    period = {**METERED["usagePeriod"], "timeZone": "Asia/Tokyo"}
    named = MeteredEntitlement.read({**METERED, "usagePeriod": period, "resets": [reset]})
    assert (named.zone, named.schedule.recurrence.zone, named.schedule.resets[0].zone) == ("Asia/Tokyo",) * 3


def test_the_grace_period_is_a_span_of_fixed_length() -> None:
    assert MeteredEntitlement.read(METERED).grace_s == 0
    assert (
        MeteredEntitlement.read({**METERED, "gracePeriod": "P1DT1H"}).grace_s == 90_000 == grace_s("P1DT1H")
    )
    with pytest.raises(Rejected, match="minutes, hours, days or weeks"):
        grace_s("P1M")
