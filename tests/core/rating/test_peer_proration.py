"""Proration, rounding and credit cases of Polar, Flexprice, Meteroid, Kill Bill and Lago."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest

from pipeline.core.catalog.price import UnitPrice
from pipeline.core.rating.booking import difference
from pipeline.core.rating.detail import RatedDetail
from pipeline.core.rating.line_periods import BilledItem, line_periods
from pipeline.core.rating.models import once
from pipeline.core.rating.proration import share
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import LineTerms, tariff_of
from pipeline.core.rating.tax import TaxRate, creditable, share_with_tax
from pipeline.core.values import money, number, timestamp
from pipeline.core.values.calendar import NAMED, Recurrence
from pipeline.core.values.currency import digits_of
from pipeline.errors import Rejected
from tests.core.rating.cases import Case, cases, load

FILE = "peers-proration-rounding"
LOCAL_DAYS = "a share is of seconds as they pass, and not of local days"
LEFT_OUT = {
    "flexprice-days-spring-forward": LOCAL_DAYS,
    "flexprice-days-months": LOCAL_DAYS,
    "flexprice-days-years": LOCAL_DAYS,
    "flexprice-days-same-day": LOCAL_DAYS,
    "killbill-cycles-bcd31": "it divides by 28 January to 28 February though the anchor is the 31st: 14/28 is right",
}
CASES = cases(FILE, LEFT_OUT)
CENTS = 2


def test_every_case_is_taken_or_named() -> None:
    assert (len(CASES), len(LEFT_OUT), len(load(FILE))) == (38, 5, 43)


def seconds(text: str) -> int:
    return timestamp.parse_ns(f"{text}T00:00:00Z") // 1_000_000_000


def text_of(amount: int, digits: int = 0) -> str:
    return money.text(amount, digits)


def polar(case: Case) -> dict[str, str]:
    """A change of plan: the old one is worth its share up to the change, and the rest is taken back."""
    given = case["in"]
    start_s, change_s, end_s = (seconds(given[name]) for name in ("periodStart", "changeAt", "periodEnd"))
    old, new = int(given["oldAmount"]), int(given["newAmount"])
    billed = [once("flat-price", old * number.SCALE, 0)]
    worth = share(old * number.SCALE, change_s - start_s, end_s - start_s, 0)
    taken_back = difference([RatedDetail("flat-price", worth * number.SCALE, number.SCALE, worth)], billed)
    debit = new
    if not given["newCycleStartsAtChange"]:
        debit = share(new * number.SCALE, end_s - change_s, end_s - start_s, 0)
    return {"credit": text_of(-sum(one.total for one in taken_back)), "debit": text_of(debit)}


def shares(case: Case) -> dict[str, str]:
    given = case["in"]
    part, whole = map(int, given["share"].split("/"))

    def of(quantity: str, unit: str) -> int:
        return share(number.parse(quantity) * int(unit), part, whole, CENTS)

    credit, charge = -of(given["oldQuantity"], given["oldUnit"]), of(given["newQuantity"], given["newUnit"])
    amounts = {"credit": credit, "charge": charge, "net": credit + charge}
    return {name: f"{Decimal(amount).scaleb(-CENTS):.2f}" for name, amount in amounts.items()}


def meteroid(case: Case) -> dict[str, str]:
    part, whole = map(int, case["in"]["share"].split("/"))
    items = [int(item) * number.SCALE for item in case["in"]["signedItemsCents"]]
    return {"amount": text_of(sum(share(item, part, whole, 0) for item in items))}


def cycles(case: Case) -> dict[str, str]:
    given = case["in"]
    start_s = seconds(given["start"])
    end_s = None if given["end"] is None else seconds(given["end"])
    target_s = seconds(given["targetDate"] or given["start"])
    item = BilledItem("s", "p", "i", 0, start_s, end_s, start_s, end_s, NAMED["MONTH"], True)
    anchor_s = seconds(f"2011-01-{int(given['anchorDay']):02}")
    lines = line_periods(item, Recurrence(NAMED["MONTH"], anchor_s), target_s)
    return {"cycles": str(sum(Fraction(line.service.seconds, line.full.seconds) for line in lines))}


def credit_note(case: Case) -> dict[str, str]:
    given = case["in"]
    part, whole = map(int, given["share"].split("/"))
    rate_ = TaxRate("vat", Decimal(given.get("taxPercent", "0")))
    return {
        "amount": text_of(share_with_tax(int(given["planCents"]) * number.SCALE, part, whole, rate_, 0).total)
    }


def rounding(case: Case) -> dict[str, str]:
    digits = digits_of(case["in"]["currency"])
    assert digits == case["in"]["precision"]
    return {"amount": text_of(money.minor(number.parse(case["in"]["value"]), digits), digits)}


def commitment(case: Case) -> dict[str, str]:
    """What is missing to the minimum, in a currency without decimals."""
    terms = LineTerms(UnitPrice(amount="1", minimum_amount=case["in"]["commitmentCents"]), "JPY")
    found = rate(tariff_of(terms), LinePart(number.parse(case["in"]["billedCents"]))).details
    return {"amount": text_of(found[-1].charges)}


def cap(case: Case) -> dict[str, str]:
    names = ("potentialCredit", "originalPaid", "previousCredits")
    return {"amount": text_of(creditable(*(int(case["in"][name]) for name in names)))}


def wallet(case: Case) -> dict[str, str]:
    """More than 18 decimals are refused; the same amount with 18 is rounded to the cent."""
    value = case["in"]["value"]
    with pytest.raises(Rejected, match="more than 18 decimals"):
        number.parse(value)
    return {"amount": text_of(money.minor(number.parse(value[: value.index(".") + 19]), CENTS))}


def seats(case: Case) -> dict[str, str]:
    """The documentation prints a share of 30 days for July; ours is the right one."""
    cents = share(number.parse(case["in"]["unit"]), int(case["in"]["daysUsed"]), 31, CENTS)
    return {"printed": "7.33", "correctFor31Days": f"{Decimal(cents).scaleb(-CENTS):.2f}"}


KINDS: dict[str, Callable[[Case], dict[str, str]]] = {
    "polar-": polar,
    "flexprice-proration": shares,
    "flexprice-credit-cap": cap,
    "flexprice-round": rounding,
    "meteroid-": meteroid,
    "killbill-cycles": cycles,
    "lago-unused-credit-note": credit_note,
    "lago-cn-items": credit_note,
    "lago-wallet-rounding": wallet,
    "lago-commitment": commitment,
    "lago-doc-seats-defect": seats,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_cases(case: Case) -> None:
    [kind] = [found for start, found in KINDS.items() if case["id"].startswith(start)]
    expected = dict(case["out"])
    if "cycles" in expected:
        expected["cycles"] = str(sum(Fraction(part.strip()) for part in expected["cycles"].split("+")))
    assert kind(case) == expected
