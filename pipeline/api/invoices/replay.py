"""`/billing/replay`: what past usage would have cost by other prices or under another plan.

Owns: the parameters, which customers are rated, reading what they used. Does not own: the replay (core.explain), usage
(customer_usage). Nothing is changed or kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import Depends, Query, Request, Response

from pipeline.api.billing.customer_usage import features_of, usage_of_customer
from pipeline.api.customers.lookup import customer_named
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paths import Reconciles, Router
from pipeline.api.http.services import Services, services_of
from pipeline.api.http.submit import definitions
from pipeline.api.http.submit_billing import bills
from pipeline.api.invoices.changes import SentJson
from pipeline.api.invoices.replay_forms import PriceReplayAnswer, PriceReplayBody
from pipeline.core.bills.customer_money import FeaturesById
from pipeline.core.bills.recounted_usage import RecountedUsage
from pipeline.core.bills.usage import BilledFeature
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.plan import Plan
from pipeline.core.definitions.body import BodyReader
from pipeline.core.explain.plan_replay import check_sold, with_plan
from pipeline.core.explain.price_list import KIND, check_listed, read_price_list, with_prices
from pipeline.core.explain.price_replay import Alternative, PriceReplay, ReplayedMoney, ReplaySpan
from pipeline.core.invoices.profiles_now import ProfilesNow
from pipeline.core.subscriptions.order_reading import SUBSCRIPTION, read_choice
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.values import timestamp
from pipeline.core.values.calendar import ceil_minute, floor_minute
from pipeline.core.values.user_time import instant_ns

router = Router(
    prefix="/billing/replay",
    tags=["invoices"],
    route_class=Reconciles,
    dependencies=[Depends(needs("query"))],
)
MOST_CUSTOMERS = 100
_NS = 1_000_000_000
REASONS = ["bad-price-list", "bad-query", "not-found", "invoice_line_needs_events", "customer_deleted"]
REASONS += ["bad-subscription", "bad-plan", "bad-currency"]
WAYS = ("rateCards", "plan", "customPlan")
_subscription = msgspec.json.Decoder(Subscription).decode


@router.post(
    "",
    summary="What past usage would have cost by other prices or under another plan",
    **described(PriceReplayBody, PriceReplayAnswer, reasons=REASONS),
)
def replay_prices(
    request: Request,
    sent: SentJson,
    page: Annotated[int, Query(ge=1, le=10**9, description="from 1")] = 1,
    pageSize: Annotated[int, Query(ge=1, le=MOST_CUSTOMERS, description="most customers of a page")] = 20,
) -> Response:
    """For each customer the lines of its subscriptions, as they are and as they would be. One of these is changed:

    `rateCards`: prices for rate cards by key; a key that none of the subscriptions has is refused.
    `plan` or `customPlan`: a whole plan, of the catalog or sent. Each subscription has it from its start, and keeps its
    end, its anchor and its add-ons; edits of its items are left out. `planKey`: only subscriptions of this plan get it.

    It is what billing would have issued, to the cent: with late usage, without taxes and credits, and without lines
    that clients made. Nothing is changed.
    """
    services, namespace = services_of(request), namespace_of(request)
    asked = _asked(request, sent)
    span, customer = asked.span, asked.customer
    view = bills(request)
    if customer is None:
        documents = view.all_subscriptions(namespace)
        found = sorted({one.customer for one in documents})
    else:
        found = [customer_named(request, customer).id]
        documents = view.subscriptions_of(namespace, found[0])
    asked.check(_subscription(one.body) for one in documents)
    features = features_of(services, namespace)
    rows = [
        row
        for id in found[(page - 1) * pageSize : page * pageSize]
        for row in _of_customer(request, id, features, asked)
    ]
    body = {
        "from": timestamp.text_of(span.from_s * 1000),
        "to": timestamp.text_of(span.to_s * 1000),
        "totalCount": len(found),
        "page": page,
        "pageSize": pageSize,
        "items": rows,
    }
    return answer(body)


class _Asked(NamedTuple):
    """What a client asks. check: refuses what no subscription has."""

    span: ReplaySpan
    customer: str | None
    changed: Alternative
    check: Callable[[Iterable[Subscription]], None]


def _asked(request: Request, sent: Mapping[str, Any]) -> _Asked:
    reader = BodyReader(KIND, sent, ("from", "to", "customer", "planKey", *WAYS))
    from_ns, to_ns = instant_ns("from", reader.text("from", 64)), instant_ns("to", reader.text("to", 64))
    if from_ns is None or to_ns is None or from_ns >= to_ns:
        reader.refuse(f"{reader.kind} from and to are required, from before to")
    span = ReplaySpan(-(-from_ns // _NS), -(-to_ns // _NS), time.time_ns() // _NS)
    customer, of_plan = reader.text("customer", 256), reader.text("planKey", 64)
    if sum(sent.get(way) is not None for way in WAYS) != 1:
        reader.refuse(f"{reader.kind} must have one of {', '.join(WAYS)}")
    if sent.get("rateCards") is None:
        plan = _plan(request, {way: sent[way] for way in WAYS[1:] if sent.get(way) is not None})
        return _Asked(
            span,
            customer,
            lambda one: with_plan(one, plan, of_plan),
            lambda found: check_sold(found, of_plan),
        )
    if of_plan is not None:
        reader.refuse(f"{reader.kind} planKey is for plan and customPlan; a rate card has its own")
    prices = read_price_list({"rateCards": sent["rateCards"]})
    return _Asked(
        span, customer, lambda one: with_prices(one, prices), lambda found: check_listed(found, prices)
    )


def _plan(request: Request, chosen: Mapping[str, Any]) -> Plan:
    namespace, now_ms = namespace_of(request), time.time_ns() // 1_000_000
    sent = BodyReader(SUBSCRIPTION, chosen, WAYS[1:])
    return definitions(request).look_up(
        lambda index: read_choice(sent, CatalogNow(index, namespace, now_ms))[0]
    )


def _of_customer(
    request: Request, customer: str, features: FeaturesById, asked: _Asked
) -> list[dict[str, Any]]:
    services, namespace = services_of(request), namespace_of(request)
    workflow = definitions(request).look_up(
        lambda index: ProfilesNow(index, namespace).in_force(customer).workflow
    )
    subscriptions = [_subscription(one.body) for one in services.bills.subscriptions_of(namespace, customer)]

    def feature_of(id: str | None, key: str | None) -> BilledFeature | None:
        found = features.find(id, key)
        return None if found is None or found not in features.all else features.all[found].billed

    replay = PriceReplay(workflow, feature_of, _Usage(services, namespace, customer).quantity)
    known = services.definitions.customer(namespace, customer)
    key = {} if known is None or known.key is None else {"customerKey": known.key}
    return [_row(customer, one) | key for one in replay.compare(subscriptions, asked.changed, asked.span)]


class _Usage:
    """The usage of a customer; the lines of a period ask for the same one."""

    def __init__(self, services: Services, namespace: str, customer: str) -> None:
        self._services, self._owner = services, (namespace, customer)
        self._read: dict[tuple[int, int, int], RecountedUsage] = {}

    def quantity(self, feature: BilledFeature, from_s: int, to_s: int) -> int:
        span = (feature.meter_id, floor_minute(from_s), ceil_minute(to_s))
        if span not in self._read:
            self._read[span] = usage_of_customer(self._services, self._owner, *span)
        return self._read[span].quantity(feature, from_s, to_s)


def _row(customer: str, money: ReplayedMoney) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.to_builtins(money)
    return {"customerId": customer, **members}
