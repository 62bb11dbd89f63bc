"""Workers of billing, numbering and control on a real broker, in a time of their own.

Owns: starting and killing workers, publishing records at chosen instants, reading documents, numbers and replies. Does
not own: what happens to the customers (billing_story), what is expected (test_billing, billing_run).

`billing-work` and `commands` keep the timestamps of their producers here, so a test decides when a record was written:
a month passes with one record of the clock, and two runs have the same instants. The story lies after the machine's
time, so the timestamps of records that the workers write never count.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import TIMESTAMP_CREATE_TIME, Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from pipeline.contracts import ROOT
from pipeline.core.metering.identity import customer_hash
from pipeline.core.values.timestamp import ms_of
from pipeline.engine.stage import EXIT_UNAVAILABLE
from pipeline.local import process
from pipeline.records import (
    BillDocument,
    BillingWork,
    Command,
    CustomerWindow,
    LedgerTransaction,
    NumberWork,
    Reply,
)
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from tests.fixtures.patience import PATIENCE_S

READ = {"isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "earliest"}
WORK, COMMANDS = "billing-work", "commands"
NAMESPACE = "default"
START_MS = ms_of("2040-01-01T00:00:00Z")
STAGES = ("control", "billing", "numbering")
KEPT = {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": str(1 << 62)}


class _Progress(msgspec.Struct):
    state: str


class _Invoice(msgspec.Struct):
    """What a look at thousands of invoices reads."""

    progress: _Progress


_encode = msgspec.json.Encoder().encode
_reply = msgspec.json.Decoder(Reply).decode
_document = msgspec.json.Decoder(BillDocument).decode
_number = msgspec.json.Decoder(NumberWork).decode
_invoice = msgspec.json.Decoder(_Invoice).decode
_booked = msgspec.json.Decoder(LedgerTransaction).decode


class BillingLine:
    """A context manager: workers and readers end with it. now_ms: the time of the story."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.now_ms = START_MS
        self.documents: dict[str, BillDocument] = {}  # by topic/key, in their newest state
        self._states: dict[str, str] = {}  # of each invoice, by the key of its document
        self.records: list[tuple[str, BillDocument]] = []  # all of them, as they were published
        self.ledger: dict[str, LedgerTransaction] = {}  # by id
        self.replies: dict[str, Reply] = {}
        self.asked: list[NumberWork] = []  # every request for a number, repeated ones too
        self.workers: dict[str, process.Process] = {}
        self.started = 0
        self.revision = 0  # of the definitions that commands of billing require
        self._folder = folder
        self._producer = Producer(cluster.producer_config(settings) | {"linger.ms": 0, "log_level": 0})
        keep_timestamps(settings, self._producer)
        self._consumer = Consumer(
            {**cluster.client_config(settings), "group.id": "documents", "log_level": 0, **READ}
        )
        sharded = [
            (topic, number)
            for topic in ("subscriptions", "invoices", "credit-grants", "ledger")
            for number in range(settings.partitions)
        ]
        self._consumer.assign(
            [TopicPartition(*place, 0) for place in (*sharded, ("replies", 0), ("number-requests", 0))]
        )

    def __enter__(self) -> BillingLine:
        return self

    def __exit__(self, *_: object) -> None:
        for stage in list(self.workers):
            self.kill(stage)
        self._consumer.close()

    # -- workers ------------------------------------------------------------------------------------------------

    def start(self, *stages: str, **more: str) -> None:
        """A worker of each of these stages."""
        foreign = {name: value for name, value in os.environ.items() if not name.startswith("TALLYMARK_")}
        variables = {
            "TALLYMARK_KAFKA": self.settings.kafka,
            "TALLYMARK_STATE_DIR": str(self._folder / "state"),
            "TALLYMARK_PARTITIONS": str(self.settings.partitions),
            "TALLYMARK_SESSION_TIMEOUT_S": "3",
            "PYTHONPATH": str(ROOT),
            **more,
        }
        for stage in stages or STAGES:
            self.started += 1
            log = self._folder / f"{stage}-{self.started}.log"
            command = [sys.executable, "-m", "pipeline.cli", "worker", stage]
            (self.crashes(stage)).mkdir(parents=True, exist_ok=True)
            crashes = {"CRASH_DIR": str(self.crashes(stage))}
            self.workers[stage] = process.spawn(command, log, foreign | variables | crashes)

    def kill(self, stage: str) -> None:
        """Kill the worker of a stage, if it still runs."""
        worker = self.workers.pop(stage)
        if worker.poll() is None:
            worker.kill()
        worker.wait()

    def restart(self, stage: str) -> None:
        """Kill the worker of a stage and start another one."""
        self.kill(stage)
        self.start(stage)

    def crashes(self, stage: str) -> Path:
        """The folder in which the crash points of a stage are armed."""
        return self._folder / "crash" / stage

    def arm(self, stage: str, point: str) -> None:
        """The worker of the stage kills itself when it reaches the point next."""
        (self.crashes(stage) / point).write_text("kill")

    def revive(self) -> None:
        """Start a worker in the place of each that has killed itself, or ended because the broker was killed."""
        ended = {stage: worker.poll() for stage, worker in self.workers.items() if worker.poll() is not None}
        for stage, code in ended.items():
            assert code in (-signal.SIGKILL, EXIT_UNAVAILABLE), (stage, code, self.logs()[-6000:])
            self.restart(stage)

    def logs(self) -> str:
        return "\n".join(
            f"{path.name}:\n{path.read_text()[-2000:]}" for path in sorted(self._folder.glob("*.log"))
        )

    # -- records ------------------------------------------------------------------------------------------------

    def control(self, name: str, kind: str, body: dict[str, Any]) -> str:
        """A command for control, at the time of the story. Returns the id of its reply."""
        command = Command(name, kind, NAMESPACE, "test", self.now_ms, body, attempt=name)
        self._produce(COMMANDS, _encode(command), None, 0)
        return name

    def command(self, name: str, customer: str, kind: str, sent: object, **named: object) -> str:
        """A command for billing, at the time of the story. name: its id, which is that of its reply; it is returned."""
        body = {"customer": customer, "sent": sent, **named}
        command = Command(name, kind, NAMESPACE, "test", self.now_ms, body, attempt=name)
        self._work(
            BillingWork("command", customer=customer, command=command, revision=self.revision),
            self._partition(customer),
        )
        return name

    def clock(self, at_ms: int) -> None:
        """Time has passed in every partition."""
        self.now_ms = at_ms
        for partition in range(self.settings.partitions):
            self._work(BillingWork("clock", at_ms), partition)
        self._producer.flush()

    def windows(self, windows: Iterable[CustomerWindow]) -> None:
        """Usage, as attribute would publish it."""
        for one in windows:
            partition = self._partition(one.customer)
            self._produce(WORK, _encode([one]), None, partition)
        self._producer.flush()

    def flush(self) -> None:
        """Return when the broker has every record."""
        self._producer.flush()

    def _partition(self, customer: str) -> int:
        return customer_hash(NAMESPACE, customer) % self.settings.partitions

    def _work(self, work: BillingWork, partition: int) -> None:
        self._produce(WORK, _encode(work), work.kind, partition)

    def _produce(self, topic: str, value: bytes, key: str | None, partition: int) -> None:
        self._producer.produce(topic, value, key, partition, _delivered, timestamp=self.now_ms)
        self._producer.poll(0)

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self, timeout_s: float = 0.2) -> None:
        """Read what has come."""
        for message in self._consumer.consume(2_000, timeout_s):
            if message.error() is not None:
                continue
            topic, value = message.topic() or "", message.value() or b""
            if topic == "replies":
                reply = _reply(value)
                self.replies[reply.attempt or reply.id] = reply
            elif topic == "number-requests":
                self.asked.append(_number(value))
            elif topic == "ledger":
                booked = _booked(value)
                assert self.ledger.setdefault(booked.id, booked) == booked  # never something else
            else:
                document = _document(value)
                self.records.append((topic, document))
                key = f"{topic}/{document.namespace}/{document.customer}/{document.id}"
                self.documents[key] = document
                if topic == "invoices":
                    self._states[key] = _invoice(document.body).progress.state

    def bodies(self, topic: str) -> dict[str, dict[str, Any]]:
        """The newest body of each document of a topic, by customer/id."""
        return {
            f"{one.customer}/{one.id}": msgspec.json.decode(one.body)
            for key, one in self.documents.items()
            if key.startswith(f"{topic}/")
        }

    def wait_until(self, is_so: Callable[[], bool], what: str, timeout_s: float = 600) -> None:
        """Read until something is so; workers that have killed themselves are replaced."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            self.read()
            if is_so():
                return
            self.revive()
            assert time.monotonic() < deadline_s, (what, self.counted(), self.logs()[-6000:])

    def wait_replied(self, ids: Iterable[str]) -> list[Reply]:
        """The replies of these commands. None of them is a refusal."""
        wanted = list(ids)
        self.flush()
        self.wait_until(lambda: all(id in self.replies for id in wanted), "replies")
        refused = [self.replies[id] for id in wanted if self.replies[id].error]
        assert not refused, refused[:3]
        return [self.replies[id] for id in wanted]

    def counted(self) -> dict[str, int]:
        """How many invoices are in each state."""
        return dict(Counter(self._states.values()))


def _delivered(error: KafkaError | None, _: Message) -> None:
    assert error is None, error


def keep_timestamps(settings: Settings, producer: Producer) -> None:
    """The broker keeps the producers' timestamps of the two topics whose instants count; returns when it does so."""
    changes = []
    for topic in (WORK, COMMANDS):
        resource = ConfigResource(ResourceType.TOPIC, topic)
        for name, value in KEPT.items():
            resource.add_incremental_config(
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            )
        changes.append(resource)
    client = cluster.admin(settings)
    for future in client.incremental_alter_configs(changes).values():
        future.result()
    # A partition follows a moment later. These records change nothing: time without an instant, a command of no kind.
    nothing = {
        WORK: _encode(BillingWork("clock")),
        COMMANDS: _encode(Command("probe", "", NAMESPACE, "", 0, {})),
    }
    waiting = {(WORK, number) for number in range(settings.partitions)} | {(COMMANDS, 0)}
    deadline_s = time.monotonic() + PATIENCE_S

    def taken(error: KafkaError | None, message: Message) -> None:
        if error is None and message.timestamp() == (TIMESTAMP_CREATE_TIME, START_MS):
            waiting.discard((message.topic() or "", message.partition() or 0))

    while waiting:
        assert time.monotonic() < deadline_s, waiting
        for topic, number in sorted(waiting):
            producer.produce(topic, nothing[topic], b"clock", number, taken, timestamp=START_MS)
        producer.flush()
