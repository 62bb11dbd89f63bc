"""`/meters/{slug}/backfill`: how far a meter that was made later has counted what was stored before.

Owns: the shape of the answer. Does not own: the steps (core.metering.backfill) or taking them (the backfill stage).
"""

from __future__ import annotations

from typing import Any

from fastapi import Depends, Request

from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.paths import Router
from pipeline.api.http.services import services_of
from pipeline.api.metering.answers import BackfillAnswer
from pipeline.api.metering.meters import find
from pipeline.core.metering.backfill import progress, steps_of
from pipeline.core.metering.usage_query import instant_text

router = Router(prefix="/meters", tags=["meters"])

NS_PER_MS = 1_000_000


@router.get(
    "/{slug}/backfill",
    summary="Progress of a backfill",
    dependencies=[Depends(needs("query"))],
    **described(answer=BackfillAnswer, reasons=["bad-query"]),
)
def get_backfill(request: Request, slug: str) -> dict[str, Any]:
    """How many events that were stored before the meter was created it has counted, in total and by shard.

    `state` is `waiting` until earlier events are stored and earlier meters of the same events are done; `copying`;
    `landing` until the counted usage can be queried; `done`; `stopped` if the meter was deleted meanwhile; `none` if
    there was nothing to copy. `events` is known from `copying` on.
    """
    services = services_of(request)
    _, meter = find(services, namespace_of(request), slug)
    services.backfills.wait_loaded()
    steps = steps_of(services.backfills.snapshot(), meter.meter_id)
    total = progress(steps)
    return {
        "meter": meter.slug,
        **total._asdict(),
        "shards": [
            {
                "shard": step.shard,
                **progress([step])._asdict(),
                "updatedAt": instant_text(step.at_ms * NS_PER_MS),
            }
            for step in steps
        ],
    }
