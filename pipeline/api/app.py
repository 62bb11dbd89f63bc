"""The HTTP API: events, meters, usage, customers, features, entitlements, notifications, keys, the portal, operation.

Owns: putting routes, the form of errors and services together. Does not own: any answer (the routes' modules).
Run as `tallymark api`, in one process or several. In the local stack chDB is a process of its own, which it and the
sink ask over HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import anyio.to_thread
from fastapi import FastAPI

from pipeline.api.access import keys, portal
from pipeline.api.billing import (
    apps,
    customer_apps,
    keyless_apps,
    marketplace,
    overrides,
    profiles,
    stripe_drift,
    stripe_invoice_drift,
    stripe_meters,
    stripe_retry,
    stripe_sessions,
    stripe_status,
    stripe_webhook,
)
from pipeline.api.catalog import addons, currencies, features, plan_addons, plans
from pipeline.api.credits import credit_notes, credits, ledger
from pipeline.api.customers import customers, subjects
from pipeline.api.http import docs, problem
from pipeline.api.http.auth import Authentication
from pipeline.api.http.body import Bodies
from pipeline.api.http.described import described
from pipeline.api.http.paths import CanonicalPath, Router
from pipeline.api.http.rate_limits import RateLimits
from pipeline.api.http.services import Services
from pipeline.api.http.short_way import ShortWay
from pipeline.api.invoices import (
    changes,
    custom_invoicing,
    explain,
    invoices,
    pending_lines,
    portal_credits,
    proof,
    replay,
    upcoming,
)
from pipeline.api.invoices import portal as portal_invoices
from pipeline.api.metering import backfill, events, ingest, meters, progress, usage
from pipeline.api.notifications import channels, deliveries, rules
from pipeline.api.notifications import events as alerts
from pipeline.api.operation import audit, debug_metrics, money, reconcile, status
from pipeline.api.operation.answers import HealthAnswer
from pipeline.api.quota import entitlements, grants, imports, live_values, values
from pipeline.api.subscriptions import addons as subscription_addons
from pipeline.api.subscriptions import of_customer, subscriptions
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.redis_balances import BalanceReader

PREFIX, PREFIX_V2, PREFIX_V3 = "/api/v1", "/api/v2", "/api/v3/openmeter"
DESCRIPTION = """\
Exact usage, counted once. A value is a number with all its digits (up to 38, 18 after the point): read it as a decimal.
Times are RFC 3339; windows and ranges are [start, end).
A key or id in a path is percent-encoded: a `/` within it is sent as `%2F`, a `%` as `%25`.
Errors are `application/problem+json` (RFC 7807) with a stable `reason`.

Every request except `/healthz` and `/ready` needs an API key: `Authorization: Bearer um_...`. The key determines the
namespace of the request; ids of other namespaces are not found. A key has scopes, and each operation needs one of them.

A change can be retried with the same `Idempotency-Key` and the same request: it is done once and gets the same answer,
also when both requests are in progress at once. A repeated answer has the header `Idempotent-Replayed: true` and does
not show a secret again. The header belongs to the namespace and is valid for 24 hours; another request with it is
refused with 422 `idempotency-key-reused`. That of a change of a subscription or an invoice belongs to the customer:
a change of another customer with the same header is done too. Bodies are compared as JSON values, so 50 and 50.0 are
equal. A refused request changes nothing and does not use its header. Events need no such header: they are identified by
source and id.

A member of a body and a query parameter acts, or is refused with 400. Members that only the server writes, such as `id`
and `createdAt`, may be sent back as they were read; another value is refused.

Clients must accept members of answers, and reasons of errors, that they do not know: new ones can be added. For an
unknown reason, the status decides.
"""


def create_app(
    settings: Settings, clickhouse: ClickHouse | None = None, balances: BalanceReader | None = None
) -> FastAPI:
    """The app for `settings`. It connects to its services when it starts, and starts even if none of them answers.

    clickhouse, balances: the stores to ask, where this process holds them already; else those that the settings name.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = await anyio.to_thread.run_sync(Services(settings, clickhouse, balances).__enter__)
        app.state.services = services
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(services.close)

    app = FastAPI(
        title="Tallymark",
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(ShortWay, routes=[one._replace(path=PREFIX + one.path) for one in SHORT])
    app.add_middleware(ingest.IngestFirst)
    app.add_middleware(Bodies)
    app.add_middleware(RateLimits, settings=settings)  # the one added later runs first
    app.add_middleware(Authentication, settings=settings)
    app.add_middleware(CanonicalPath)
    problem.register(app)
    _include(app)
    _include_v2(app)
    app.include_router(credits.router, prefix=PREFIX_V3)
    app.include_router(credit_notes.router, prefix=PREFIX_V3)
    docs.add(app)
    made = app.openapi
    app.openapi = cache(lambda: docs.completed(made(), docs.examples()))  # type: ignore[method-assign]
    return app


V1 = (
    ingest.router,
    meters.router,
    backfill.router,
    usage.router,
    events.router,
    reconcile.router,
    money.router,
    status.router,
    status.public,
    live_values.router,
    customers.router,
    subjects.router,
    features.router,
    plans.lists,
    plans.router,
    plan_addons.lists,
    plan_addons.router,
    addons.lists,
    addons.router,
    currencies.router,
    subscriptions.router,
    subscription_addons.router,
    of_customer.router,
    progress.router,
    debug_metrics.router,
    entitlements.customers,
    entitlements.subjects,
    entitlements.router,
    values.customers,
    values.subjects,
    grants.customers,
    grants.subjects,
    grants.router,
    imports.router,
    channels.router,
    channels.ours,
    rules.router,
    alerts.router,
    deliveries.router,
    apps.router,
    marketplace.router,
    marketplace.oauth2,
    keyless_apps.router,
    profiles.router,
    overrides.router,
    customer_apps.router,
    stripe_meters.router,
    stripe_sessions.router,
    invoices.router,
    explain.router,
    proof.router,
    replay.router,
    changes.router,
    pending_lines.router,
    custom_invoicing.router,
    portal_invoices.router,
    portal_credits.router,
    upcoming.router,
    ledger.router,
    keys.router,
    portal.router,
    portal.public,
    audit.router,
    stripe_drift.router,
    stripe_invoice_drift.router,
    stripe_status.router,
    stripe_retry.router,
    stripe_webhook.public,
)  # the routes of v1, in the order of the documentation


# Routes of v1 that are asked many times a second.
SHORT = (*live_values.SHORT, *customers.SHORT, *subjects.SHORT)


def _include(app: FastAPI) -> None:
    """Every route of v1."""
    api = Router(prefix=PREFIX)
    for router in V1:
        api.include_router(router)
    api.add_api_route(
        "/healthz",
        healthz,
        summary="Liveness",
        tags=["operation"],
        **described(answer=HealthAnswer),
    )
    app.include_router(api)


def _include_v2(app: FastAPI) -> None:
    """The routes that have another form in v2."""
    for router in (
        events.router_v2,
        entitlements.customers,
        entitlements.router_v2,
        values.customers,
        values.customers_v2,
        grants.customers,
        grants.router_v2,
    ):
        app.include_router(router, prefix=PREFIX_V2)


async def healthz() -> dict[str, str]:
    """The process answers. `/ready` and `/status` show whether its services do."""
    return {"status": "ok"}
