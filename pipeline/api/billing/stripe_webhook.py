"""`POST /apps/{appId}/stripe/webhook`: Stripe's reports of meter events that it could not count, and of invoices.

Owns: the route, which has no API key but Stripe's signature; what is kept of an event. Does not own: the signature
(stores.stripe_webhook), the form of a report (core.billing.stripe_report), what a reported identifier changes
(core.billing.stripe_table), what an event changes of an invoice (core.bills.stripe_facts).

Stripe delivers an event at least once, in any order, for up to 3 days until the answer is a success. The answer is a
success only after Kafka has the report; a report that arrives again replaces itself. A thin event has no content: it is
read from Stripe, and while that fails, Stripe is asked to deliver the event again.
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from pipeline.api.billing.stripe_answers import WebhookReceived
from pipeline.api.billing.stripe_reads import opened, secret_of
from pipeline.api.http.body import check_plain, read_body
from pipeline.api.http.bulkheads import loaded
from pipeline.api.http.described import described
from pipeline.api.http.paths import Router
from pipeline.api.http.services import Services, services_of
from pipeline.core.billing.app import StripeApp
from pipeline.core.billing.stripe_report import REPORTS, read
from pipeline.core.invoices.stripe_event import fact_of
from pipeline.core.values import json_value
from pipeline.errors import Rejected, Unavailable
from pipeline.stores.stripe_webhook import verify

SIGNATURE = b"stripe-signature"
MAX_SIGNATURE_CHARS = 4_096

public = Router(tags=["billing"])


@public.post(
    "/apps/{appId}/stripe/webhook",
    summary="Receive a webhook of Stripe",
    **described(answer=WebhookReceived, reasons=["bad-report", "bad-signature", "unavailable"]),
)
async def receive(request: Request, appId: str) -> Any:
    """For Stripe: `v1.billing.meter.error_report_triggered` and `v1.billing.meter.no_meter_found` as thin events, and
    the `invoice.` events of payments and finalization as snapshots.

    The body is verified by `Stripe-Signature` and the webhook secret of the app; no API key is needed. Other events,
    and those of invoices that were not made here, are accepted and not kept.
    """
    services = services_of(request)
    headers = dict(request.scope["headers"])
    check_plain(headers)
    try:
        body = await read_body(headers, request.receive)
    except ClientDisconnect:
        return Response(status_code=400)  # the client reads no response
    await loaded(services.definitions)
    found = services.definitions.stripe_app(appId)
    if found is None:
        raise Rejected("not-found", f"There is no app {appId[:64]!r}.")
    namespace, app = found
    signature = headers.get(SIGNATURE, b"").decode("latin-1")[:MAX_SIGNATURE_CHARS]
    verify(body, signature, _secrets(services, namespace, app), time.time_ns() // 1_000_000_000)
    event = _event(body)
    if event.get("type") not in REPORTS:
        fact = fact_of(namespace, app.id, event)
        if fact is not None:
            await services.stripe_log.note(fact)
        return {"received": fact is not None}
    report = read(namespace, app.id, event, await _content(services, namespace, app, event))
    await services.stripe_log.append(report)
    return {"received": True}


def _secrets(services: Services, namespace: str, app: StripeApp) -> list[str]:
    """Those that may have signed; an app may keep several, with spaces between them."""
    sealed = app.sealed_webhook_secret
    return [] if sealed is None else secret_of(services, namespace, sealed).split()


def _event(body: bytes) -> dict[str, object]:
    try:
        event = json_value.read(body)
    except Rejected as refusal:
        raise Rejected("bad-report", f"The body is not JSON. {refusal.detail}") from refusal
    if not isinstance(event, dict) or not isinstance(event.get("id"), str):
        raise Rejected("bad-report", "The body is not an event of Stripe: it has no id.")
    return event


async def _content(
    services: Services, namespace: str, app: StripeApp, event: dict[str, object]
) -> dict[str, object]:
    """What the event is about. Raises Unavailable, so that Stripe delivers it again."""
    if isinstance(data := event.get("data"), dict):
        return data
    try:
        async with opened(services, namespace, app) as api:
            await services.stripe_pace.turn(app.stripe_account_id)
            return await api.event(str(event["id"]))
    except Rejected as refusal:
        raise Unavailable(f"The content of the event cannot be read now. {refusal.detail}") from refusal
