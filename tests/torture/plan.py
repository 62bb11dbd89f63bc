"""The plan of a run with alerts: who is entitled to what, which rules watch it, what is brought in later.

Owns: what is made from the seed. Does not own: defining it (quotas), what must come of it (alerts).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

from tests.flow.event_line import SUBJECTS

CUSTOMERS = 30
LATE = 6  # entitlements that are made while the stream flows
PERIOD_CUSTOMERS = 3
DAY_S, HOUR_S, MINUTE_S = 86_400, 3_600, 60
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Auckland", "America/St_Johns")
LONG_S, SHORT_S = 22 * DAY_S, 3 * HOUR_S  # before the start: all of the stream, and only its newer part
Thresholds = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Feature:
    """Usage of a meter, of windows with these dimensions."""

    key: str
    meter: str
    filters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Customer:
    key: str
    subjects: tuple[str, ...]

    @property
    def all_subjects(self) -> frozenset[str]:
        """An event whose subject is the key is the customer's too."""
        return frozenset((self.key, *self.subjects))


@dataclass
class Entitled:
    """An entitlement. amounts: of its grants. resets: instants of those that were done.

    anchor: of monthly usage periods, as local time with its offset; "": a period is longer than the run.
    zone: in which the months are counted; "": in the anchor's offset.
    """

    customer: Customer
    feature: Feature
    since_s: int
    amounts: tuple[Decimal, ...]
    id: str = ""
    customer_id: str = ""
    resets: list[int] = field(default_factory=list)
    anchor: str = ""
    zone: str = ""


@dataclass
class Rule:
    """features: keys; empty: all. endpoints: paths of the receiver."""

    name: str
    type: str
    endpoints: tuple[str, ...]
    thresholds: Thresholds = ()
    features: tuple[str, ...] = ()
    id: str = ""

    def watches(self, feature: str) -> bool:
        return not self.features or feature in self.features


@dataclass(frozen=True)
class Move:
    """A subject's usage before the minute `until_s` is the old customer's, from `from_s` on it is the new one's."""

    subject: str
    old: Customer
    until_s: int
    new: Customer
    from_s: int


PERIOD_FEATURE = Feature("batches", "api_requests", {"method": "PATCH"})
FEATURES = (
    Feature("requests", "api_requests"),
    Feature("posts", "api_requests", {"method": "POST"}),
    Feature("tokens", "llm_tokens"),
    Feature("bytes", "storage_bytes", {"storage_class": "standard"}),
    PERIOD_FEATURE,
)
_SIZES = {"requests": 150, "posts": 40, "tokens": 400_000, "bytes": 5 * 10**15}  # of a busy customer's usage
PERCENTAGES: Thresholds = tuple(
    ("usage_percentage", value) for value in ("1", "5", "10", "25", "50", "75", "90", "100", "150", "400")
)
VALUES: Thresholds = tuple(("usage_value", value) for value in ("0", "3", "30", "300", "3000", "30000.5"))
BALANCES: Thresholds = tuple(("balance_value", value) for value in ("0", "1", "20", "1000", "1000000"))


@dataclass
class Plan:
    """`late`, `late_rule` and `moved` are brought in while the stream flows."""

    start_s: int
    customers: list[Customer]
    entitled: list[Entitled]
    periods: list[Entitled]
    late: list[Entitled]
    rules: list[Rule]
    late_rule: Rule
    moves: list[Move] = field(default_factory=list)


def first_period_s(entitled: Entitled, now_s: int) -> int:
    """When the usage period began that an entitlement is in when it is made: what was before does not count in it."""
    return max(entitled.since_s, month_of(entitled, now_s)) if entitled.anchor else entitled.since_s


def month_of(entitled: Entitled, now_s: int) -> int:
    """When the month of `now_s` began: months are counted one after the other from the anchor's, on its local clock.

    A local time here is none that a change of the clock skips or repeats.
    """
    anchor = datetime.fromisoformat(entitled.anchor)
    rules = ZoneInfo(entitled.zone) if entitled.zone else anchor.tzinfo
    local = anchor.astimezone(rules)
    begun, year, month = int(anchor.timestamp()), local.year, local.month
    while True:
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        days = ((datetime(year, month, 28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)).day
        following = local.replace(year=year, month=month, day=min(local.day, days), tzinfo=rules)
        if following.timestamp() > now_s:
            return begun
        begun = int(following.timestamp())


def plan(seed: int, lines: int, now_s: int) -> Plan:
    """The same for the same arguments."""
    rng = Random(seed)
    start_s = now_s // MINUTE_S * MINUTE_S
    odd = SUBJECTS[-23:]
    customers = []
    for number in range(CUSTOMERS):
        many = rng.randint(1, 6)
        subjects = [SUBJECTS[number + CUSTOMERS * step] for step in range(many)]
        customers.append(Customer(f"account-{number}", (*subjects, *odd[number : number + 1])))
    customers.append(Customer(SUBJECTS[700], (SUBJECTS[701],)))  # its key is a subject
    entitled = []
    for customer in customers:
        for feature in FEATURES[:-1]:
            if rng.random() < 0.85:
                since_s = start_s - (LONG_S if rng.random() < 0.7 else SHORT_S)
                one = Entitled(customer, feature, since_s, _amounts(rng, feature, lines))
                if rng.random() < 0.5:
                    one.anchor, one.zone = _calendar(rng, start_s)
                entitled.append(one)
    rng.shuffle(entitled)
    periods = []
    for number in range(PERIOD_CUSTOMERS):
        customer = Customer(f"periodic-{number}", (f"a-{number}", f"b-{number}"))
        periods.append(Entitled(customer, PERIOD_FEATURE, start_s - 2 * HOUR_S, (Decimal(40),)))
    rules = [
        Rule("percentages", "entitlements.balance.threshold", ("/good", "/shaky"), PERCENTAGES),
        Rule("values", "entitlements.balance.threshold", ("/hanging",), VALUES, ("requests", "tokens")),
        Rule("balances", "entitlements.balance.threshold", ("/good",), BALANCES),
        Rule("resets", "entitlements.reset", ("/shaky",)),
    ]
    late_rule = Rule(
        "late", "entitlements.balance.threshold", ("/good",), PERCENTAGES[3:8], ("tokens", "posts")
    )
    return Plan(start_s, customers, entitled[LATE:], periods, entitled[:LATE], rules, late_rule)


def _amounts(rng: Random, feature: Feature, lines: int) -> tuple[Decimal, ...]:
    size = _SIZES[feature.key] * lines // 60_000
    whole = max(3, int(size * 10 ** rng.uniform(-1.5, 1)))
    first = Decimal(whole) / (8 if rng.random() < 0.5 else 1)
    return (first, Decimal(rng.randint(1, whole))) if rng.random() < 0.3 else (first,)


def _calendar(rng: Random, start_s: int) -> tuple[str, str]:
    """An anchor some months back whose last month began 1 to 19 days before the start, by day, and its zone or none."""
    zone = rng.choice(ZONES)
    began = datetime.fromtimestamp(start_s, ZoneInfo(zone)) - timedelta(days=rng.randint(2, 19))
    began = began.replace(hour=rng.randint(5, 21), minute=rng.randrange(60), second=0, tzinfo=None)
    months = began.year * 12 + began.month - 1 - rng.randint(1, 30)
    day = (
        31
        if (began + timedelta(days=1)).day == 1 and months % 12 in (0, 2, 4, 6, 7, 9, 11)
        else min(began.day, 28)
    )
    anchor = began.replace(year=months // 12, month=months % 12 + 1, day=day)
    return anchor.replace(tzinfo=ZoneInfo(zone)).isoformat(), zone if rng.random() < 0.7 else ""
