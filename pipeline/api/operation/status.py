"""`GET /status`: whether every stage is up, how far behind and how fast it is, and whether neighbours answer.

Owns: putting heartbeats, lag and reachability together. Does not own: lag (stores.kafka.consumer_groups), heartbeats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis
from fastapi import Depends, Request

from pipeline.api.http.auth import needs
from pipeline.api.http.paths import Router
from pipeline.api.http.services import Neighbours, neighbours
from pipeline.errors import Unavailable
from pipeline.records import Worker
from pipeline.settings import Settings
from pipeline.stages import wanted
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka.consumer_groups import lag

router = Router(dependencies=[Depends(needs("admin"))])


@router.get("/status", summary="Whether all is up, lag and rate by stage")
def status(request: Request) -> dict[str, Any]:
    """`ok` is true only when every stage has a live worker and Kafka, ClickHouse and Redis answer."""
    have = neighbours(request)
    reached = {
        "kafka": _reached(lambda: kafka.cluster(have.settings)),
        "clickhouse": _reached(have.clickhouse_answers),
    }
    if have.settings.redis:
        reached["redis"] = _reached(lambda: _ping_redis(have.settings))
    stages = (
        _stages(have)
        if reached["kafka"]["ok"]
        else [stage_row(name, [], None, {}) for name in wanted(have.settings.redis)]
    )
    ok = all(stage["up"] for stage in stages) and all(answer["ok"] for answer in reached.values())
    return {"ok": ok, "stages": stages, "neighbours": reached}


def _stages(have: Neighbours) -> list[dict[str, Any]]:
    have.workers.wait_loaded()
    lags = lag(have.settings)
    rows = []
    for name in wanted(have.settings.redis):
        live = have.workers.live(name)
        rows.append(
            stage_row(name, live, lags[name], {worker.id: have.rates.of(worker.id) for worker in live})
        )
    return rows


def stage_row(
    name: str, live: Sequence[Worker], unread: int | None, rates: Mapping[str, float]
) -> dict[str, Any]:
    """One stage. lag: records not read yet (null: not known); rate: events a second over the last seconds."""
    return {
        "stage": name,
        "up": bool(live),
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
    }


def _reached(ask: Callable[[], object]) -> dict[str, Any]:
    try:
        ask()
    except Unavailable as error:
        return {"ok": False, "detail": str(error)}
    return {"ok": True, "detail": ""}


def _ping_redis(settings: Settings) -> None:
    password = settings.redis_password.get_secret_value() or None
    options = {"password": password} if password else {}
    client = redis.Redis.from_url(settings.redis, socket_timeout=2, socket_connect_timeout=2, **options)
    try:
        client.ping()
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer ({type(error).__name__}); is it running?") from error
    finally:
        client.close()
