"""`/info/progress/{id}`: how far a task in the background is, in OpenMeter's JSON.

Owns: the route. Does not own: the tasks: counting for a new meter what was stored before it (backfill).
"""

from __future__ import annotations

from typing import Any

from fastapi import Depends, Request

from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.bulkheads import KAFKA_SILENT_S
from pipeline.api.http.described import described
from pipeline.api.http.paths import AsksKafka, Router
from pipeline.api.http.services import TOPIC_READ_S, services_of
from pipeline.api.metering.answers import ProgressAnswer
from pipeline.api.metering.meters import find
from pipeline.core.metering.backfill import progress, steps_of
from pipeline.core.metering.usage_query import instant_text
from pipeline.errors import Rejected

router = Router(prefix="/info", tags=["info"], route_class=AsksKafka)
NS_PER_MS = 1_000_000


@router.get(
    "/progress/{meterIdOrSlug}",
    summary="Progress of a task",
    dependencies=[Depends(needs("query"))],
    **described(answer=ProgressAnswer),
)
def get_progress(request: Request, meterIdOrSlug: str) -> dict[str, Any]:
    """Of the task that counts, for a new meter, the events that were stored before it: its id is that of the meter.

    `total` is 0 until the task has found the events; `failed` is always 0, since what cannot be done is done again. A
    meter without such a task is not found. `GET /meters/{slug}/backfill` has more.
    """
    services = services_of(request)
    _, meter = find(services, namespace_of(request), meterIdOrSlug)
    services.backfills.wait_loaded(TOPIC_READ_S, KAFKA_SILENT_S)
    steps = steps_of(services.backfills.snapshot(), meter.meter_id)
    if not steps:
        raise Rejected("not-found", f"There is no task for the meter {meter.slug}.")
    found, newest_ms = progress(steps), max(step.at_ms for step in steps)
    return {
        "success": found.read,
        "failed": 0,
        "total": found.events,
        "updatedAt": instant_text(newest_ms * NS_PER_MS),
    }
