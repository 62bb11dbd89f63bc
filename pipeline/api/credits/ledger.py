"""`/ledger/trial-balance`: what each account of the ledger holds.

Owns: the route. Does not own: adding up (core.ledger), the transactions (stores.kafka).
"""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
from fastapi import Depends, Query, Request, Response

from pipeline.api.credits.answers import TrialBalanceAnswer
from pipeline.api.customers.lookup import customer_named
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paths import Router
from pipeline.api.http.submit_billing import bills
from pipeline.core.ledger.trial_balance import trial_balance
from pipeline.core.values import timestamp
from pipeline.core.values.user_time import instant_ns

router = Router(prefix="/ledger", tags=["credits"])
READ = [Depends(needs("query"))]


@router.get(
    "/trial-balance",
    summary="Trial balance",
    dependencies=READ,
    **described(answer=TrialBalanceAnswer, reasons=["bad-query", "not-found"]),
)
def get_trial_balance(
    request: Request,
    customer: Annotated[str | None, Query(description="id or key; absent: all customers")] = None,
    at: Annotated[str | None, Query(description="RFC 3339 or a date; absent: now")] = None,
) -> Response:
    """Debit, credit and balance of each account by currency; all balances of a currency sum to zero."""
    view, namespace = bills(request), namespace_of(request)
    at_ns = instant_ns("at", at)
    at_ms = time.time_ns() // 1_000_000 if at_ns is None else at_ns // 1_000_000
    if customer is None:
        transactions = view.ledger(namespace)
    else:
        transactions = view.ledger_of(namespace, customer_named(request, customer).id)
    balance = trial_balance(transactions, at_ms)
    return answer(
        {
            "ok": not balance.differences,
            "at": timestamp.text_of(at_ms),
            "transactions": balance.transactions,
            "accounts": [msgspec.to_builtins(row) for row in balance.rows],
            "differences": balance.differences,
        }
    )
