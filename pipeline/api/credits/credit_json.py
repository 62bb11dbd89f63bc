"""Credits as the API shows them, in OpenMeter's v3 JSON: snake_case, amounts as decimal text.

Owns: the members and their form. Does not own: what they mean (core.credits), routes (credits).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline.core.credits.credit_balance import CreditBalance, CreditMovement
from pipeline.core.credits.credit_grant import CreditGrant, decode_grant
from pipeline.core.credits.top_up import TopUpRule
from pipeline.core.values import money, timestamp
from pipeline.core.values.currency import digits_of
from pipeline.records import BillDocument

CreditJson = dict[str, Any]
_TYPES: Final[Mapping[str, str]] = {
    "credit.granted": "funded",
    "credit_note.granted": "funded",
    "credit.expired": "expired",
    "credit.forfeited": "expired",
    "credit.voided": "voided",
    "credit.withdrawn": "voided",
    "credit.adjusted": "adjusted",
    "invoice.voided": "returned",
    "invoice.deleted": "returned",
}


def read_grant(document: BillDocument) -> CreditGrant:
    """The grant that billing published."""
    return decode_grant(document.body)


def grant_json(document: BillDocument, now_ms: int) -> CreditJson:
    """A grant as it is at an instant."""
    grant = read_grant(document)
    digits = digits_of(grant.currency)
    optional = {
        "description": grant.description,
        "labels": grant.labels,
        "key": grant.key,
        "filters": {"features": list(grant.features)} if grant.features else None,
        "purchase": _purchase(grant, digits),
        "expires_at": None if grant.expires_ms is None else timestamp.text_of(grant.expires_ms),
        "voided_at": None if grant.voided_ms is None else timestamp.text_of(grant.voided_ms),
    }
    return {
        "id": grant.id,
        "name": grant.name,
        "funding_method": grant.funding,
        "source": grant.source,
        "currency": grant.currency,
        "amount": money.text(grant.amount, digits),
        "balance": money.text(grant.balance, digits),
        "priority": grant.priority,
        "status": grant.status(now_ms),
        "effective_at": timestamp.text_of(grant.effective_ms),
        "created_at": timestamp.text_of(grant.created_ms),
        "updated_at": timestamp.text_of(document.at_ms),
        **{name: value for name, value in optional.items() if value is not None},
    }


def balance_json(found: Mapping[str, CreditBalance], at_ms: int) -> CreditJson:
    """Balances by currency at an instant."""
    rows = []
    for currency, balance in sorted(found.items()):
        digits = digits_of(currency)
        amounts = {name: money.text(amount, digits) for name, amount in balance._asdict().items()}
        rows.append({"currency": currency, **amounts})
    return {"retrieved_at": timestamp.text_of(at_ms), "balances": rows}


def movement_json(movement: CreditMovement) -> CreditJson:
    """A transaction of credits."""
    digits = digits_of(movement.currency)
    kind = _TYPES.get(movement.kind) or ("consumed" if movement.amount < 0 else "returned")
    return {
        "id": movement.id,
        "name": movement.name,
        "type": kind,
        "currency": movement.currency,
        "amount": money.text(movement.amount, digits),
        "available_balance": {
            "before": money.text(movement.before, digits),
            "after": money.text(movement.after, digits),
        },
        "cause": movement.cause,
        "booked_at": timestamp.text_of(movement.at_ms),
        "created_at": timestamp.text_of(movement.created_ms),
    }


def rule_json(rule: TopUpRule) -> CreditJson:
    """A rule of top-ups."""
    digits = digits_of(rule.currency)
    optional = {
        "target": None if rule.target is None else money.text(rule.target, digits),
        "expires_after": rule.expires_after,
        "max_amount": None if rule.max_amount is None else money.text(rule.max_amount, digits),
    }
    return {
        "currency": rule.currency,
        "threshold": money.text(rule.threshold, digits),
        "amount": money.text(rule.amount, digits),
        "per_unit_cost_basis": rule.cost_basis,
        "funding_method": rule.funding,
        "availability_policy": rule.availability,
        "priority": rule.priority,
        "period": rule.period,
        **{name: value for name, value in optional.items() if value is not None},
    }


def listed(rows: Sequence[CreditJson], number: int, size: int) -> CreditJson:
    """One page of a list. number: from 1. size: most items of a page."""
    begin = (number - 1) * size
    meta = {"page": {"number": number, "size": size, "total": len(rows)}}
    return {"data": list(rows[begin : begin + size]), "meta": meta}


def _purchase(grant: CreditGrant, digits: int) -> CreditJson | None:
    purchase = grant.purchase
    if purchase is None:
        return None
    return {
        "currency": grant.currency,
        "amount": money.text(purchase.price, digits),
        "per_unit_cost_basis": purchase.cost_basis,
        "availability_policy": purchase.availability,
        "settlement_status": purchase.payment,
    }
