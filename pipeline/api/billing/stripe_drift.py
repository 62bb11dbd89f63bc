"""`GET /billing/stripe/drift`: our usage against Stripe's totals, window by window, with the cause of each difference.

Owns: the parameters, which customers and mappings are compared, the form of an item. Does not own: reading the three
counts (stripe_counts), the causes (core.billing.stripe_drift).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Query, Request

from pipeline.api.billing.stripe_answers import DriftAnswer
from pipeline.api.billing.stripe_counts import (
    DriftAsked,
    StripeMapped,
    StripeUnavailable,
    compared_span,
    drift_rows,
)
from pipeline.api.billing.stripe_reads import StripeClients
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.bulkheads import loaded
from pipeline.api.http.described import described
from pipeline.api.http.paths import Router
from pipeline.api.http.services import Services, services_of
from pipeline.core.billing.app import App, stripe_accounts
from pipeline.core.billing.customer_app import CustomerApp, customer_app_name
from pipeline.core.billing.stripe_comparison import DriftRow
from pipeline.core.billing.stripe_drift import scaled, units_text
from pipeline.core.billing.stripe_meter import StripeMeter
from pipeline.core.values import number, timestamp
from pipeline.core.values.user_time import instant_ns
from pipeline.errors import Rejected
from pipeline.stores.clickhouse import stripe_usage

DAY_S = 86_400
DEFAULT_S, MOST_S = 7 * DAY_S, 40 * DAY_S
PAGE_SIZE, MOST_PAGE_SIZE = 20, 100
AT_ONCE = 4  # customers that are compared at once
_NS_PER_S = 1_000_000_000

router = Router(prefix="/billing/stripe", tags=["billing"], dependencies=[Depends(needs("query"))])
DriftTime = Annotated[str | None, Query(description="RFC 3339, or a date in UTC")]


class _Compared(NamedTuple):
    """What was found of one customer. windows: how many were compared."""

    windows: int
    items: list[dict[str, Any]]
    unread: list[dict[str, Any]]


@router.get(
    "/drift",
    summary="Differences from Stripe",
    **described(answer=DriftAnswer, reasons=["bad-query", "not-found"]),
)
async def drift(
    request: Request,
    *,
    customer: Annotated[str | None, Query(description="id or key; absent: all")] = None,
    meter: Annotated[str | None, Query(description="slug; absent: all that are mapped")] = None,
    from_: Annotated[DriftTime, Query(alias="from")] = None,
    to: DriftTime = None,
    page: Annotated[int, Query(ge=1, le=10**9, description="from 1")] = 1,
    pageSize: Annotated[
        int, Query(ge=1, le=MOST_PAGE_SIZE, description="most customers of a page")
    ] = PAGE_SIZE,
) -> dict[str, Any]:
    """Each window that has ended is compared: usage by the stored events, what was sent, and Stripe's summaries.

    A difference has one or more causes, which sum to it. `unexplained` is what no cause fits: it needs a person.
    Without `from` and `to` the last 7 days are compared; at most 40 days can be. Stripe is read at a limited rate, so
    a page of many customers takes seconds.
    """
    services, namespace, now_ms = services_of(request), namespace_of(request), time.time_ns() // 1_000_000
    await loaded(services.definitions)
    from_s, to_s = span_of(from_, to, now_ms // 1_000)
    reports = await services.bulkheads.kafka.run(lambda: services.stripe_reports().of(namespace))
    mapped = _mapped(services, namespace, meter)
    async with StripeClients(services, namespace) as clients:
        asked = DriftAsked(services, clients, namespace, from_s, to_s, reports, now_ms)
        customers = await _customers(asked, mapped, customer)
        turns = asyncio.Semaphore(AT_ONCE)
        shown = customers[(page - 1) * pageSize : page * pageSize]
        found = await asyncio.gather(*(_customer(asked, mapped, one, turns) for one in shown))
    items = [item for one in found for item in one.items]
    unread = [item for one in found for item in one.unread]
    causes = Counter(cause for item in items for cause in {part["cause"] for part in item["causes"]})
    return {
        "ok": not unread and "unexplained" not in causes,
        "from": timestamp.text_of(from_s * 1_000),
        "to": timestamp.text_of(to_s * 1_000),
        "totalCount": len(customers),
        "page": page,
        "pageSize": pageSize,
        "windows": sum(one.windows for one in found),
        "causes": dict(sorted(causes.items())),
        "items": items,
        "unread": unread,
    }


def span_of(from_: str | None, to: str | None, now_s: int) -> tuple[int, int]:
    """[from, to) in seconds; windows that have not ended are left out. Raises Rejected `bad-query`."""
    since, until = instant_ns("from", from_), instant_ns("to", to)
    to_s = now_s if until is None else min(until // _NS_PER_S, now_s)
    from_s = to_s - DEFAULT_S if since is None else -(-since // _NS_PER_S)
    if from_s < 0 or to_s < 0 or (since is not None and until is not None and since >= until):
        raise Rejected("bad-query", "from must be before to, and both after 1970")
    if to_s - from_s > MOST_S:
        raise Rejected("bad-query", f"from and to may be at most {MOST_S // DAY_S} days apart")
    return min(from_s, to_s), to_s


def _mapped(services: Services, namespace: str, meter: str | None) -> list[StripeMapped]:
    """The mappings of apps that are installed, also those that have ended. Raises Rejected `not-found`."""
    definitions = services.definitions
    apps = {app.id: app for app in stripe_accounts(definitions.all(App, namespace))}
    mappings = [one for one in definitions.all(StripeMeter, namespace) if one.app_id in apps]
    found = [one for one in mappings if meter in (None, one.meter_slug)]
    if meter is not None and not found:
        raise Rejected("not-found", f"No mapping sends the meter {meter!r} to Stripe.")
    return [
        StripeMapped(
            apps[one.app_id],
            one,
            [
                other
                for other in mappings
                if other.id != one.id
                and (other.app_id, other.stripe_meter_id) == (one.app_id, one.stripe_meter_id)
            ],
        )
        for one in found
    ]


async def _customers(asked: DriftAsked, mapped: Sequence[StripeMapped], wanted: str | None) -> list[str]:
    """Ids, sorted: those with usage that was to be sent, and those that have an id at Stripe."""
    definitions = asked.services.definitions
    if wanted is not None:
        customer = definitions.customer(asked.namespace, wanted)
        if customer is None:
            raise Rejected("not-found", f"There is no customer {wanted!r}.")
        return [customer.id]
    apps = {one.app.id for one in mapped}
    known = {
        one.customer_id
        for one in definitions.all(CustomerApp, asked.namespace)
        if one.app_id in apps and not one.is_deleted
    }
    ids = [one.mapping.id for one in mapped]
    read = partial(
        stripe_usage.customers_of, asked.services.clickhouse, asked.namespace, ids, asked.from_s - DAY_S, asked.to_s
    )  # fmt: skip
    return sorted(known | (await asked.services.bulkheads.clickhouse.run(read) if ids else set()))


async def _customer(
    asked: DriftAsked, mapped: Sequence[StripeMapped], customer: str, turns: asyncio.Semaphore
) -> _Compared:
    windows, items, unread = 0, list[dict[str, Any]](), list[dict[str, Any]]()
    async with turns:
        for one in mapped:
            span = compared_span(asked, one.mapping)
            if span.is_empty:
                continue
            app = asked.services.definitions.find(
                CustomerApp, asked.namespace, customer_app_name(customer, one.app.id)
            )
            stripe_id = None if app is None or app.is_deleted else app.stripe_customer_id
            ids = [] if app is None or stripe_id is None else [stripe_id, *_former(asked, app)]
            try:
                rows = await drift_rows(asked, one, customer, ids, span)
            except Rejected as refusal:
                if not refusal.reason.startswith("stripe-"):
                    raise
                unread.append(_unread(customer, one, refusal.detail))
                continue
            except StripeUnavailable as error:
                unread.append(_unread(customer, one, str(error)))
                continue
            windows += len(span.starts())
            items += [_item(asked, one, customer, stripe_id, row) for row in rows]
    return _Compared(windows, items, unread)


def _former(asked: DriftAsked, app: CustomerApp) -> list[str]:
    """Ids that a customer had before at Stripe, but for those that another customer has by now."""
    if not app.former_stripe_ids:
        return []
    others = asked.services.definitions.all(CustomerApp, asked.namespace)
    taken = {one.stripe_customer_id for one in others if one.app_id == app.app_id}
    return [id for id in app.former_stripe_ids if id not in taken]


def _unread(customer: str, mapped: StripeMapped, detail: str) -> dict[str, Any]:
    return {
        "customerId": customer,
        "appId": mapped.app.id,
        "meter": mapped.mapping.meter_slug,
        "detail": detail,
    }


def _item(
    asked: DriftAsked, mapped: StripeMapped, customer: str, stripe_id: str | None, row: DriftRow
) -> dict[str, Any]:
    window = row.window
    known = asked.services.definitions.customer(asked.namespace, customer)
    return {
        "customerId": customer,
        "customerKey": None if known is None else known.key,
        "stripeCustomerId": stripe_id,
        "appId": mapped.app.id,
        "mappingId": mapped.mapping.id,
        "meter": mapped.mapping.meter_slug,
        "stripeMeterId": mapped.mapping.stripe_meter_id,
        "start": timestamp.text_of(window.start_s * 1_000),
        "end": timestamp.text_of(window.end_s * 1_000),
        "counted": number.text(window.counted.atto),
        "exact": number.text(sum(one.exact for one in window.sent)),
        "wanted": str(sum(one.wanted for one in window.sent)),
        "confirmed": str(sum(one.confirmed for one in window.sent)),
        "pending": str(sum(one.pending for one in window.sent)),
        "unsendable": str(sum(one.unsendable for one in window.sent)),
        "stripe": None if window.stripe is None else units_text(scaled(window.stripe)),
        "difference": units_text(row.difference),
        "causes": [
            {"cause": part.cause, "difference": units_text(part.units), "detail": part.detail}
            for part in row.parts
        ],
    }
