"""Which lines an item has: OpenMeter's cases, months and zones, and laws."""

from __future__ import annotations

import doctest
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.catalog.price import FlatPrice, PaymentTerm
from pipeline.core.rating import line_periods as module
from pipeline.core.rating.line_periods import BilledItem, PlannedLine, TimePeriod, horizon_of, line_periods
from pipeline.core.rating.proration import prorated
from pipeline.core.values import calendar, timestamp
from pipeline.core.values.calendar import NAMED, Interval, Recurrence
from pipeline.core.values.currency import digits_of
from pipeline.core.values.zone import UTC, text_of
from tests.core.rating.cases import Case, cases, load
from tests.fixtures.examples import examples

FILE = "openmeter-periods-proration"
CASES = cases(FILE, {})
PHASES = [case for case in CASES if "items" in case["in"]]
PRORATIONS = [case for case in CASES if "flatAmount" in case["in"] or "price" in case["in"]]
CALENDAR = [case for case in CASES if "duration" in case["in"] or "anchor" in case["in"]]  # tests/core/values


def test_every_case_is_taken() -> None:
    assert (len(PHASES), len(PRORATIONS), len(CALENDAR), len(load(FILE))) == (7, 4, 10, 21)


def at(text: str) -> int:
    return timestamp.parse_ns(text) // 1_000_000_000


def period(pair: list[str]) -> TimePeriod:
    return TimePeriod(at(pair[0]), at(pair[1]))


def seconds(duration: str) -> int:
    found = calendar.parse(duration.removeprefix("-"))
    return (found.days * calendar.DAY_S + found.seconds) * (-1 if duration.startswith("-") else 1)


def items_of(given: dict[str, Any]) -> list[BilledItem]:
    start_s, versions, found = at(given["subscriptionStart"]), dict[str, int](), []
    phase_end_s = at(given["phaseEnd"]) if "phaseEnd" in given else None
    for item in given["items"]:
        version = versions.get(item["key"], -1) + 1
        versions[item["key"]] = version
        found.append(
            BilledItem(
                "subID",
                "phase-test",
                item["key"],
                version,
                start_s + (seconds(item["startAfter"]) if "startAfter" in item else 0),
                start_s + seconds(item["endAfter"]) if "endAfter" in item else phase_end_s,
                start_s,
                phase_end_s,
                calendar.parse(item["cadence"]) if "cadence" in item else None,
                item.get("type") == "FlatPriceType",
            )
        )
    return found


def shown(line: PlannedLine) -> dict[str, Any]:
    pairs = {"servicePeriod": line.service, "fullServicePeriod": line.full, "billingPeriod": line.billing}
    texts = {name: [text_of(at_s).replace(".000Z", "Z") for at_s in period] for name, period in pairs.items()}
    return texts | {"key": line.identity}


@pytest.mark.parametrize("case", PHASES, ids=lambda case: case["id"])
def test_phases(case: Case) -> None:
    given = case["in"]
    shift = given.get("billingAnchorRelativeToSubscriptionStart")
    anchor_s = at(given["subscriptionStart"]) + (seconds(shift) if shift else 0)
    billing = Recurrence(calendar.parse(given["alignedBillingCadence"]), anchor_s)
    lines = [
        line for item in items_of(given) for line in line_periods(item, billing, at(given["generateUntil"]))
    ]
    assert [shown(line) for line in lines] == case["out"]["periods"]


@pytest.mark.parametrize("case", PRORATIONS, ids=lambda case: case["id"])
def test_prorations(case: Case) -> None:
    given, expected = case["in"], case["out"]
    service, full = period(given["servicePeriod"]), period(given["fullServicePeriod"])
    in_advance = given.get("paymentTerm") == "in_advance"
    item = BilledItem("s", "p", "i", 0, *service, *service, NAMED["MONTH"], in_advance)
    [line] = line_periods(item, Recurrence(NAMED["MONTH"], full.start_s), full.end_s)
    assert (line.service, line.full, text_of(line.invoice_at_s)) == (
        service,
        full,
        expected["invoiceAt"].replace("Z", ".000Z"),
    )
    if "price" in given:  # the price of usage stays as it is
        assert expected["price"] == given["price"]
        return
    term: PaymentTerm = given["paymentTerm"]
    price = prorated(
        FlatPrice(given["flatAmount"], term),
        service,
        full,
        digits_of(given["currency"]),
        enabled=given["proRating"] == "prorate_prices",
        subscription_end_s=at(given["subscriptionEnd"]) if "subscriptionEnd" in given else None,
        end_mode=given.get("subscriptionEndProrationMode", "bill_actual_period"),
    )
    assert price == FlatPrice(expected["amount"], term)


def monthly(
    start: str, zone: str = UTC, anchor: str | None = None, **more: Any
) -> tuple[BilledItem, Recurrence]:
    start_s = at(start)
    values: dict[str, Any] = {
        "end_s": None,
        "phase_start_s": start_s,
        "phase_end_s": None,
        "in_advance": True,
    }
    values |= {name: at(value) if isinstance(value, str) else value for name, value in more.items()}
    item = BilledItem("s", "p", "i", 0, start_s, cadence=NAMED["MONTH"], **values)
    return item, Recurrence(NAMED["MONTH"], at(anchor or start), zone)


def starts(item: BilledItem, billing: Recurrence, until: str) -> list[str]:
    return [
        text_of(line.service.start_s, billing.zone)[:19] for line in line_periods(item, billing, at(until))
    ]


def test_months_are_counted_from_the_31st_each_time_and_keep_the_second() -> None:
    item, billing = monthly("2024-01-31T12:34:56Z")
    assert starts(item, billing, "2024-06-01T00:00:00Z") == [
        "2024-01-31T12:34:56", "2024-02-29T12:34:56", "2024-03-31T12:34:56", "2024-04-30T12:34:56",
        "2024-05-31T12:34:56",
    ]  # fmt: skip


def test_an_anchor_may_lie_after_the_start() -> None:
    item, billing = monthly("2026-01-10T00:00:00Z", anchor="2030-05-31T00:00:00Z")
    lines = list(line_periods(item, billing, at("2026-03-01T00:00:00Z")))
    assert [shown(line)["fullServicePeriod"][0][:10] for line in lines] == [
        "2025-12-31",
        "2026-01-31",
        "2026-02-28",
    ]
    assert shown(lines[0])["servicePeriod"] == ["2026-01-10T00:00:00Z", "2026-01-31T00:00:00Z"]


def test_local_midnights_stay_midnights_over_both_changes_of_the_clock() -> None:
    item, billing = monthly("2026-02-28T23:00:00Z", "Europe/Berlin")
    lines = list(line_periods(item, billing, at("2026-11-01T00:00:00Z")))
    assert {text_of(line.service.start_s, "Europe/Berlin")[8:19] for line in lines} == {"01T00:00:00"}
    hours = {text_of(line.full.start_s, "Europe/Berlin")[:7]: line.full.seconds // 3600 for line in lines}
    assert (hours["2026-03"], hours["2026-10"], hours["2026-04"]) == (743, 745, 720)


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        ("2026-03-07T02:30:00-05:00", "2026-03-08T03:30:00.000-04:00"),  # 02:30 does not exist that day
        ("2026-10-31T01:30:00-04:00", "2026-11-01T01:30:00.000-04:00"),  # 01:30 comes twice: the first
    ],
)
def test_a_local_time_that_is_missing_or_doubled(anchor: str, expected: str) -> None:
    day = Recurrence(NAMED["DAY"], at(anchor), "America/New_York")
    assert text_of(calendar.tick(day, 1), "America/New_York") == expected


def test_half_of_a_short_month_is_half_of_its_seconds() -> None:
    march = TimePeriod(at("2026-03-01T00:00:00-05:00"), at("2026-04-01T00:00:00-04:00"))
    assert march.seconds == 743 * 3600
    half = TimePeriod(march.start_s, march.start_s + march.seconds // 2)
    assert prorated(FlatPrice("100"), half, march, 2).amount == "50"


def test_a_leap_day_of_a_yearly_item() -> None:
    item, billing = monthly("2024-02-29T00:00:00Z")
    item = msgspec.structs.replace(item, cadence=NAMED["YEAR"])
    assert [text[:10] for text in starts(item, billing, "2028-03-01T00:00:00Z")] == [
        "2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29",
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["2026-01-01T00:00:00Z", "2025-12-31T00:00:00Z"])
@pytest.mark.parametrize("cadence", [NAMED["MONTH"], None])
def test_an_item_without_length_has_no_line(end: str, cadence: Interval | None) -> None:
    item, billing = monthly("2026-01-01T00:00:00Z", end_s=end)
    item = msgspec.structs.replace(item, cadence=cadence)
    assert list(line_periods(item, billing, at("2027-01-01T00:00:00Z"))) == []


def test_a_one_time_item_in_arrears_waits_for_the_end_of_its_phase() -> None:
    values: dict[str, Any] = {"cadence": None, "in_advance": False}
    start_s, billing = at("2026-01-01T00:00:00Z"), monthly("2026-01-01T00:00:00Z")[1]
    far_s = at("2030-01-01T00:00:00Z")
    assert (
        list(
            line_periods(BilledItem("s", "p", "i", 0, start_s, None, start_s, None, **values), billing, far_s)
        )
        == []
    )
    end_s = at("2026-03-05T00:00:00Z")
    [line] = line_periods(
        BilledItem("s", "p", "i", 0, start_s, end_s, start_s, end_s, **values), billing, far_s
    )
    assert (line.identity, line.invoice_at_s) == ("s/p/i/v[0]", end_s)
    [once] = line_periods(
        BilledItem("s", "p", "i", 0, start_s, None, start_s, None, None, True), billing, start_s
    )
    assert (once.service, once.invoice_at_s) == (TimePeriod(start_s, start_s), start_s)
    assert prorated(FlatPrice("99.999"), once.service, once.full, 2).amount == "99.999"


def test_days_in_arrears_are_invoiced_at_the_end_of_the_month_and_quarters_at_their_own() -> None:
    item, billing = monthly("2026-01-01T00:00:00Z", in_advance=False)
    days = msgspec.structs.replace(item, cadence=NAMED["DAY"])
    lines = list(line_periods(days, billing, at("2026-02-28T23:59:59Z")))
    assert (len(lines), {text_of(line.invoice_at_s)[:10] for line in lines}) == (31, {"2026-02-01"})
    quarters = msgspec.structs.replace(item, cadence=calendar.parse("P3M"))
    assert list(line_periods(quarters, billing, at("2026-03-31T00:00:00Z"))) == []
    [line] = line_periods(quarters, billing, at("2026-04-01T00:00:00Z"))
    assert text_of(line.invoice_at_s)[:10] == "2026-04-01"


def test_the_horizon_is_the_end_of_the_running_period() -> None:
    _, billing = monthly("2026-01-31T00:00:00Z")
    assert horizon_of(billing, at("2026-02-28T00:00:00Z")) == at("2026-03-31T00:00:00Z")
    assert horizon_of(billing, at("2026-02-27T23:59:59Z")) == at("2026-02-28T00:00:00Z")


INTERVALS = st.sampled_from(
    [NAMED[name] for name in ("DAY", "WEEK", "MONTH", "YEAR")] + [calendar.parse("P3M")]
)
INSTANTS = st.integers(at("2020-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"))
ZONES = st.sampled_from([UTC, "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])


@settings(max_examples=examples(100))
@given(INTERVALS, INTERVALS, INSTANTS, INSTANTS, st.integers(0, 10**7), ZONES, st.booleans())
def test_lines_tile_the_item(
    cadence: Interval,
    billed: Interval,
    anchor_s: int,
    start_s: int,
    length_s: int,
    zone: str,
    in_advance: bool,
) -> None:
    item = BilledItem(
        "s", "p", "i", 0, start_s, start_s + length_s, start_s, start_s + length_s, cadence, in_advance
    )
    billing = Recurrence(billed, anchor_s, zone)
    lines = list(line_periods(item, billing, at("2040-01-01T00:00:00Z")))
    assert sum(line.service.seconds for line in lines) == length_s
    edges = [start_s, *(line.service.end_s for line in lines)]
    assert [line.service.start_s for line in lines] == edges[:-1]
    for line in lines:
        assert line.full.start_s <= line.service.start_s < line.service.end_s <= line.full.end_s
        assert line.billing.start_s <= line.service.start_s < line.billing.end_s
    invoiced = [line.invoice_at_s for line in lines]
    assert invoiced == sorted(invoiced)
    # Up to a horizon there are the first of them; from a place on the rest, with the same identities.
    for place, line in enumerate(lines):
        known = list(line_periods(item, billing, line.invoice_at_s))
        assert known == [one for one in lines if one.invoice_at_s <= line.invoice_at_s]
        if place < 3:
            assert list(line_periods(item, billing, at("2040-01-01T00:00:00Z"), place)) == lines[place:]


def test_the_examples_are_true() -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
