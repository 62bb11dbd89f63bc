"""`/reconcile/money`: whether the usage of a period is billed, waits to be billed, or is free.

Owns: waiting for the billing stage, reading documents and windows. Does not own: the comparison (core.bills).
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Annotated, NamedTuple

import msgspec
from fastapi import Depends, Query, Request, Response

from pipeline.api.billing.customer_usage import features_of, usage_of_customer
from pipeline.api.customers.lookup import customer_named
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.bulkheads import KAFKA_SILENT_S
from pipeline.api.http.described import described
from pipeline.api.http.paths import Reconciles, Router
from pipeline.api.http.services import TOPIC_READ_S, Services, services_of
from pipeline.api.http.submit_billing import bills
from pipeline.api.operation.answers import MoneyAnswer
from pipeline.core.bills.customer_money import (
    CustomerDocuments,
    CustomerMoney,
    reconcile_customer,
)
from pipeline.core.bills.money_reconcile import ReconciledPeriod
from pipeline.core.bills.problems import LATE_UNBILLED
from pipeline.core.bills.recounted_usage import RecountedUsage
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.metering.reconcile import totals
from pipeline.core.metering.usage_query import check_range
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.values import timestamp
from pipeline.core.values.calendar import DAY_S, ceil_minute, floor_minute
from pipeline.core.values.user_time import instant_ns
from pipeline.errors import Rejected
from pipeline.stores.kafka.consumer_groups import lag

router = Router(tags=["operation"], route_class=Reconciles, dependencies=[Depends(needs("admin"))])

BILLING = "billing"
STAGES = ("ingest", "dedupe", "aggregate", "sink", "attribute", BILLING)
WAIT_S, USUAL_DAYS, MOST_CUSTOMERS = 30.0, 35, 100
_ASK_AGAIN_S = 0.3
_SURE_AFTER_S = 5.0  # a difference that stays so long is one: corrections follow usage with the next clock
_LATE_MS = 60_000  # lines are expected a minute after they are due
_NS = 10**9
_invoice = msgspec.json.Decoder(StoredInvoice).decode
_subscription = msgspec.json.Decoder(Subscription).decode


class MoneyAsked(NamedTuple):
    """What one request compares. customers: ids."""

    services: Services
    namespace: str
    period: ReconciledPeriod
    customers: list[str]


@router.get(
    "/reconcile/money",
    summary="Whether all usage is billed",
    **described(answer=MoneyAnswer, reasons=["bad-query", "not-found"]),
)
def get_money(
    request: Request,
    *,
    customer: Annotated[str | None, Query(description="id or key; absent: all that have bills")] = None,
    from_: Annotated[str | None, Query(alias="from", description="RFC 3339, or a date in UTC")] = None,
    to: Annotated[str | None, Query(description="end, exclusive; absent: now")] = None,
    wait_s: Annotated[
        float, Query(ge=0, le=600, description="seconds to wait until nothing is in flight")
    ] = WAIT_S,
    page: Annotated[int, Query(ge=1, le=10**9, description="from 1")] = 1,
    pageSize: Annotated[int, Query(ge=1, le=MOST_CUSTOMERS, description="most customers of a page")] = 20,
) -> Response:
    """`ok`: for each customer and feature, usage = billed + pending + free, and the lines of each invoice whose usage
    was collected bill what that usage costs by the price of the line. Usage is counted from the rows in ClickHouse.

    A difference is one sentence with its cause. Without `from` and `to` the last 35 days are compared. Amounts are
    those of whole lines. Only once nothing is in flight (`settled`), bills are compared.
    """
    services, namespace = services_of(request), namespace_of(request)
    period = _period(from_, to, time.time_ns() // _NS)
    found = _customers(request, namespace, customer)
    shown = found[(page - 1) * pageSize : page * pageSize]
    compared = _settled(MoneyAsked(services, namespace, period, shown), wait_s)
    differences = [sentence for one in compared or () for sentence in one.differences]
    body = {
        "ok": not differences,
        "settled": compared is not None,
        "from": timestamp.text_of(period.from_s * 1000),
        "to": timestamp.text_of(period.to_s * 1000),
        "totalCount": len(found),
        "page": page,
        "pageSize": pageSize,
        "items": [msgspec.to_builtins(row) for one in compared or () for row in one.rows],
        "lateUnbilled": _late_unbilled(services, namespace),
        "differences": differences,
    }
    return Response(msgspec.json.encode(body), media_type="application/json")


def _late_unbilled(services: Services, namespace: str) -> int:
    """Windows with the fate `late-unbilled`."""
    services.counts.wait_loaded(TOPIC_READ_S, KAFKA_SILENT_S)
    counted = totals(services.counts.snapshot().values())
    return counted.get(namespace, {}).get(BILLING, Counter())[LATE_UNBILLED]


def _period(from_: str | None, to: str | None, now_s: int) -> ReconciledPeriod:
    from_ns, to_ns = instant_ns("from", from_), instant_ns("to", to)
    check_range(from_ns, to_ns)
    to_s = ceil_minute(now_s) if to_ns is None else min(ceil_minute(-(-to_ns // _NS)), ceil_minute(now_s))
    from_s = to_s - USUAL_DAYS * DAY_S if from_ns is None else floor_minute(from_ns // _NS)
    if from_s >= to_s:
        raise Rejected("bad-query", "from must be before to, and before now")
    return ReconciledPeriod(max(from_s, 0), to_s)


def _customers(request: Request, namespace: str, wanted: str | None) -> list[str]:
    """The customers to compare, by id."""
    if wanted is not None:
        return [customer_named(request, wanted).id]
    return sorted(bills(request).customers(namespace))


def _settled(asked: MoneyAsked, wait_s: float) -> list[CustomerMoney] | None:
    """Compare as soon as all is quiet; None: it did not become quiet."""
    if not asked.customers:
        return []
    deadline = time.monotonic() + wait_s
    first_difference: float | None = None
    while True:
        is_quiet = all(unread == 0 for unread in lag(asked.services.settings, STAGES).values())
        compared = _compared(asked) if is_quiet else None
        now = time.monotonic()
        if compared is not None:
            first_difference = first_difference or now
            ok = not any(one.differences for one in compared)
            if ok or now >= deadline or now - first_difference >= _SURE_AFTER_S:
                return compared
        elif now >= deadline:
            return None
        time.sleep(min(_ASK_AGAIN_S, max(0.0, deadline - now)))


def _compared(asked: MoneyAsked) -> list[CustomerMoney]:
    features = features_of(asked.services, asked.namespace)
    now_ms = time.time_ns() // 1_000_000 - _LATE_MS
    view = asked.services.bills
    found = []
    for customer in asked.customers:
        documents = CustomerDocuments(
            customer,
            [_invoice(one.body) for one in view.invoices_of(asked.namespace, customer)],
            [_subscription(one.body) for one in view.subscriptions_of(asked.namespace, customer)],
        )

        def usage_of(meter_id: int, from_s: int, to_s: int, customer: str = customer) -> RecountedUsage:
            return usage_of_customer(asked.services, (asked.namespace, customer), meter_id, from_s, to_s)

        found.append(reconcile_customer(documents, features, asked.period, usage_of, now_ms))
    return found
