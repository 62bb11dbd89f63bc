"""What a client may send about credits: a grant, an adjustment, a rule of top-ups.

Owns: the members of these bodies, their refusals. Does not own: booking (grant_postings), invoices that sell credits.
Source: OpenMeter at 7e57a394, v3 API: members are in snake_case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, NoReturn, get_args

from pipeline.core.catalog.tax_config import TaxConfig, read_tax_config
from pipeline.core.credits.cost_basis import price_of
from pipeline.core.credits.credit_grant import (
    USUAL_PRIORITY,
    Availability,
    CreditGrant,
    CreditPurchase,
    FundingMethod,
    with_payment,
)
from pipeline.core.credits.top_up import USUAL_PERIOD, TopUpRule
from pipeline.core.definitions.body import BodyReader
from pipeline.core.values import calendar, money, number
from pipeline.core.values.calendar import MINUTE_S, Interval
from pipeline.core.values.currency import digits_of

KIND: Final = "credit-grant"
MOST_PRIORITY: Final = 1000
MOST_FEATURES: Final = 100
_GRANT = (
    "name", "description", "labels", "funding_method", "currency", "amount", "purchase", "tax_config", "filters",
    "priority", "effective_at", "expires_after", "key",
)  # fmt: skip
_PURCHASE = ("currency", "per_unit_cost_basis", "availability_policy")
_RULE = (
    "currency", "threshold", "amount", "target", "per_unit_cost_basis", "funding_method", "availability_policy",
    "expires_after", "priority", "max_amount", "period",
)  # fmt: skip


class ReadGrant(NamedTuple):
    """A grant that a client asks for. tax_config: of the line that sells it; None: as the profile has it."""

    grant: CreditGrant
    tax_config: TaxConfig | None


class ReadAdjustment(NamedTuple):
    """amount: in minor units; below 0: credits are taken."""

    name: str
    description: str | None
    currency: str
    amount: int


def read_grant(sent: Mapping[str, object], id: str, now_ms: int) -> ReadGrant:
    """A new grant.

    Args:
        sent: JSON.
        id: that the grant gets.
        now_ms: the time of the record.

    Raises:
        Rejected: `bad-credit-grant`.
    """
    body = BodyReader(KIND, sent, _GRANT)
    currency = body.required("currency", 3)
    digits_of(currency)
    amount = _above_zero(body, "amount", currency)
    funding: FundingMethod = body.one_of("funding_method", get_args(FundingMethod)) or "none"
    effective_ms = body.instant_ms("effective_at")
    effective_ms = now_ms if effective_ms is None else effective_ms
    purchase = _purchase(body, funding, currency, amount, now_ms)
    tax = body.nested("tax_config")
    if tax is not None and funding != "invoice":
        body.refuse("credit-grant tax_config is for grants that an invoice sells")
    expires_after = body.interval("expires_after")
    grant = CreditGrant(
        id=id,
        name=body.required("name", 256),
        currency=currency,
        amount=amount,
        balance=amount,
        priority=body.integer("priority", 1, MOST_PRIORITY) or USUAL_PRIORITY,
        effective_ms=effective_ms,
        expires_ms=None if expires_after is None else later_ms(effective_ms, expires_after),
        created_ms=now_ms,
        source="given" if purchase is None else "purchased",
        funding=funding,
        features=_features(body),
        purchase=purchase,
        description=body.text("description", 1024, multiline=True),
        labels=body.metadata("labels"),
        key=body.text("key", 256),
    )
    if grant.has_ended(now_ms):
        body.refuse("credit-grant expires_after would end it before now")
    return ReadGrant(grant, None if tax is None else read_tax_config(KIND, tax, "tax_config"))


def read_adjustment(sent: Mapping[str, object]) -> ReadAdjustment:
    """An adjustment of a balance. Raises Rejected `bad-credit-adjustment`."""
    body = BodyReader("credit-adjustment", sent, ("name", "description", "currency", "amount"))
    currency = body.required("currency", 3)
    amount = _minor(body, "amount", currency)
    if not amount:
        body.refuse("credit-adjustment amount is required and must not be 0")
    return ReadAdjustment(
        body.required("name", 256), body.text("description", 1024, multiline=True), currency, amount
    )


def read_rule(sent: Mapping[str, object]) -> TopUpRule:
    """A rule of top-ups. Raises Rejected `bad-credit-rule`."""
    body = BodyReader("credit-rule", sent, _RULE)
    currency = body.required("currency", 3)
    funding: FundingMethod = body.one_of("funding_method", get_args(FundingMethod)) or "invoice"
    amount, threshold = _above_zero(body, "amount", currency), _minor(body, "threshold", currency)
    if threshold is None or threshold < 0:
        body.refuse("credit-rule threshold is required and must not be negative")
    target = _minor(body, "target", currency)
    if target is not None and target <= threshold:
        body.refuse("credit-rule target must be above threshold")
    basis = _cost_basis(body)
    if funding == "invoice" and not price_of(amount, basis):
        body.refuse("credit-rule amount costs nothing, so no invoice can sell it")
    availability = _availability(body)
    if funding == "none" and availability != "on_creation":
        body.refuse("credit-rule availability_policy is for credits that are paid")
    body.interval("expires_after")
    max_amount = _minor(body, "max_amount", currency)
    if max_amount is not None and max_amount < amount:
        body.refuse("credit-rule max_amount must not be below amount")
    body.interval("period")
    return TopUpRule(
        currency=currency,
        threshold=threshold,
        amount=amount,
        target=target,
        cost_basis=basis,
        funding=funding,
        availability=availability,
        expires_after=body.text("expires_after", 64),
        priority=body.integer("priority", 1, MOST_PRIORITY) or USUAL_PRIORITY,
        max_amount=max_amount,
        period=body.text("period", 64) or USUAL_PERIOD,
    )


def topped_up(rule: TopUpRule, id: str, amount: int, now_ms: int) -> CreditGrant:
    """The grant that a rule adds. amount: in minor units."""
    expires_ms = None
    if rule.expires_after is not None:
        expires_ms = later_ms(now_ms, calendar.parse(rule.expires_after))
    purchase = None
    if rule.funding != "none":
        purchase = CreditPurchase(
            cost_basis=rule.cost_basis,
            price=price_of(amount, rule.cost_basis),
            availability=rule.availability,
        )
        purchase = with_payment(purchase, "pending", now_ms)
    return CreditGrant(
        id=id,
        name="Automatic top-up",
        currency=rule.currency,
        amount=amount,
        balance=amount,
        priority=rule.priority,
        effective_ms=now_ms,
        expires_ms=expires_ms,
        created_ms=now_ms,
        source="top_up",
        funding=rule.funding,
        purchase=purchase,
    )


def later_ms(at_ms: int, interval: Interval) -> int:
    """An instant and an interval, in UTC; what lies below the minute stays."""
    below_ms = at_ms % (MINUTE_S * 1000)
    return calendar.add((at_ms - below_ms) // 1000, interval, zone="UTC") * 1000 + below_ms


def _purchase(
    body: BodyReader, funding: FundingMethod, currency: str, amount: int, now_ms: int
) -> CreditPurchase | None:
    nested = body.nested("purchase")
    if funding == "none":
        if nested is not None:
            body.refuse("credit-grant purchase is for the funding methods invoice and external")
        return None
    sent = BodyReader(KIND, nested or {}, _PURCHASE, inside="purchase")
    if (sent.text("currency", 3) or currency) != currency:
        sent.refuse("credit-grant purchase currency must be the currency of the grant: nothing is converted")
    basis = _cost_basis(sent)
    price = price_of(amount, basis)
    if funding == "invoice" and not price:
        sent.refuse("credit-grant purchase costs nothing, so no invoice can sell it")
    purchase = CreditPurchase(cost_basis=basis, price=price, availability=_availability(sent))
    return with_payment(purchase, "pending", now_ms)


def _cost_basis(body: BodyReader) -> str:
    basis = body.at_least_zero("per_unit_cost_basis")
    return "1" if basis is None else number.text(basis)


def _availability(body: BodyReader) -> Availability:
    found: Availability | None = body.one_of("availability_policy", get_args(Availability))
    return found or "on_creation"


def _features(body: BodyReader) -> tuple[str, ...]:
    nested = body.nested("filters")
    if nested is None:
        return ()
    return tuple(
        BodyReader(KIND, nested, ("features",), inside="filters").texts("features", MOST_FEATURES, 64) or ()
    )


def _above_zero(body: BodyReader, member: str, currency: str) -> int:
    amount = _minor(body, member, currency)
    if amount is None or amount <= 0:
        _refuse_amount(body, member)
    return amount


def _refuse_amount(body: BodyReader, member: str) -> NoReturn:
    body.refuse(f"{body.kind} {member} is required and must be above 0")


def _minor(body: BodyReader, member: str, currency: str) -> int | None:
    """An amount in minor units; one with more decimals than the currency has is refused."""
    amount = body.amount(member)
    if amount is None:
        return None
    minor, rest = divmod(amount, money.unit(digits_of(currency)))
    if rest:
        body.refuse(f"{body.kind} {member} has more decimals than {currency}")
    return minor
