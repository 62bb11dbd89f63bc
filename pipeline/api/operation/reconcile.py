"""`/reconcile`: whether every event read has one fate, and whether ClickHouse holds the same.

Owns: waiting for quiet and taking counts and rows of one moment. Does not own: the equations (core).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated

import msgspec
from fastapi import Depends, Query, Request, Response

from pipeline.api.http.auth import needs, principal
from pipeline.api.http.described import described
from pipeline.api.http.paths import Router
from pipeline.api.http.services import Services, services_of
from pipeline.api.operation.answers import ReconcileAnswer
from pipeline.api.operation.status import require_topics
from pipeline.core.metering.reconcile import Report, in_flight, meter_totals, reconcile, totals
from pipeline.records import Counts
from pipeline.stores.clickhouse import totals as stored_totals
from pipeline.stores.clickhouse.client import NoSuchTable
from pipeline.stores.kafka.consumer_groups import lag

router = Router(tags=["operation"], dependencies=[Depends(needs("admin"))])

WAIT_S = 30.0
STAGES = ("ingest", "dedupe", "aggregate", "backfill", "sink")
_ASK_AGAIN_S = 0.3
_SURE_AFTER_S = 3.0  # a difference that stays so long is one: counts and rows reach this process by two ways


@router.get(
    "/reconcile",
    summary="Whether all events are accounted for",
    **described(answer=ReconcileAnswer, reasons=["bad-query"]),
)
def get_reconcile(
    request: Request,
    wait_s: Annotated[
        float, Query(ge=0, le=600, description="seconds to wait until nothing is in flight")
    ] = WAIT_S,
) -> Response:
    """`ok`: every event that was read has a fate or is pending, in total and stage by stage.

    Once nothing is in flight (`settled`), the stored rows are compared too: by fate, by input partition, and down to
    meter, subject and minute. `tallymark rebuild clickhouse` writes missing rows again.
    `meters` has the number of events that each meter counted and refused; `meter_id` distinguishes meters with the same
    slug. The report covers the namespace of the key, and all namespaces when `auth = off`.
    """
    report, lags = settle(services_of(request), wait_s)
    who = principal(request)
    if who.key_id is not None:
        report = only(report, who.namespace)
    body = {**msgspec.to_builtins(report), "lag": lags}
    return Response(msgspec.json.encode(body), media_type="application/json")


def only(report: Report, namespace: str) -> Report:
    """What the report says of one namespace."""
    kept = [one for one in report.namespaces if one.namespace == namespace]
    differences = [sentence for one in kept for sentence in one.differences]
    return Report(not differences, report.settled, kept, differences)


def settle(services: Services, wait_s: float) -> tuple[Report, dict[str, int | None]]:
    """Reports as soon as all is quiet, or after `wait_s` what holds while events are in flight."""
    services.counts.wait_loaded()
    require_topics(services)
    deadline = time.monotonic() + wait_s
    first_difference: float | None = None
    while True:
        lags = lag(services.settings, STAGES)
        counts = _counts(services)
        quiet = all(unread == 0 for unread in lags.values()) and in_flight(counts) == 0
        report = _quiet_report(services, counts) if quiet else None
        now = time.monotonic()
        if report is not None:
            if report.ok or now >= deadline:
                return report, lags
            first_difference = first_difference or now
            if now - first_difference >= _SURE_AFTER_S:
                return report, lags
        elif now >= deadline:
            return reconcile(counts), lags
        services.counts.wait_for(partial(_moved, counts), min(_ASK_AGAIN_S, deadline - now))


def _quiet_report(services: Services, counts: list[Counts]) -> Report | None:
    """None if something moved while the rows were read."""
    try:
        names = set(totals(counts)) | set(stored_totals.namespaces(services.clickhouse))
        known = _known(services, counts)
        stored = {
            name: stored_totals.stored(
                services.clickhouse, name, known.get(name, {}).items(), _unique_meters(services, name)
            )
            for name in sorted(names)
        }
    except NoSuchTable as error:
        return _without_table(counts, str(error))
    return reconcile(counts, stored) if _counts(services) == counts else None


def _without_table(counts: list[Counts], why: str) -> Report:
    """Where a table is missing, rows are: nothing adds up."""
    report = reconcile(counts)
    namespaces = [
        replace(one, differences=[*one.differences, f"{one.namespace}: {why}"]) for one in report.namespaces
    ]
    differences = [sentence for one in namespaces for sentence in one.differences]
    return Report(not differences, True, namespaces, differences)


def _unique_meters(services: Services, namespace: str) -> dict[int, str]:
    """The UNIQUE_COUNT meters in force, as slug by id."""
    services.definitions.wait_loaded()
    meters = services.definitions.meters(namespace)
    return {meter.meter_id: meter.slug for meter in meters if meter.aggregation == "UNIQUE_COUNT"}


def _known(services: Services, counts: list[Counts]) -> dict[str, dict[int, str]]:
    """By namespace, the slug of each meter by its id: those in force, and deleted ones that have totals."""
    services.definitions.wait_loaded()
    found: dict[str, dict[int, str]] = {}
    for meter in services.definitions.meters():
        found.setdefault(meter.namespace, {})[meter.meter_id] = meter.slug
    for namespace, meters in meter_totals(counts).items():
        found.setdefault(namespace, {}).update({one.meter_id: one.meter for one in meters})
    return found


def _moved(before: list[Counts], now: Mapping[str, Counts]) -> bool:
    return list(now.values()) != before


def _counts(services: Services) -> list[Counts]:
    return list(services.counts.snapshot().values())
