"""`/api/v3/openmeter/customers/{customerIdOrKey}/credits`: credits of a customer.

Owns: the routes. Does not own: the rules (core.credits, core.bills), forms (credit_json).
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.credits.answers import (
    CreditAdjustmentAnswer,
    CreditBalanceAnswer,
    CreditGrantAnswer,
    CreditGrantList,
    CreditTransactionList,
    TopUpAnswer,
)
from pipeline.api.credits.bodies import CreditAdjustmentBody, CreditGrantBody, CreditSettlementBody, TopUpBody
from pipeline.api.credits.credit_json import (
    CreditJson,
    balance_json,
    grant_json,
    listed,
    movement_json,
    read_grant,
    rule_json,
)
from pipeline.api.customers.lookup import customer_named
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paths import ChangesBills, Router
from pipeline.api.http.submit import body_of
from pipeline.api.http.submit_billing import bills, submit_billing
from pipeline.core.credits.credit_balance import balances_at, movements
from pipeline.core.credits.top_up import TopUpRule
from pipeline.core.customers.customer import Customer
from pipeline.core.values.user_time import instant_ns
from pipeline.errors import Rejected
from pipeline.records import BillDocument

router = Router(prefix="/customers/{customerIdOrKey}/credits", tags=["credits"], route_class=ChangesBills)
READ, WRITE = [Depends(needs("query"))], [Depends(needs("billing:write"))]
MOST_PAGE_SIZE = 1000
SentCredit = Annotated[dict[str, Any], Body()]
CreditPageNumber = Annotated[int, Query(alias="page[number]", ge=1, le=10**9, description="from 1")]
CreditPageSize = Annotated[
    int, Query(alias="page[size]", ge=1, le=MOST_PAGE_SIZE, description="most items of a page")
]
CreditCurrencyFilter = Annotated[
    str | None, Query(alias="filter[currency]", description="ISO 4217; absent: all")
]
GONE = ["not-found", "credit_grant_has_ended"]


@router.get(
    "/grants",
    summary="Credit grants",
    dependencies=READ,
    **described(answer=CreditGrantList, reasons=["bad-query", "not-found"]),
)
def list_credit_grants(
    request: Request,
    customerIdOrKey: str,
    number: CreditPageNumber = 1,
    size: CreditPageSize = 100,
    currency: CreditCurrencyFilter = None,
) -> Response:
    """One page, oldest first, ended ones too."""
    now_ms = _now_ms()
    found = bills(request).credits_of(namespace_of(request), customer_named(request, customerIdOrKey).id)
    rows = [grant_json(one, now_ms) for one in found]
    kept = [row for row in rows if currency in (None, row["currency"])]
    return answer(listed(kept, number, size))


@router.post(
    "/grants",
    status_code=201,
    summary="Grant credits",
    dependencies=WRITE,
    **described(
        CreditGrantBody,
        CreditGrantAnswer,
        status=201,
        reasons=[
            "not-found",
            "bad-credit-grant",
            "bad-currency",
            "credit_grant_key_exists",
            "credit_too_many_grants",
            "customer_deleted",
        ],
    ),
)
def create_credit_grant(request: Request, customerIdOrKey: str, grant: SentCredit) -> Response:
    """Money that pays the customer's next invoices, before their totals are fixed.

    Grants with a lower `priority` burn first, then those that expire first, then the oldest.
    """
    customer = customer_named(request, customerIdOrKey)
    made = body_of(submit_billing(request, "credit.grant", customer.id, {"sent": grant}))
    return answer(_shown(request, customer, str(made["grant"])), 201)


@router.get(
    "/grants/{grantId}",
    summary="One credit grant",
    dependencies=READ,
    **described(answer=CreditGrantAnswer, reasons=["not-found"]),
)
def get_credit_grant(request: Request, customerIdOrKey: str, grantId: str) -> Response:
    """Also one that was voided or has expired."""
    return answer(_shown(request, customer_named(request, customerIdOrKey), grantId))


@router.post(
    "/grants/{grantId}/void",
    summary="Void a credit grant",
    dependencies=WRITE,
    **described(answer=CreditGrantAnswer, reasons=GONE),
)
def void_credit_grant(request: Request, customerIdOrKey: str, grantId: str) -> Response:
    """Takes back what is left of it. What it paid stays paid, and its own payment stays as it is."""
    customer = customer_named(request, customerIdOrKey)
    submit_billing(request, "credit.void", customer.id, {"id": grantId, "sent": {}})
    return answer(_shown(request, customer, grantId))


@router.post(
    "/grants/{grantId}/settlement/external",
    summary="Report the payment of a grant",
    dependencies=WRITE,
    **described(
        CreditSettlementBody,
        CreditGrantAnswer,
        reasons=[
            "not-found",
            "bad-credit-grant",
            "credit_grant_has_no_payment",
            "credit_payment_goes_back",
            "credit_grant_is_invoiced",
        ],
    ),
)
def settle_credit_grant(
    request: Request, customerIdOrKey: str, grantId: str, settlement: SentCredit
) -> Response:
    """Of a grant with the funding method `external`. The same report again changes nothing."""
    customer = customer_named(request, customerIdOrKey)
    submit_billing(request, "credit.settle", customer.id, {"id": grantId, "sent": settlement})
    return answer(_shown(request, customer, grantId))


@router.post(
    "/adjustments",
    status_code=201,
    summary="Adjust credits",
    dependencies=WRITE,
    **described(
        CreditAdjustmentBody,
        CreditAdjustmentAnswer,
        status=201,
        reasons=[
            "not-found",
            "bad-credit-adjustment",
            "bad-currency",
            "credit_balance_too_low",
            "customer_deleted",
        ],
    ),
)
def adjust_credits(request: Request, customerIdOrKey: str, adjustment: SentCredit) -> Response:
    """Adds credits, or takes them off what the customer can use."""
    customer = customer_named(request, customerIdOrKey)
    made = body_of(submit_billing(request, "credit.adjust", customer.id, {"sent": adjustment}))
    return answer({name: made[name] for name in ("id", "name", "currency", "amount")}, 201)


@router.get(
    "/balance",
    summary="Balance of credits",
    dependencies=READ,
    **described(answer=CreditBalanceAnswer, reasons=["bad-query", "not-found"]),
)
def get_credit_balance(
    request: Request,
    customerIdOrKey: str,
    at: Annotated[str | None, Query(description="RFC 3339 or a date; absent: now")] = None,
    currency: CreditCurrencyFilter = None,
    feature: Annotated[
        str | None, Query(alias="filter[feature_key]", description="only credits that pay its lines")
    ] = None,
) -> Response:
    """By currency, at an instant: what is booked for it or earlier counts."""
    customer, view, namespace = (
        customer_named(request, customerIdOrKey),
        bills(request),
        namespace_of(request),
    )
    at_ns = instant_ns("at", at)
    at_ms = _now_ms() if at_ns is None else at_ns // 1_000_000
    grants = [read_grant(one) for one in view.credits_of(namespace, customer.id)]
    found = balances_at(grants, view.ledger_of(namespace, customer.id), at_ms, feature)
    return answer(balance_json({name: one for name, one in found.items() if currency in (None, name)}, at_ms))


@router.get(
    "/transactions",
    summary="Transactions of credits",
    dependencies=READ,
    **described(answer=CreditTransactionList, reasons=["bad-query", "not-found"]),
)
def list_credit_transactions(
    request: Request,
    customerIdOrKey: str,
    number: CreditPageNumber = 1,
    size: CreditPageSize = 100,
    currency: CreditCurrencyFilter = None,
) -> Response:
    """One page, newest first: what was granted, consumed, returned, voided, adjusted and what expired."""
    customer = customer_named(request, customerIdOrKey)
    found = movements(bills(request).ledger_of(namespace_of(request), customer.id))
    rows = [movement_json(one) for one in reversed(found) if currency in (None, one.currency)]
    return answer(listed(rows, number, size))


@router.put(
    "/top-ups/{currency}",
    summary="Top up credits automatically",
    dependencies=WRITE,
    **described(
        TopUpBody, TopUpAnswer, reasons=["not-found", "bad-credit-rule", "bad-currency", "customer_deleted"]
    ),
)
def put_top_up(request: Request, customerIdOrKey: str, currency: str, rule: SentCredit) -> Response:
    """One rule for a currency; it is followed from now on, whenever the balance is at its threshold or below."""
    customer = customer_named(request, customerIdOrKey)
    if "currency" in rule:
        raise Rejected("bad-credit-rule", "credit-rule currency is in the path")
    sent = {**rule, "currency": currency}
    made = body_of(submit_billing(request, "credit.rule", customer.id, {"sent": sent}))["rule"]
    return answer(rule_json(msgspec.convert(made, TopUpRule)))


@router.delete(
    "/top-ups/{currency}",
    status_code=204,
    summary="Stop topping up",
    dependencies=WRITE,
    **described(status=204, reasons=["not-found"]),
)
def delete_top_up(request: Request, customerIdOrKey: str, currency: str) -> Response:
    """Credits that were added stay."""
    customer = customer_named(request, customerIdOrKey)
    submit_billing(request, "credit.rule-delete", customer.id, {"id": currency, "sent": {}})
    return Response(status_code=204)


def _shown(request: Request, customer: Customer, id: str) -> CreditJson:
    found: BillDocument | None = bills(request).credit(namespace_of(request), id)
    if found is None or found.customer != customer.id:
        raise Rejected("not-found", f"There is no credit grant with the id {id[:64]}.")
    return grant_json(found, _now_ms())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
