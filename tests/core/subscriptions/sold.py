"""Plans that are sold, and subscriptions to them."""

from __future__ import annotations

from typing import Any

from pipeline.core.catalog.entitlement_template import MeteredTemplate
from pipeline.core.catalog.plan import Plan, PlanPhase, ProRatingConfig
from pipeline.core.catalog.price import FlatPrice, PaymentTerm, UnitPrice
from pipeline.core.catalog.rate_card import RateCard
from pipeline.core.subscriptions.from_plan import SubscriptionOrder, create
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.values import timestamp
from pipeline.core.values.zone import text_of

LONG_AGO = "2000-01-01T00:00:00.000Z"
DAY_S = 86_400
ZONES = ("Z", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")


def at(text: str) -> int:
    """Seconds since 1970 of a day or an instant in UTC."""
    return timestamp.parse_ns(text if "T" in text else f"{text}T00:00:00Z") // 10**9


def day(at_s: int | None) -> str | None:
    """The day of an instant, with its time where it is not midnight."""
    return None if at_s is None else text_of(at_s).removesuffix(":00.000Z").removesuffix("T00:00")


def new_id(name: str) -> str:
    """An id that can be read in a test."""
    return "sub" if name == "subscription" else f"id of {name}"


def seats(amount: str = "30", term: PaymentTerm = "in_advance", cadence: str | None = "P1M") -> RateCard:
    return RateCard(
        type="flat_fee", key="seats", name="Seats", billing_cadence=cadence, price=FlatPrice(amount, term)
    )


def calls(amount: str = "0.01", key: str = "calls") -> RateCard:
    return RateCard(
        type="usage_based",
        key=key,
        name="Calls",
        feature_key=key,
        entitlement_template=MeteredTemplate(issue_after_reset="1000"),
        billing_cadence="P1M",
        price=UnitPrice(amount=amount),
    )


def phase(key: str, duration: str | None, *cards: RateCard) -> PlanPhase:
    return PlanPhase(key=key, name=key.title(), duration=duration, rate_cards=cards)


TRIAL = phase("trial", "P1M", calls("0"))
MAIN = phase("main", "P6M", seats(), calls())
LATER = phase("later", None, seats("40"))


def plan(*phases: PlanPhase, **changes: Any) -> Plan:
    members: dict[str, Any] = {
        "id": "plan-1",
        "key": "pro",
        "version": 1,
        "name": "Pro",
        "currency": "USD",
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "effective_from": LONG_AGO,
        "billing_cadence": "P1M",
        "pro_rating_config": ProRatingConfig(),
        "settlement_mode": "credit_then_invoice",
        "phases": phases or (TRIAL, MAIN, LATER),
    }
    return Plan(**(members | changes))


def subscribed(start: str, *phases: PlanPhase, anchor: str | None = None, zone: str = "Z") -> Subscription:
    """A subscription that begins on a day."""
    order = SubscriptionOrder(
        customer_id="acme", zone=zone, billing_anchor_s=None if anchor is None else at(anchor)
    )
    return create(plan(*phases), order, at(start), new_id)


def spans(subscription: Subscription, phase_key: str, key: str) -> list[tuple[str | None, str | None]]:
    """The stored instants of all versions of an item."""
    found = next(one for one in subscription.phases if one.key == phase_key)
    return [(day(item.from_s), day(item.to_s)) for item in found.timelines.get(key, ())]
