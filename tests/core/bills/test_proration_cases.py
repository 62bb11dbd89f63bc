"""Cases of other billing systems about periods, proration and changes in the middle of a period, by whole bills.

Each case is a subscription whose invoices are made as time passes: what is billed, with its corrections, is the case's
amount. tests/core/rating takes the same cases for single prices and periods.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from pipeline.core.catalog.plan import ProRatingConfig
from pipeline.core.catalog.price import FlatPrice, UnitPrice
from pipeline.core.catalog.rate_card import RateCard
from pipeline.core.invoices.correction import billed_by
from pipeline.core.invoices.line import InvoiceLine, LinePeriod, live_lines
from pipeline.core.invoices.subscription_lines import subscription_lines
from pipeline.core.invoices.workflow import BillingWorkflow
from pipeline.core.subscriptions.subscription import Subscription, SubscriptionItem, SubscriptionPhase
from pipeline.core.values import number
from pipeline.core.values.calendar import Interval
from tests.core.bills.bill_world import DAY_S, ONE_PHASE, BillWorld, Definitions, at
from tests.core.bills.test_lines_of_changes import worth
from tests.core.rating.cases import Case, cases, load
from tests.core.rating.test_line_periods import seconds
from tests.fixtures.catalog_bodies import FEE, Body

PERIODS, CHANGES = "openmeter-periods-proration", "peers-proration-rounding"
NO_SUBSCRIPTION = "it is about an amount, and not about a subscription: tests/core/rating"
LOCAL_DAYS = "a share is of seconds as they pass, and not of local days"
LEFT_OUT = {
    **{case["id"]: LOCAL_DAYS for case in load(CHANGES) if case["id"].startswith("flexprice-days")},
    **{
        case["id"]: NO_SUBSCRIPTION
        for case in load(CHANGES)
        if case["id"].startswith(("flexprice-credit", "flexprice-round", "lago-"))
    },
    "killbill-cycles-bcd31": "it divides by 28 January to 28 February though the anchor is the 31st: 14/28 is right",
}
CHANGED = cases(CHANGES, LEFT_OUT)
PHASES = [case for case in load(PERIODS) if "items" in case["in"]]
FLAT = [case for case in load(PERIODS) if "flatAmount" in case["in"]]
DEFINITIONS = Definitions()
FULL = Definitions(profile={"workflow": {"invoicing": {"subscriptionEndProrationMode": "bill_full_period"}}})


def test_every_case_is_taken_or_named() -> None:
    assert (len(CHANGED), len(LEFT_OUT), len(load(CHANGES))) == (20, 23, 43)
    assert (len(PHASES), len(FLAT)) == (7, 3)


def plan(fees: dict[str, str], cadence: str = "P1M") -> Body:
    """A plan of monthly or yearly fees in advance, in cents."""
    cards = [
        {**FEE, "key": key, "billingCadence": cadence, "price": {**FEE["price"], "amount": euros(cents)}}
        for key, cents in fees.items()
        if int(cents)
    ]
    sent = {name: value for name, value in ONE_PHASE.items() if name != "key"}
    phases = [{"key": "main", "name": "Main", "duration": None, "rateCards": cards}]
    return {**sent, "billingCadence": cadence, "phases": phases}


def euros(cents: str) -> str:
    return number.text(int(cents) * number.SCALE // 100)


class Bills:
    """The bills of one customer whose plan changes."""

    def __init__(
        self, start: str, sent: Body, anchor: str | None = None, definitions: Definitions = DEFINITIONS
    ) -> None:
        self.world = BillWorld(definitions)
        self.world.now_s = at(start)
        body = {"customPlan": sent} | ({} if anchor is None else {"billingAnchor": anchor})
        made = self.world.do("subscription.create", {"customerId": self.world.customer, **body})
        self.id = made["subscription"]
        self.world.until(self.world.now_s)

    def change(self, day: str, sent: Body, **more: Any) -> None:
        self.world.until(at(day))
        self.world.do("subscription.change", {"timing": "immediate", "customPlan": sent, **more}, id=self.id)
        self.world.until(at(day))

    def cancel(self, day: str, timing: str = "immediate") -> None:
        self.world.until(at(day))
        self.world.do("subscription.cancel", {"timing": timing}, id=self.id)
        self.world.until(at(day))

    @property
    def lines(self) -> list[InvoiceLine]:
        """What is on invoices, and what is due and waits: a total below 0 makes no invoice."""
        return [
            line
            for stored in self.world.invoices()
            for line in live_lines(stored.content.lines)
            if stored.progress.state != "gathering" or line.invoice_at_s <= self.world.now_s
        ]

    def cents(self, is_wanted: Callable[[InvoiceLine], bool] = lambda _: True) -> int:
        return sum(
            sum(one.total for one in billed_by(line)) if line.children else worth(line)
            for line in self.lines
            if is_wanted(line)
        )


def is_correction(line: InvoiceLine) -> bool:
    return line.corrects is not None


def polar(case: Case) -> dict[str, str]:
    given = case["in"]
    old, year = {"fee": given["oldAmount"]}, at(given["periodEnd"]) - at(given["periodStart"]) > 40 * DAY_S
    bills = Bills(given["periodStart"], plan(old, "P1Y" if year else "P1M"))
    before = bills.cents()
    new_cycle = given["newCycleStartsAtChange"]
    following = plan({"fee": given["newAmount"]}, "P1Y" if year is not new_cycle else "P1M")
    anchor = {"billingAnchor": f"{given['changeAt']}T00:00:00Z"} if new_cycle else {}
    bills.change(given["changeAt"], following, **anchor)
    credit = bills.cents(is_correction)
    assert before == int(given["oldAmount"])
    return {"credit": str(-credit), "debit": str(bills.cents() - before - credit)}


def upgraded(old: dict[str, str], new: dict[str, str], share: str) -> tuple[int, int]:
    """Credit and charge of a change when a share of a month is left, which has 30 or 31 days."""
    left, days = map(int, share.split("/"))
    month = {30: "2026-04", 31: "2026-01"}[days]
    bills = Bills(f"{month}-01", plan(old))
    before = bills.cents()
    day = f"{month}-{days - left + 1:02}"
    if any(int(cents) for cents in new.values()):
        bills.change(day, plan(new))
    else:
        bills.cancel(day)
    credit = bills.cents(is_correction)
    return credit, bills.cents() - before - credit


def flexprice(case: Case) -> dict[str, str]:
    given = case["in"]
    old, new = (str(100 * int(given[f"{one}Quantity"]) * int(given[f"{one}Unit"])) for one in ("old", "new"))
    credit, charge = upgraded({"fee": old}, {"fee": new}, given["share"])
    return {
        "credit": f"{credit / 100:.2f}",
        "charge": f"{charge / 100:.2f}",
        "net": f"{(credit + charge) / 100:.2f}",
    }


def meteroid(case: Case) -> dict[str, str]:
    items = case["in"]["signedItemsCents"]
    old = {f"old_{place}": one.removeprefix("-") for place, one in enumerate(items) if one.startswith("-")}
    new = {f"new_{place}": one for place, one in enumerate(items) if not one.startswith("-")}
    return {"amount": str(sum(upgraded(old, new, case["in"]["share"])))}


def killbill(case: Case) -> dict[str, str]:
    """The fee has as many euros as the broken month has days, so that shares have no fractions."""
    given = case["in"]
    parts = [Fraction(part.strip()) for part in case["out"]["cycles"].split("+")]
    days = int(case["out"]["cycles"].rpartition("/")[2]) if "/" in case["out"]["cycles"] else 1
    bills = Bills(
        given["start"], plan({"fee": str(100 * days)}), f"2011-01-{int(given['anchorDay']):02}T00:00:00Z"
    )
    if given["end"] is not None:
        bills.cancel(given["end"])
    else:
        bills.world.until(at(given["targetDate"]))
    assert Fraction(bills.cents(), 100 * days) == sum(parts)
    return dict(case["out"])


KINDS = {"polar-": polar, "flexprice-proration": flexprice, "meteroid-": meteroid, "killbill-": killbill}


@pytest.mark.parametrize("case", CHANGED, ids=lambda case: case["id"])
def test_changes(case: Case) -> None:
    [kind] = [found for start, found in KINDS.items() if case["id"].startswith(start)]
    assert kind(case) == case["out"]


@pytest.mark.parametrize("case", FLAT, ids=lambda case: case["id"])
def test_prorations(case: Case) -> None:
    given, expected = case["in"], case["out"]
    start, end = given["servicePeriod"]
    cents = str(100 * int(given["flatAmount"]))
    full = given.get("subscriptionEndProrationMode") == "bill_full_period"
    bills = Bills(start, plan({"fee": cents}), given["fullServicePeriod"][0], FULL if full else DEFINITIONS)
    if "subscriptionEnd" in given:
        assert given["subscriptionEnd"] == end
        bills.cancel(start, "next_billing_cycle")
        bills.world.until(at(end))
    assert bills.cents(lambda line: line.period.start_s < at(end)) == int(Fraction(expected["amount"]) * 100)
    [first] = [line for line in bills.lines if line.corrects is None and line.period.start_s < at(end)]
    assert (first.period.start_s, first.period.end_s) == (at(start), at(end))
    assert first.invoice_at_s == at(expected["invoiceAt"])


def subscription_of(given: dict[str, Any]) -> Subscription:
    """Items of one phase; those without a type have a price by usage."""
    start_s = at(given["subscriptionStart"])
    shift = given.get("billingAnchorRelativeToSubscriptionStart")
    timelines: dict[str, tuple[SubscriptionItem, ...]] = {}
    for item in given["items"]:
        key = item["key"].replace("-", "_")
        flat = item.get("type") == "FlatPriceType"
        card = RateCard(
            type="flat_fee" if flat else "usage_based", key=key, name=item["key"], billing_cadence=item.get("cadence"),
            price=FlatPrice("1") if flat else UnitPrice(amount="1"),
        )  # fmt: skip
        versions = timelines.get(key, ())
        timelines[key] = (*versions, SubscriptionItem(
            id=f"{key}/{len(versions)}", card=card,
            from_s=start_s + seconds(item["startAfter"]) if "startAfter" in item else None,
            to_s=start_s + seconds(item["endAfter"]) if "endAfter" in item else None,
        ))  # fmt: skip
    ends = None if "phaseEnd" not in given else Interval(0, at(given["phaseEnd"]) - start_s)
    phases = [SubscriptionPhase(id="p", key="phase-test", name="P", duration=ends, timelines=timelines)]
    if ends is not None:
        phases.append(SubscriptionPhase(id="q", key="later", name="Q", duration=None, timelines={}))
    return Subscription(
        id="subID", customer_id="c", name="S", currency="USD", billing_cadence=given["alignedBillingCadence"],
        billing_anchor_s=start_s + (seconds(shift) if shift else 0), pro_rating_config=ProRatingConfig(enabled=False),
        settlement_mode="credit_then_invoice", active_from_s=start_s, phases=tuple(phases), created_at_s=start_s,
        updated_at_s=start_s,
    )  # fmt: skip


def pair(period: LinePeriod) -> list[str]:
    return [text.replace(".000Z", "Z") for text in (period.start, period.end)]


@pytest.mark.parametrize("case", PHASES, ids=lambda case: case["id"])
def test_phases(case: Case) -> None:
    until_s = at(case["in"]["generateUntil"])
    subscription = subscription_of(case["in"])
    found = subscription_lines(subscription, BillingWorkflow(), (until_s - 1) * 1000)
    lines = [line for line in found if line.invoice_at_s <= until_s]
    expected = [
        {name: one[name] for name in ("servicePeriod", "billingPeriod", "key")}
        for one in case["out"]["periods"]
    ]
    shown = [
        {
            "servicePeriod": pair(line.period),
            "billingPeriod": pair(line.subscription.billing_period) if line.subscription else [],
            "key": (line.reference or "").replace("_", "-"),
        }
        for line in lines
    ]
    assert sorted(shown, key=lambda one: str(one["key"])) == sorted(expected, key=lambda one: str(one["key"]))
