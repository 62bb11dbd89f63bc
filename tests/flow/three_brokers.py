"""The pipeline on three brokers: a rolling restart, the loss of one, the loss of the majority and back, under load.

`python -m tests.flow.three_brokers --data DIR` starts three nodes with replication 3 and min.insync 2, one worker of
each stage that counts, and an API. It sends events, some of them twice, and ends with an error unless every event is
counted once and the sum of their values in ClickHouse is exact.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

from confluent_kafka import KafkaException, Producer
from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.errors import Unavailable
from pipeline.local import process
from pipeline.local.clickhouse import ChDB
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import direct_key, topics
from tests.fixtures.kafka_node import KafkaNode, new_cluster_id
from tests.fixtures.running_workers import Counted, Running, wait_until

NODES = (1, 2, 3)
STAGES = ("control", "ingest", "dedupe", "aggregate", "sink")
METER = {"slug": "used", "eventType": "call", "aggregation": "SUM", "valueProperty": "$.n"}
REPEAT_EVERY = 5
PAUSE_S = 0.005
PATIENCE_S = 600.0

PROPERTIES = """
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=4
replica.lag.time.max.ms=4000
replica.fetch.wait.max.ms=100
unclean.leader.election.enable=false
"""


class Cluster:
    """Three nodes, each broker and controller."""

    def __init__(self, folder: Path) -> None:
        ports = {node: (process.free_port(), process.free_port()) for node in NODES}
        voters = ",".join(f"{node}@127.0.0.1:{ports[node][1]}" for node in NODES)
        self.nodes = {
            node: KafkaNode(
                folder / f"kafka-{node}",
                PROPERTIES.format(node=node, voters=voters, port=port, controller=controller),
            )
            for node, (port, controller) in ports.items()
        }
        self.servers = ",".join(f"127.0.0.1:{port}" for port, _ in ports.values())
        self.settings = Settings.model_construct(
            kafka=self.servers, kafka_replicas=3, kafka_min_insync=2, state_dir=folder / "state", redis=""
        )

    def start(self) -> None:
        """Returns when all three are up."""
        cluster_id = new_cluster_id()
        for node in self.nodes.values():
            node.format(cluster_id)
        for node in self.nodes.values():
            node.start()

    def is_whole(self) -> bool:
        """Whether every partition has all its replicas in sync."""
        try:
            found = kafka.cluster(self.settings, 2.0)
        except Unavailable:
            return False
        parts = [part for topic in found.topics.values() for part in topic.partitions.values()]
        return len(found.brokers) == len(NODES) and all(len(part.isrs) == len(NODES) for part in parts)

    def kill(self) -> None:
        for node in self.nodes.values():
            node.kill()


class Sender:
    """Sends events until it is closed; a producer that a dead cluster has made useless is replaced."""

    def __init__(self, settings: Settings) -> None:
        self.ids, self.repeats, self.total = 0, 0, Decimal(0)
        self._settings = settings
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        options = {"delivery.timeout.ms": 500_000, "log_level": 0}
        producer = Producer(kafka.producer_config(self._settings) | options)
        while not self._closing.wait(PAUSE_S):
            value = Decimal(self.ids) / 1000
            event = {
                "specversion": "1.0", "id": str(self.ids), "source": "/s", "type": "call",
                "subject": f"c{self.ids % 7}", "data": {"n": str(value)},
            }  # fmt: skip
            copies = 1 + (self.ids % REPEAT_EVERY == 0)
            for _ in range(copies):
                producer.produce("events", json.dumps(event), event["id"], on_delivery=require_delivery)
            self.ids, self.repeats, self.total = self.ids + 1, self.repeats + copies - 1, self.total + value
            producer.poll(0)
        assert producer.flush(PATIENCE_S) == 0


def require_delivery(error: object, _: object) -> None:
    """A callback of a producer that raises KafkaException unless the record is delivered."""
    if error is not None:
        raise KafkaException(error)


class Run:
    """The workers, restarted when they end, and the questions at the end."""

    def __init__(self, cluster: Cluster, clickhouse: str) -> None:
        self.cluster = cluster
        settings = cluster.settings.model_copy(update={"clickhouse": clickhouse})
        more = {"clickhouse": clickhouse, "kafka_replicas": 3, "kafka_min_insync": 2}
        self.settings = settings
        self.workers = [Running(settings, stage, **more).start() for stage in STAGES]
        self.restarts = 0

    def until(self, condition: Callable[[], bool], what: str) -> float:
        """Seconds until the condition holds; meanwhile workers that ended start again."""
        began_s = time.monotonic()
        while not condition():
            assert time.monotonic() - began_s < PATIENCE_S, what
            self.tend()
            time.sleep(0.2)
        took_s = time.monotonic() - began_s
        print(f"{what}: {took_s:.1f} s; {self.restarts} restarts of workers so far", flush=True)
        return took_s

    def is_ready(self) -> bool:
        """Whether every worker is: one that ended is not, and starts again."""
        return all(
            one.process is not None and one.process.poll() is None and one.is_ready() for one in self.workers
        )

    def tend(self) -> None:
        for worker in self.workers:
            assert worker.process is not None
            if worker.process.poll() is not None:
                self.restarts += 1
                worker.start()

    def wait(self, seconds: float) -> None:
        ends_s = time.monotonic() + seconds
        while time.monotonic() < ends_s:
            self.tend()
            time.sleep(0.2)

    def stop(self) -> None:
        for worker in self.workers:
            worker.__exit__(None, None, None)


def hurt(run: Run) -> None:
    """Everything that happens to the brokers."""
    nodes = run.cluster.nodes
    for node in NODES:
        nodes[node].signal(signal.SIGTERM)
        run.wait(1)
        nodes[node].start()
        run.until(run.cluster.is_whole, f"rolling restart of {node}, until all are in sync")
    nodes[2].kill()
    run.wait(6)
    nodes[2].start()
    run.until(run.cluster.is_whole, "loss of one for 6 s")
    nodes[1].kill()
    nodes[3].kill()
    run.wait(8)
    nodes[1].start()
    nodes[3].start()
    run.until(run.cluster.is_whole, "loss of the majority for 8 s")
    run.wait(5)


def compare(run: Run, sender: Sender, client: TestClient, counted: Counted) -> list[str]:
    """The differences between what was sent and what was counted."""
    every = sender.ids + sender.repeats

    def sums(stage: str) -> dict[str, int]:
        found = counted.sums(stage)
        return {name: number for name, number in found.items() if number and not name.startswith("/")}

    wanted = {
        "ingest": {"read": every, "accepted": every},
        "dedupe": {"read": every, "unique": sender.ids, "duplicate": sender.repeats},
        "aggregate": {"read": sender.ids, "counted": sender.ids},
    }

    def answer() -> Decimal:
        response = client.get("/meters/used/query")
        return sum((Decimal(str(row["value"])) for row in response.json().get("data", ())), Decimal(0))

    last_s = time.monotonic() + 120

    def is_done() -> bool:
        right = all(sums(stage) == numbers for stage, numbers in wanted.items())
        return (right and answer() == sender.total) or time.monotonic() > last_s

    run.until(is_done, "all counted")
    found = [
        f"{stage}: {sums(stage)}, not {numbers}"
        for stage, numbers in wanted.items()
        if sums(stage) != numbers
    ]
    return found + ([] if answer() == sender.total else [f"usage is {answer()}, not {sender.total}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="an empty folder")
    folder: Path = parser.parse_args().data.absolute()
    folder.mkdir(parents=True)
    cluster = Cluster(folder)
    with ExitStack() as stack:
        stack.callback(cluster.kill)
        cluster.start()
        wait_until(cluster.is_whole, lambda: "the three brokers do not know one another", PATIENCE_S)
        topics.apply(cluster.settings)
        chdb = ChDB(folder, process.free_port()).start()
        stack.callback(chdb.stop)
        run = Run(cluster, chdb.url)
        stack.callback(run.stop)
        run.until(run.is_ready, "workers ready")
        made = direct_key.made("test")
        direct_key.create(run.settings, "default", made, "test", ["admin"])
        client = stack.enter_context(
            TestClient(create_app(run.settings), base_url="http://testserver/api/v1")
        )
        client.headers["authorization"] = f"Bearer {made.text}"
        assert client.post("/meters", json=METER).status_code == 201
        counted = stack.enter_context(Counted(run.settings))
        sender = Sender(run.settings)
        sender.start()
        run.wait(5)
        hurt(run)
        sender.close()
        differences = compare(run, sender, client, counted)
        print(f"{sender.ids} events, {sender.repeats} repeats, {run.restarts} restarts of workers")
        print("\n".join(differences) or "0 differences")
    raise SystemExit(1 if differences else 0)


if __name__ == "__main__":
    main()
