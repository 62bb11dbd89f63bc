"""`GET /status`: whether every stage is up, how far behind and how fast it is, and whether services answer.
`GET /ready`: whether this process can do its work, for the program that starts and watches it.

Owns: putting heartbeats, lag and reachability together, within STATUS_S whatever hangs; ClickHouse and Redis have
STORE_S. Neither takes a thread that another route needs. Does not own: lag (stores.kafka.consumer_groups), heartbeats,
asking with a limit (readiness).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

import anyio.to_thread
import msgspec
from fastapi import Depends, Request, Response

from pipeline.api.http.auth import needs
from pipeline.api.http.bulkheads import loaded
from pipeline.api.http.described import OtherAnswer, described
from pipeline.api.http.paths import Router
from pipeline.api.http.services import Services, services_of
from pipeline.api.operation.answers import ReadyAnswer, StatusAnswer
from pipeline.core.billing.app import StripeApp
from pipeline.core.invoices.open_issues import OpenIssue, open_issues
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.metering.reconcile import meter_totals
from pipeline.errors import Unavailable
from pipeline.records import Worker
from pipeline.stages import wanted
from pipeline.stores import readiness, redis_probe
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topics
from pipeline.stores.kafka.consumer_groups import lag
from pipeline.stores.readiness import Ask, Probe, ServiceAnswer

_invoice = msgspec.json.Decoder(StoredInvoice).decode

log = logging.getLogger("tallymark.api")
router = Router(dependencies=[Depends(needs("admin"))])
public = Router(tags=["operation"])

STATUS_S = 5.0
STORES = ("clickhouse", "redis")
STORE_S = 2.5  # beyond what their own limits allow, so that the detail is the store's own error
READY_S = 3.0
MOST_ISSUES = 20  # that one answer shows
LAG = "lag"  # asked together with the services, because it may take as long


@router.get("/status", summary="State of stages and services", **described(answer=StatusAnswer))
async def status(request: Request) -> dict[str, Any]:
    """`ok` is true when every stage has a live worker and none is `failing`, Kafka, ClickHouse and Redis answer, and no
    topic is missing.

    `detail` is the message of the service itself.
    `refused` lists the meters in force that refused events, by reason, `apps` the accounts of outside systems, and
    `bills` the issues of invoices that are open, the oldest first; they do not affect `ok`.
    """
    services = services_of(request)
    probes = _probes(request, services)
    stores = {name: probes[name] for name in probes if name in STORES}
    others = {name: probes[name] for name in probes if name not in STORES}
    of_stores, of_others = await asyncio.gather(
        readiness.ask_async(stores, STORE_S, fresh_s=0.0), readiness.ask_async(others, STATUS_S, fresh_s=0.0)
    )
    answers = of_others | of_stores
    lags = answers.pop(LAG)
    reached = {name: _shown(answer) for name, answer in answers.items()}
    if reached["kafka"]["ok"] and not lags.ok:
        reached["kafka"] = _shown(lags)
    stages = _stages(services, cast(Mapping[str, int | None], lags.value) if lags.ok else {})
    ok = all(stage["up"] and not stage["failing"] for stage in stages) and all(
        answer["ok"] for answer in reached.values()
    )
    known = bool(reached["kafka"]["ok"])
    refused = await _refused(services) if known else []  # it returns once the definitions are loaded
    apps = [_app(namespace, app) for namespace, app in services.definitions.stripe_apps()] if known else []
    bills = await _open_issues(services) if known else None
    return {
        "ok": ok, "stages": stages, "neighbours": reached, "refused": refused, "apps": apps, "bills": bills,
    }  # fmt: skip


def _app(namespace: str, app: StripeApp) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "appId": app.id,
        "type": app.type,
        "account": app.stripe_account_id,
        "status": app.status,
        "detail": app.status_reason or "",
    }


async def _open_issues(services: Services) -> dict[str, Any] | None:
    """What keeps customers from being billed, the oldest first; None: the invoices cannot be read now."""
    try:
        for view in services.bills.views():
            await loaded(view)
        issues = await anyio.to_thread.run_sync(_issues_of_bills, services)
    except Unavailable:
        return None
    return {"totalCount": len(issues), "items": [msgspec.to_builtins(one) for one in issues[:MOST_ISSUES]]}


def _issues_of_bills(services: Services) -> list[OpenIssue]:
    documents = services.bills.invoices_with_issues()
    found = [issue for one in documents for issue in open_issues(one.namespace, _invoice(one.body))]
    return sorted(found, key=lambda one: (one.since, one.invoice_id, one.code))


async def _refused(services: Services) -> list[dict[str, Any]]:
    """Meters that refuse events lose usage, though each event has its fate."""
    await loaded(services.counts)
    await loaded(services.definitions)
    return await anyio.to_thread.run_sync(_refused_by_meter, services)


def _refused_by_meter(services: Services) -> list[dict[str, Any]]:
    found = meter_totals(services.counts.snapshot().values())
    in_force = {(meter.namespace, meter.meter_id) for meter in services.definitions.meters()}
    return [
        {
            "namespace": namespace,
            "meter": one.meter,
            "meterId": one.meter_id,
            "counted": one.counted,
            "refused": one.refused,
        }
        for namespace, meters in sorted(found.items())
        for one in meters
        if one.refused and (namespace, one.meter_id) in in_force
    ]


@public.get(
    "/ready",
    summary="Readiness",
    **described(answer=ReadyAnswer, more={503: OtherAnswer("It cannot serve yet", ReadyAnswer)}),
)
async def ready(request: Request, response: Response) -> dict[str, Any]:
    """200 when Kafka answers and the definitions are loaded; otherwise 503, because no request can be served.

    ClickHouse and Redis are not checked here, because events are accepted without them. `/status` shows them.
    """
    probes = _probes(request, services_of(request))
    needed = {name: probes[name] for name in ("kafka", "definitions")}
    answers = await readiness.ask_async(needed, READY_S)
    ok = all(answer.ok for answer in answers.values())
    _log_change(request, answers)
    if not ok:
        response.status_code = 503
    return {"ready": ok, "needs": {name: answer.ok for name, answer in answers.items()}}


def _log_change(request: Request, answers: Mapping[str, ServiceAnswer]) -> None:
    """Log what begins and ceases to answer: the response is public, so it has no addresses and no errors."""
    state = request.app.state
    failing = {name: answer.detail for name, answer in answers.items() if not answer.ok}
    before: frozenset[str] = getattr(state, "failing", frozenset())
    for name in sorted(failing.keys() - before):
        log.warning("not ready, %s: %s", name, failing[name])
    if before and not failing:
        log.warning("ready again")
    state.failing = frozenset(failing)


def _probes(request: Request, services: Services) -> dict[str, Probe]:
    """One set for all requests, so that a service that hangs is asked once."""
    state = request.app.state
    if not hasattr(state, "probes"):
        state.probes = readiness.probes(_asks(services))
    return cast(dict[str, Probe], state.probes)


def _asks(services: Services) -> dict[str, Ask]:
    settings = services.settings
    asks: dict[str, Ask] = {
        "kafka": lambda: kafka.cluster(settings, READY_S),
        "topics": lambda: require_topics(services),
        "definitions": lambda: services.definitions.wait_loaded(READY_S),
        "clickhouse": services.clickhouse_answers,
        LAG: lambda: lag(settings),
    }
    if settings.redis:
        asks["redis"] = lambda: redis_probe.reads(settings)
    return asks


def require_topics(services: Services) -> None:
    """Raises Unavailable if a topic is missing, not the one that state was made with, or has too few partitions."""
    kinds = (*topics.REFUSED, "missing")
    if wrong := [one.sentence for one in topics.existing_differences(services.settings) if one.kind in kinds]:
        raise Unavailable(" ".join(wrong))


def _stages(services: Services, lags: Mapping[str, int | None]) -> list[dict[str, Any]]:
    """A row a stage. Heartbeats are as the topic was read up to now: where it was not, no worker is known."""
    rows = []
    for name in wanted(services.settings.redis):
        live = services.workers.live(name)
        rates = {worker.id: services.rates.of(worker.id) for worker in live}
        rows.append(stage_row(name, live, lags.get(name), rates))
    return rows


def _shown(answer: ServiceAnswer) -> dict[str, Any]:
    return {"ok": answer.ok, "detail": answer.detail}


def stage_row(
    name: str, live: Sequence[Worker], unread: int | None, rates: Mapping[str, float]
) -> dict[str, Any]:
    """One stage, which is up when a live worker owns partitions: one that ends before it does is not.

    lag: records not read yet (null: not known); rate: events a second over the last seconds.
    """
    return {
        "stage": name,
        "up": any(worker.partitions for worker in live),
        "workers": [
            {
                "id": worker.id,
                "host": worker.host,
                "pid": worker.pid,
                "partitions": worker.partitions,
                "controlRevision": worker.control_revision,
                "metricsUrl": worker.metrics_url,
            }
            for worker in live
        ],
        "lag": unread,
        "rate": round(sum(rates.values()), 1),
        "controlRevision": min((worker.control_revision for worker in live), default=None),
        "failing": next((worker.failing for worker in live if worker.failing), ""),
    }
