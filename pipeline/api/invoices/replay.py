"""`/billing/replay`: what past usage would have cost by other prices.

Owns: the parameters, which customers are rated, reading what they used. Does not own: the replay (core.explain), usage
(customer_usage). Nothing is changed or kept.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

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
from pipeline.core.definitions.body import BodyReader
from pipeline.core.explain.price_list import KIND, ListedPrice, check_listed, read_price_list
from pipeline.core.explain.price_replay import PriceReplay, ReplayedMoney, ReplaySpan
from pipeline.core.invoices.profiles_now import ProfilesNow
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
_subscription = msgspec.json.Decoder(Subscription).decode


@router.post(
    "",
    summary="What past usage would have cost by other prices",
    **described(PriceReplayBody, PriceReplayAnswer, reasons=REASONS),
)
def replay_prices(
    request: Request,
    sent: SentJson,
    page: Annotated[int, Query(ge=1, le=10**9, description="from 1")] = 1,
    pageSize: Annotated[int, Query(ge=1, le=MOST_CUSTOMERS, description="most customers of a page")] = 20,
) -> Response:
    """For each customer the lines of its subscriptions, by the prices that they have and by those of the list, which
    are for rate cards by key; a key that none of the subscriptions has is refused. It is what billing would have
    issued, to the cent: with late usage, without taxes and credits, and without lines that clients made. Nothing is
    changed.
    """
    services, namespace = services_of(request), namespace_of(request)
    span, customer, prices = _asked(sent)
    view = bills(request)
    if customer is None:
        documents = view.all_subscriptions(namespace)
        found = sorted({one.customer for one in documents})
    else:
        found = [customer_named(request, customer).id]
        documents = view.subscriptions_of(namespace, found[0])
    check_listed((_subscription(one.body) for one in documents), prices)
    features = features_of(services, namespace)
    rows = [
        row
        for id in found[(page - 1) * pageSize : page * pageSize]
        for row in _of_customer(request, id, features, (prices, span))
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


def _asked(sent: Mapping[str, Any]) -> tuple[ReplaySpan, str | None, list[ListedPrice]]:
    reader = BodyReader(KIND, sent, ("from", "to", "customer", "rateCards"))
    from_ns, to_ns = instant_ns("from", reader.text("from", 64)), instant_ns("to", reader.text("to", 64))
    if from_ns is None or to_ns is None or from_ns >= to_ns:
        reader.refuse(f"{reader.kind} from and to are required, from before to")
    prices = read_price_list({"rateCards": sent.get("rateCards")})
    span = ReplaySpan(-(-from_ns // _NS), -(-to_ns // _NS), time.time_ns() // _NS)
    return span, reader.text("customer", 256), prices


def _of_customer(
    request: Request, customer: str, features: FeaturesById, asked: tuple[list[ListedPrice], ReplaySpan]
) -> list[dict[str, Any]]:
    services, namespace = services_of(request), namespace_of(request)
    prices, span = asked
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
    return [_row(customer, one) | key for one in replay.compare(subscriptions, prices, span)]


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
