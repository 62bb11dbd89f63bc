"""`tallymark worker STAGE`: one process, one stage.

Owns: its folder, its metrics port, its heartbeat, and stopping on a signal.
Does not own: what a stage is made of (worker.wiring), what it does (its agent) or how (engine).
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import faust
import msgspec
import prometheus_client
import uvloop

from pipeline.agents.definitions import Following
from pipeline.engine.partition import Cluster
from pipeline.engine.producer import group_metadata
from pipeline.engine.stage import Stage, credentials
from pipeline.errors import Broken, Rejected
from pipeline.records import Worker
from pipeline.settings import Settings
from pipeline.stages import STAGES
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topics
from pipeline.worker.heartbeat import Heartbeat, describe
from pipeline.worker.wiring import parts_of

log = logging.getLogger("tallymark.worker")

GROUP_PREFIX = "tallymark-"
MOST_WORKERS = 1024  # of one stage that may share a state folder


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
    parts = parts_of(stage, settings, declared)
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
