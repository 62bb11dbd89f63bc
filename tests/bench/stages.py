"""The two pipelines under test as processes: how a stage is started and how far it has come.

Owns: the commands, the topics each needs, progress read from the broker. Does not own: timing (measure).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from pipeline.core.metering.meter import METER_ID
from pipeline.records import Counts, Definition
from pipeline.settings import Settings
from pipeline.stores.kafka import topics
from tests.bench.load import LOADS

STAGES = ("ingest", "dedupe", "aggregate")
LEADERS_S = 10.0
ROOT = Path(__file__).parents[2]


class Pipeline(Protocol):
    """`progress()` gives a number a stage that grows with its work and stands still when it has done all."""

    name: str

    def prepare(self) -> None: ...
    def command(self, stage: str) -> tuple[list[str], dict[str, str]]: ...
    def progress(self) -> dict[str, int]: ...


def spawn(pipeline: Pipeline, stage: str, log: Path) -> subprocess.Popen[bytes]:
    """A worker of the stage, its output in `log`."""
    command, variables = pipeline.command(stage)
    with log.open("ab") as output:
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )


class Vanilla:
    """Plain Faust; see vanilla.py."""

    name = "vanilla Faust"

    def __init__(self, settings: Settings, folder: Path, load: str) -> None:
        self._folder = folder / "vanilla"
        self._variables = {
            "VANILLA_KAFKA": settings.kafka,
            "VANILLA_DIR": str(self._folder),
            "VANILLA_LOAD": load,
            "VANILLA_PARTITIONS": str(settings.partitions),
        }
        self._outputs = {
            "ingest": "vanilla-accepted",
            "dedupe": "vanilla-unique",
            "aggregate": "vanilla-usage",
        }
        self._others = ("vanilla-rejected", "vanilla-duplicates", "vanilla-settled")
        self._settings = settings
        self._watch = Consumer({"bootstrap.servers": settings.kafka, "group.id": "bench", "log_level": 0})

    def prepare(self) -> None:
        for stage in self._outputs:
            (self._folder / stage).mkdir(parents=True)
        names = [*self._outputs.values(), *self._others]
        made = [NewTopic(name, self._settings.partitions, 1) for name in names]
        # Created here, because Faust continues without them when it does not see at once what it has created.
        for name in ("vanilla-dedupe-seen-changelog", "vanilla-aggregate-windows-changelog"):
            made.append(NewTopic(name, self._settings.partitions, 1, config={"cleanup.policy": "compact"}))
        admin = AdminClient({"bootstrap.servers": self._settings.kafka})
        for future in admin.create_topics(made, operation_timeout=10).values():
            future.result()
        self._wait_for_leaders()

    def command(self, stage: str) -> tuple[list[str], dict[str, str]]:
        faust = [sys.executable, "-m", "faust", "-A", "tests.bench.vanilla:app", "worker", "--without-web"]
        return [*faust, "-l", "warn"], self._variables | {"VANILLA_STAGE": stage}

    def progress(self) -> dict[str, int]:
        return {stage: self._records(topic) for stage, topic in self._outputs.items()}

    def _wait_for_leaders(self) -> None:
        deadline = time.monotonic() + LEADERS_S
        while True:
            try:
                self.progress()
                return
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _records(self, topic: str) -> int:
        return sum(
            self._watch.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
            for number in range(self._settings.partitions)
        )


class Tallymark:
    """`tallymark worker STAGE`."""

    name = "Tallymark"

    def __init__(self, settings: Settings, folder: Path, load: str) -> None:
        self._settings = settings
        self._meters = LOADS[load].meters
        self._state = folder / "state"
        self._read: dict[str, Counts] = {}
        self._watch = Consumer(
            {
                "bootstrap.servers": settings.kafka,
                "group.id": "bench",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )

    def prepare(self) -> None:
        self._watch.assign([TopicPartition("counts", 0, 0)])
        define(self._settings, self._meters)

    def command(self, stage: str) -> tuple[list[str], dict[str, str]]:
        variables = {"TALLYMARK_KAFKA": self._settings.kafka, "TALLYMARK_STATE_DIR": str(self._state)}
        variables["TALLYMARK_PARTITIONS"] = str(self._settings.partitions)
        return [sys.executable, "-m", "pipeline.cli", "worker", stage], variables

    def progress(self) -> dict[str, int]:
        for message in self._watch.consume(1000, timeout=0.02):
            value = message.value()
            if message.error() is None and value is not None:
                self._read[str(message.key())] = msgspec.json.decode(value, type=Counts)
        return {
            stage: sum(
                names.get("read", 0)
                for counts in self._read.values()
                if counts.stage == stage
                for names in counts.counts.values()
            )
            for stage in STAGES
        }


def define(settings: Settings, meters: Sequence[Mapping[str, object]]) -> None:
    """Writes the meters into `control` as the control stage would, so that no other process is needed."""
    producer = Producer({"bootstrap.servers": settings.kafka})
    for revision, meter in enumerate(meters, 1):
        slug = str(meter["slug"])
        definition = Definition(revision, "meter", "default", slug, "bench", 0, {**meter, METER_ID: revision})
        producer.produce("control", msgspec.json.encode(definition), f"default/meter/{slug}".encode())
    producer.flush(30)


def make_topics(settings: Settings) -> None:
    """All of Tallymark's topics; `events` among them is the input of both pipelines."""
    topics.apply(settings)
