"""`tallymark worker STAGE`: one process, one stage.

Owns: its heartbeat, its readiness, and stopping on a signal.
Does not own: its folder (worker.folder), the parts of a stage (worker.wiring), its work (its agent), exactly-once
processing (engine).
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

import faust
import msgspec
import uvloop

from pipeline.agents import health
from pipeline.agents.definitions import DefinitionsFollower
from pipeline.engine import collector, crash_points, metrics
from pipeline.engine.credentials import credentials
from pipeline.engine.lineage import Lineage, LineageRefused
from pipeline.engine.partition import Cluster
from pipeline.engine.producer import group_metadata
from pipeline.engine.stage import Stage
from pipeline.errors import Broken, Rejected
from pipeline.records import Worker
from pipeline.settings import Settings
from pipeline.stages import METRICS_FILE, READERS, STAGES
from pipeline.stores import readiness
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topic_ids, topics
from pipeline.stores.kafka.consumer_groups import group_of
from pipeline.stores.kafka.topic import Topic
from pipeline.stores.kafka.writer import KafkaWriter
from pipeline.stores.readiness import ServiceAnswer
from pipeline.worker.folder import WorkerFolder
from pipeline.worker.heartbeat import Heartbeat, describe
from pipeline.worker.log_limit import LogLimit
from pipeline.worker.pulse import BEAT_S, Pulse
from pipeline.worker.wiring import StageWiring, wire

log = logging.getLogger("tallymark.worker")

LOOK_S = 5.0  # interval of the check of the topic ids
ASK_S = 2.0
WireStage = Callable[[str, Settings, Mapping[str, Topic]], StageWiring]
COLLECT_AFTER = 500_000  # objects; a chunk has fewer. The cycles that Faust and asyncio leave are found then.
LIBRARIES = ("faust", "mode", "aiokafka", "stripe", "httpx")  # they log what Tallymark reports itself


def main(stage: str, settings: Settings, folder: WorkerFolder, wired: WireStage = wire) -> None:
    """Run until a signal. folder: that of this worker; it is released. wired: finds the parts of the stage.

    Raises Rejected for an unknown stage, Broken if topics differ from their declaration.
    """
    if stage not in STAGES:
        raise Rejected("unknown-stage", f"There is no stage {stage!r}; the stages are {', '.join(STAGES)}.")
    _log_to_stderr()
    uvloop.install()
    declared = topics.load(settings)
    identity = _checked_topics(settings, stage, declared)
    wiring = wired(stage, settings, declared)
    crash_points.require_known()
    worker_id = f"{stage}-{socket.gethostname()}-{os.getpid()}"
    # librdkafka itself writes to stderr, several lines a second while a broker is unavailable; aiokafka logs that too.
    config = kafka.client_config(settings) | {"client.id": worker_id, "log_level": 2}
    group = group_of(stage)
    made = Stage(
        wiring.spec,
        Cluster(
            config,
            group,
            group_metadata(config, group),
            identity.ids,
            identity.replaced,
            _followed(wiring.follows),
        ),
        worker_id=worker_id,
        bootstrap=settings.kafka,
        state_dir=folder.path,
        session_timeout_s=settings.session_timeout_s,
        security=credentials(config),
    )
    made.before_opening = partial(_require_numbers, settings, declared)
    wiring.create(made)
    metrics.DISK_FREE.set_function(lambda: shutil.disk_usage(folder.path).free)
    pulse = Pulse()
    made.app.timer(BEAT_S, name="pulse")(pulse.beat)
    metrics_url = health.serve(
        settings.metrics_host, settings.metrics_port, _readiness(settings, made, wiring), pulse.stopped
    )
    (folder.path / METRICS_FILE).write_text(f"{os.getpid()} {metrics_url}\n", "utf-8")
    beats = KafkaWriter(settings, "heartbeats")
    heartbeat = Heartbeat(beats, describe(stage, worker_id, metrics_url), _report(made, wiring))
    made.on_owned = heartbeat.now
    if wiring.follows is not None:
        # Commands wait for the revision of a reader. Others report theirs with the next heartbeat.
        wiring.follows.start(heartbeat.now if stage in READERS else lambda: None, made.fail)
    heartbeat.start()
    _watch_topics(settings, identity.ids, made)
    log.info("%s is %s, metrics at %s, state in %s", stage, worker_id, metrics_url or "no port", folder.path)
    collector.look_rarely(COLLECT_AFTER)  # what is alive now lives as long as the process
    try:
        _run(made)
    finally:
        heartbeat.close()
        folder.release()


def _log_to_stderr() -> None:
    output = logging.StreamHandler(sys.stderr)
    output.addFilter(LogLimit(LIBRARIES))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", handlers=[output]
    )
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)


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


def _report(stage: Stage, wiring: StageWiring) -> Callable[[Worker], Worker]:
    follows = wiring.follows

    def report(worker: Worker) -> Worker:
        owned = [f"{topic}/{number}" for topic, number in sorted(stage.partitions)]
        return msgspec.structs.replace(
            worker,
            partitions=owned,
            events_in=stage.events_in,
            control_revision=follows.revision if follows is not None else 0,
            failing=wiring.failing(),
        )

    return report


def _checked_topics(settings: Settings, stage: str, declared: Mapping[str, Topic]) -> Lineage:
    """Check the topics that the stage depends on, the only ones that its user may see, and return their ids.

    Raises Broken when topics are missing, have another number of partitions, are not those with which the stage's state
    was built, or may hold records of a newer release. Raises Unavailable.
    """
    own = topics.of_stage(declared, stage)
    kinds = ("missing", "partitions", "lost", "another", "unknown", "newer")
    wrong = [one.sentence for one in topics.existing_differences(settings, own) if one.kind in kinds]
    if wrong:
        raise Broken(" ".join(wrong) + " `tallymark topics apply` creates missing topics.")
    return topic_ids.read(settings, own).lineage(own)


def _require_numbers(settings: Settings, declared: Mapping[str, Topic]) -> None:
    """Raise LineageRefused if the partitions of any topic were raised to another number than that of the settings.

    A stage also depends on those of topics that it neither reads nor writes: the positions of events in bills.
    """
    if sentence := topics.other_numbers(declared, topic_ids.known(settings)):
        raise LineageRefused(sentence)


def _followed(follows: DefinitionsFollower | None) -> Callable[[], int]:
    return (lambda: 0) if follows is None else (lambda: follows.revision)


def _watch_topics(settings: Settings, ids: Mapping[str, str], stage: Stage) -> None:
    """End the process when a topic with which its state was built does not exist any more."""
    watch = topic_ids.TopicWatch(settings, ids)

    def look() -> None:
        while True:
            time.sleep(LOOK_S)
            if sentence := watch.look():
                stage.fail(LineageRefused(f"{sentence} `tallymark topics check` shows how to recover."))

    threading.Thread(target=look, name="topics", daemon=True).start()


def _readiness(settings: Settings, stage: Stage, wiring: StageWiring) -> health.ReportReadiness:
    """Whether the stage can work: Kafka and its other services are available, and its partitions are open."""
    probes = readiness.probes({"kafka": lambda: kafka.cluster(settings, ASK_S), **wiring.needs})

    def report() -> dict[str, ServiceAnswer]:
        opened = ServiceAnswer(
            stage.has_taken_over,
            "" if stage.has_taken_over else "partitions are still being assigned or restored",
        )
        return {**readiness.ask(probes), "partitions": opened}

    return report
