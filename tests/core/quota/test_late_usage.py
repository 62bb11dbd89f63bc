"""What a history calls late: after an hour, or after the usage period; once, also when a record is read again."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.quota.late_usage import correction_of
from pipeline.core.values.number import SCALE
from pipeline.records import LateUsage, Window
from tests.fixtures.alert_desk import AT_S, HOUR_S, METERED, MINUTE_S, Desk, Usage, desk

METER_ID = 1


@pytest.fixture
def watched() -> tuple[Desk, Usage]:
    """An entitlement by the hour, in force for two hours, that has seen three units in its third hour."""
    made, _, _ = desk()
    made.do("entitlement.create", METERED | {"usagePeriod": {"interval": "PT1H"}})
    usage = Usage(METER_ID)
    made.use([usage.event("a", AT_S + 2 * HOUR_S, 3)], AT_S + 2 * HOUR_S)
    return made, usage


def late(desk_: Desk, window: Window, at_s: int) -> list[LateUsage]:
    """What is published of one window in a record of its own."""
    before = set(desk_.late)
    desk_.use([msgspec.structs.replace(window, received_at_ms=at_s * 1000)], at_s)
    return [one for key, one in desk_.late.items() if key not in before]


@pytest.mark.parametrize(
    ("start_s", "at_s", "is_late"),
    [
        (2 * HOUR_S, 2 * HOUR_S + 5, False),  # on time
        (2 * HOUR_S, 2 * HOUR_S + 20 * MINUTE_S, False),  # of this period, not an hour old
        (2 * HOUR_S - MINUTE_S, 2 * HOUR_S + 10, True),  # its period has ended
        (HOUR_S, 2 * HOUR_S + 60 * MINUTE_S - 1, True),  # an hour and more old
    ],
)
def test_late_is_after_an_hour_or_the_period(
    watched: tuple[Desk, Usage], start_s: int, at_s: int, is_late: bool
) -> None:
    made, usage = watched
    found = late(made, usage.event("b", AT_S + start_s, 5), AT_S + at_s)
    assert [(one.customer, one.feature, one.minute_s - AT_S, one.change) for one in found] == (
        [(made.balance_of().customer, "gpt", start_s, "5")] if is_late else []
    )


def test_a_correction_is_what_a_history_takes(watched: tuple[Desk, Usage]) -> None:
    made, usage = watched
    at_s = AT_S + 2 * HOUR_S + 30
    (found,) = late(made, usage.event("a", AT_S + 2 * HOUR_S - MINUTE_S, 5), at_s)
    correction = correction_of(found)
    assert (correction.minute_s, correction.change) == (AT_S + 2 * HOUR_S - MINUTE_S, 5 * SCALE)
    assert (correction.at_s, correction.counted) == (at_s, found.counted)


def test_a_record_read_again_says_the_same(watched: tuple[Desk, Usage]) -> None:
    made, usage = watched
    at_s = AT_S + 2 * HOUR_S + 30
    late(made, usage.event("a", AT_S + 2 * HOUR_S - MINUTE_S, 5), at_s)
    first = dict(made.late)
    made.restart()
    made.run(made.read)
    assert first and made.late == first
