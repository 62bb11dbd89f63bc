"""`GET /billing/stripe/status`: how far the sync of usage with Stripe is, by app.

Owns: putting together definitions, the stage's counts, its lag, and what Stripe does not have. Does not own: lag
(stores.kafka.consumer_groups), whether totals agree (stripe_drift).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, get_args

from fastapi import Depends, Request

from pipeline.api.billing.stripe_answers import StripeStatusAnswer
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.bulkheads import loaded
from pipeline.api.http.described import described
from pipeline.api.http.paths import Router
from pipeline.api.http.services import services_of
from pipeline.core.billing.app import App, StripeApp, stripe_accounts
from pipeline.core.billing.stripe_meter import StripeMeter
from pipeline.core.billing.stripe_outcome import Outcome
from pipeline.core.values import timestamp
from pipeline.errors import Unavailable
from pipeline.records import Counts
from pipeline.stores.clickhouse.stripe_usage import OpenUsage, open_usage
from pipeline.stores.kafka.consumer_groups import lag

STAGE = "stripe-sync"
OUTCOMES = frozenset(get_args(Outcome))  # the names of its counts of calls
SHOWN_S = 40 * 86_400  # Stripe takes usage of 35 days; what is older stays in `drift`
MESSAGES = 5

router = Router(prefix="/billing/stripe", tags=["billing"], dependencies=[Depends(needs("query"))])


@router.get("/status", summary="State of the sync with Stripe", **described(answer=StripeStatusAnswer))
async def stripe_status(request: Request) -> dict[str, Any]:
    """Windows of the last 40 days that Stripe does not have as they are wanted, by app, and calls by outcome.

    Mappings that have ended count with requests in progress only. `waitingWindows` includes windows that are about to
    be sent. `GET /billing/stripe/drift` names each of them.
    """
    services, namespace = services_of(request), namespace_of(request)
    await loaded(services.definitions)
    await loaded(services.counts)
    apps = stripe_accounts(services.definitions.all(App, namespace))
    from_s = max(0, int(time.time()) - SHOWN_S)
    in_force = [one for one in services.definitions.all(StripeMeter, namespace) if not one.is_deleted]
    ids = [one.id for one in in_force]
    found = await services.bulkheads.clickhouse.run(
        partial(open_usage, services.clickhouse, namespace, ids, from_s)
    )
    mappings = Counter(one.app_id for one in in_force)
    reports = await services.bulkheads.kafka.run(lambda: services.stripe_reports().of(namespace))
    try:
        unread = (await services.bulkheads.kafka.run(partial(lag, services.settings))).get(STAGE)
    except Unavailable:
        unread = None
    return {
        "lag": unread,
        "requests": requests_by_outcome(services.counts.snapshot().values(), namespace),
        "reports": len(reports),
        "apps": [
            app_status(app, mappings[app.id], [one for one in found if one.app == app.id]) for app in apps
        ],
    }


def requests_by_outcome(counts: Iterable[Counts], namespace: str) -> dict[str, int]:
    """Calls since the beginning, of all partitions of the stage."""
    sums: Counter[str] = Counter()
    for one in counts:
        if one.stage == STAGE:
            for name, number in one.counts.get(namespace, {}).items():
                if name in OUTCOMES:
                    sums[name] += number
    return dict(sorted(sums.items()))


def app_status(app: StripeApp, mappings: int, found: Sequence[OpenUsage]) -> dict[str, Any]:
    """One app. found: what Stripe does not have of it."""
    unsendable: Counter[str] = Counter()
    for one in found:
        if one.unsendable:
            unsendable[one.cause or "refused"] += one.unsendable * one.windows
    starts = [one.start_s for one in found]
    return {
        "appId": app.id,
        "name": app.name,
        "status": app.status,
        "detail": app.status_reason or "",
        "stripeAccountId": app.stripe_account_id,
        "livemode": app.livemode,
        "maskedAPIKey": app.masked_api_key,
        "mappings": mappings,
        "waitingWindows": sum(one.windows for one in found),
        "oldestWaiting": timestamp.text_of(min(starts) * 1_000) if starts else None,
        "pendingUnits": str(sum(one.pending * one.windows for one in found)),
        "unsendableUnits": {cause: str(units) for cause, units in sorted(unsendable.items())},
        "messages": sorted({one.message for one in found if one.message})[:MESSAGES],
    }
