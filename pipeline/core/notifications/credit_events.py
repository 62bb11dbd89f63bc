"""What fires when the credits of a customer run low.

Owns: which rules fire for a change of a balance, their payload. Does not own: balances (credits), when they change
(bills), the envelope (webhook_payload).

A rule fires when the balance that can be used falls from above its threshold to it or below, and again only after the
balance has been above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pipeline.core.credits.top_up import has_crossed
from pipeline.core.customers.customer import Customer
from pipeline.core.notifications.rule import CREDIT, CreditRule, Rule
from pipeline.core.notifications.webhook_payload import payload
from pipeline.core.values import money, number, ulid
from pipeline.core.values.currency import digits_of
from pipeline.core.values.json_number import plain
from pipeline.records import Alert


class CreditBalances(NamedTuple):
    """What a customer can use by currency, in minor units, before a record and after it. offset: of the record."""

    before: Mapping[str, int]
    after: Mapping[str, int]
    offset: int


def credit_alerts(
    namespace: str, customer: Customer, changed: CreditBalances, rules: Iterable[Rule], now_ms: int
) -> list[Alert]:
    """The alerts that a change of balances fires, by rule.

    Args:
        namespace: of the customer.
        customer: whose credits changed.
        changed: by the record.
        rules: of the namespace, of any type, those that are off too.
        now_ms: the time of the record.
    """
    found = []
    for rule in sorted((one for one in rules if isinstance(one, CreditRule) and one.is_on), key=_id):
        digits = digits_of(rule.currency)
        before, after = (one.get(rule.currency, 0) for one in (changed.before, changed.after))
        watches = rule.customers is None or customer.id in rule.customers
        if watches and has_crossed(before, after, money.minor(number.exact(rule.threshold), digits)):
            found.append(_alert(namespace, customer, rule, money.text(after, digits), now_ms, changed.offset))
    return found


def credit_data(customer: Mapping[str, object], rule: CreditRule, balance: str) -> dict[str, object]:
    """What the payload is about. balance: plain decimal text in major units."""
    return {
        "customer": customer,
        "currency": rule.currency,
        "threshold": plain(rule.threshold),
        "balance": plain(balance),
    }


def _id(rule: Rule) -> str:
    return rule.id


def _alert(
    namespace: str, customer: Customer, rule: CreditRule, balance: str, at_ms: int, offset: int
) -> Alert:
    id = ulid.make(at_ms, f"{namespace}/{rule.id}/{customer.id}/{offset}")
    shown = {"id": customer.id, "key": customer.key, "name": customer.name}
    return Alert(
        id=id,
        namespace=namespace,
        type=CREDIT,
        rule=rule.id,
        at_ms=at_ms,
        endpoints=rule.channels,
        payload=payload(id, CREDIT, at_ms, credit_data(shown, rule, balance)),
        customer=customer.id,
        annotations={"currency": rule.currency, "balance": balance},
    )
