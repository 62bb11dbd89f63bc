"""`tallymark worker STAGE`: one process, one stage.

Owns: putting a stage together from the settings, its folder, its metrics port, its heartbeat, and stopping on a signal.
Does not own: what a stage does (its agent) or how (engine).
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import faust
import msgspec
import prometheus_client
import uvloop

from pipeline import kafka, topics
from pipeline.agents.following import Following
from pipeline.agents.heartbeat import Heartbeat, describe
from pipeline.agents.meters import Meters
from pipeline.core.attribution import Holders
from pipeline.core.http_event import TOPIC as HTTP_EVENTS
from pipeline.engine.partition import Cluster, Spec
from pipeline.engine.producer import group_metadata
from pipeline.engine.stage import Stage, credentials
from pipeline.errors import Broken, Rejected
from pipeline.records import Worker
from pipeline.settings import Settings
from pipeline.stages import STAGES

log = logging.getLogger("tallymark.worker")

GROUP_PREFIX = "tallymark-"
FOREVER_MS = 1 << 62  # an input that is kept for ever may be read at any time: nothing is swept
MOST_WORKERS = 1024  # of one stage that may share a state folder


@dataclass(frozen=True)
class Parts:
    """What a stage is made of: its spec, what makes its agents, and which definitions it follows."""

    spec: Spec
    create: Callable[[Stage], None]
    follows: Following | None = None


def main(stage: str, settings: Settings) -> None:
    """Run until a signal. Raises Rejected for an unknown stage or topics that are not as declared."""
    if stage not in STAGES:
        raise Rejected("unknown-stage", f"There is no stage {stage!r}; there are {', '.join(STAGES)}.")
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    for noisy in ("faust", "mode", "aiokafka"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    uvloop.install()
    declared = topics.load(settings)
    _check_topics(settings)
    parts = _parts(stage, settings, declared)
    worker_id = f"{stage}-{socket.gethostname()}-{os.getpid()}"
    folder, lock = _folder(settings.state_dir, stage)
    config = kafka.client_config(settings) | {"client.id": worker_id, "log_level": 3}
    group = GROUP_PREFIX + stage
    made = Stage(
        parts.spec,
        Cluster(config, group, group_metadata(config, group), kafka.topic_ids(settings, declared)),
        worker_id=worker_id,
        bootstrap=settings.kafka,
        state_dir=folder,
        session_timeout_s=settings.session_timeout_s,
        security=credentials(config),
    )
    parts.create(made)
    metrics_url = _serve_metrics(settings)
    heartbeat = Heartbeat(settings, describe(stage, worker_id, metrics_url), _report(made, parts.follows))
    if parts.follows is not None:
        parts.follows.start(heartbeat.now, made.fail)
    heartbeat.start()
    log.info("%s is %s, metrics at %s, state in %s", stage, worker_id, metrics_url, folder)
    try:
        _run(made)
    finally:
        heartbeat.close()
        lock.close()


def _parts(stage: str, settings: Settings, declared: dict[str, topics.Topic]) -> Parts:
    """One branch a stage: the only place that knows what each needs."""
    lifetime_s = settings.horizon_s + settings.future_limit_s
    namespaces = {name: topic.namespace for name, topic in declared.items() if topic.namespace is not None}
    if stage == "ingest":
        from pipeline.agents import ingest
        from pipeline.core.event import Limits

        limits = Limits(
            horizon_s=settings.horizon_s,
            future_limit_s=settings.future_limit_s,
            max_event_bytes=settings.max_event_bytes,
        )
        partitions = declared["events-accepted"].partitions
        return Parts(
            Spec(stage, (*namespaces, HTTP_EVENTS), "ingest-meta"),
            lambda made: ingest.create(made, namespaces, partitions, limits),
        )
    if stage == "dedupe":
        from pipeline.agents import dedupe

        partitions = declared["events-unique"].partitions
        kept_ms = [declared[name].retention_ms for name in (*namespaces, HTTP_EVENTS)]
        lag_ms = max(kept_ms) if topics.FOREVER not in kept_ms else FOREVER_MS
        return Parts(
            Spec(stage, ("events-accepted",), "dedupe-meta", dedupe.CHANGELOG),
            lambda made: dedupe.create(made, partitions, lifetime_s * 1000, lag_ms),
        )
    if stage == "aggregate":
        from pipeline.agents import aggregate

        meters = Meters(settings)
        return Parts(
            Spec(stage, ("events-unique",), "aggregate-meta", aggregate.CHANGELOG),
            lambda made: aggregate.create(made, meters.current, settings.horizon_s),
            meters,
        )
    if stage == "sink":
        from pipeline.agents import sink

        return Parts(Spec(stage, sink.INPUTS), lambda made: sink.create(made, settings))
    if stage == "backfill":
        from pipeline.agents import backfill
        from pipeline.stores.clickhouse import connect

        store = connect(settings.clickhouse, settings.clickhouse_password.get_secret_value())
        meters = Meters(settings)
        return Parts(
            Spec(stage, (backfill.TOPIC,), "backfill-meta", backfill.CHANGELOG),
            lambda made: backfill.create(made, store, meters.current, declared["usage"].partitions),
            meters,
        )
    if stage == "attribute":
        from pipeline.agents import attribute

        holders = Holders()
        following = Following(settings, holders.update)
        partitions = declared["customer-usage"].partitions
        return Parts(
            Spec(stage, ("usage",), "attribute-meta", attribute.CHANGELOG),
            lambda made: attribute.create(made, holders, lambda: following.revision, partitions),
            following,
        )
    if stage == "live":
        if not settings.redis:
            raise Rejected(
                "no-redis", "The stage live copies balances to Redis, and the setting redis is empty."
            )
        from pipeline.agents import live
        from pipeline.stores.balances import BalanceWriter, Keys

        keys = Keys(kafka.topic_ids(settings, [live.INPUT])[live.INPUT], declared[live.INPUT].partitions)
        writer = BalanceWriter(settings.redis, settings.redis_password.get_secret_value(), keys)
        return Parts(Spec(stage, (live.INPUT,)), lambda made: live.create(made, writer))
    if stage == "webhook":
        from pipeline.agents import webhook
        from pipeline.agents.endpoints import Endpoints
        from pipeline.core.sealed import Seal

        endpoints = Endpoints(Seal.of(settings.secrets_key.get_secret_value()))
        partitions = declared[webhook.WORK].partitions
        inputs = (webhook.ALERTS, webhook.WORK)
        return Parts(
            Spec(stage, inputs, "webhook-meta", webhook.CHANGELOG, stateless=(webhook.ALERTS,)),
            lambda made: webhook.create(made, settings, partitions, endpoints),
            Following(settings, endpoints.update),
        )
    from pipeline.agents import control

    return Parts(
        Spec(stage, ("commands",), "control-meta", control.CHANGELOG),
        lambda made: control.create(made, declared["backfill-work"].partitions),
    )


def _run(stage: Stage) -> None:
    worker = faust.Worker(
        stage.app,
        loglevel="WARNING",
        quiet=True,
        redirect_stdouts=False,
        override_logging=False,
        blocking_timeout=None,
    )
    worker.execute_from_commandline()


def _report(stage: Stage, follows: Following | None) -> Callable[[Worker], Worker]:
    def report(worker: Worker) -> Worker:
        owned = [f"{topic}/{number}" for topic, number in sorted(stage.partitions)]
        revision = follows.revision if follows is not None else 0
        return msgspec.structs.replace(
            worker, partitions=owned, events_in=stage.events_in, control_revision=revision
        )

    return report


def _check_topics(settings: Settings) -> None:
    """A worker refuses to start on topics that are missing or have another partition count."""
    wrong = [one.sentence for one in topics.differences(settings) if one.kind in ("missing", "partitions")]
    if wrong:
        raise Broken(" ".join(wrong) + " `tallymark topics apply` makes what is missing.")


def _folder(state_dir: Path, stage: str) -> tuple[Path, IO[str]]:
    """The first folder `stage-N` that no running worker holds, and its lock."""
    for number in range(MOST_WORKERS):
        folder = state_dir / f"{stage}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return folder, lock
    raise Broken(f"{MOST_WORKERS} workers of {stage} hold folders in {state_dir}.")


def _serve_metrics(settings: Settings) -> str:
    """Start the metrics server; gives its address as others on the network see it."""
    server, _ = prometheus_client.start_http_server(settings.metrics_port, settings.metrics_host)
    everywhere = settings.metrics_host in ("0.0.0.0", "::")
    host = socket.gethostname() if everywhere else settings.metrics_host
    return f"http://{host}:{server.server_port}/metrics"
