"""Worker processes on a real broker: an auxiliary that fails, a broker that restarts, input topics that grow."""

from __future__ import annotations

import re
import socket
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack

import pytest
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]

from pipeline.local import process
from pipeline.local.kafka import Kafka
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from pipeline.stores.kafka import topics
from pipeline.worker.log_limit import LINES, PERIOD_S
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.running_workers import Counted, Running, send, workers

pytestmark = pytest.mark.own_broker  # it restarts it, and enlarges topics


def test_a_taken_metrics_port_does_not_stop_the_stage(fresh_topics: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, Counted(fresh_topics) as counted:
        port = taken.getsockname()[1]
        with Running(fresh_topics, "ingest", metrics_port=port) as ingest:
            assert ingest.metrics_url() and str(port) not in ingest.metrics_url()
            send(fresh_topics, ["a"])
            counted.wait_for("ingest", read=1, accepted=1)
            assert f"cannot serve metrics on 127.0.0.1:{port}" in ingest.log.read_text()
            with urllib.request.urlopen(ingest.metrics_url(), timeout=30) as response:
                metrics = response.read().decode()
            (free,) = re.findall(r"^tallymark_disk_free_bytes (\S+)$", metrics, re.MULTILINE)
            assert float(free) > 0


def test_idle_workers_survive_a_broker_that_is_killed_and_one_that_is_stopped(
    kafka: Kafka, fresh_topics: Settings
) -> None:
    """Their first transaction after it is the one that must not hang."""
    settings, began_s = fresh_topics, time.monotonic()
    with Counted(settings) as counted, workers(settings, "ingest", "dedupe", "aggregate") as running:
        pids = {stage: one.process.pid for stage, one in running.items() if one.process is not None}
        send(settings, [f"before-{place}" for place in range(16)])  # every partition has worked
        counted.wait_for("aggregate", read=16, unmetered=16)
        for number, end in enumerate((kafka.kill, kafka.stop), 2):
            end()
            kafka.start()
            send(settings, [f"after-{number}-{place}" for place in range(16)])
            counted.wait_for("aggregate", read=16 * number, unmetered=16 * number)
        for stage, one in running.items():
            assert one.process is not None and one.process.poll() is None, one.log.read_text()
            assert one.process.pid == pids[stage]
            periods = (time.monotonic() - began_s) / PERIOD_S + 1
            assert repeats(one.log.read_text()) <= LINES * periods, (
                "a library fills the log while Kafka is stopped"
            )


def repeats(log: str) -> int:
    """How often the most frequent line of another program is in a log. Numbers in it make no difference."""
    lines = (re.sub(r"\d+", "1", line) for line in log.splitlines() if " tallymark." not in line)
    return max(Counter(lines).values(), default=0)


def test_a_killed_worker_has_its_partitions_again_before_kafka_misses_it(fresh_topics: Settings) -> None:
    session_s = 300
    assert session_s > PATIENCE_S, "a test that waits for it fails"
    elsewhere = fresh_topics.model_copy(update={"state_dir": fresh_topics.state_dir / "elsewhere"})
    elsewhere.state_dir.mkdir(parents=True)
    with Counted(fresh_topics) as counted:
        with Running(fresh_topics, "ingest", session_timeout_s=session_s) as ingest:
            assert ingest.process is not None
            process.kill(ingest.process)
            ingest.start().wait_until_ready()
            send(fresh_topics, ["a"])
            counted.wait_for("ingest", read=1, accepted=1)
        with Running(elsewhere, "ingest", session_timeout_s=session_s):
            send(fresh_topics, ["b"])  # one that was stopped has left the group
            counted.wait_for("ingest", read=2, accepted=2)


def test_workers_that_start_side_by_side_do_not_end_each_other(fresh_topics: Settings) -> None:
    """Each moves partitions while another one is taking them over."""
    with Counted(fresh_topics) as counted, ExitStack() as stack:
        running = []
        for number in range(3):
            own = fresh_topics.model_copy(update={"state_dir": fresh_topics.state_dir / f"own-{number}"})
            own.state_dir.mkdir(parents=True)
            running.append(Running(own, "ingest").start())
            stack.push(running[-1])
        for number, one in enumerate(running, 1):
            one.wait_until_ready()
            send(fresh_topics, [f"{number}-{place}" for place in range(16)])
            counted.wait_for("ingest", read=16 * number, accepted=16 * number)


def test_input_topics_may_grow_while_they_are_read(fresh_topics: Settings) -> None:
    with Counted(fresh_topics) as counted:
        with workers(fresh_topics, "ingest"):
            for topic in ("events", "events-http"):
                grow(fresh_topics, topic, 6)
                for partition in range(6):
                    send(fresh_topics, [f"{topic}-{partition}"], topic, partition)
            # Plain events lack the header that the API writes.
            counted.wait_for("ingest", **{"read": 12, "accepted": 6, "rejected:no-namespace": 6})
        assert topics.check(fresh_topics) == []
        with workers(fresh_topics, "ingest"):
            send(fresh_topics, ["more"], "events", 3)


def grow(settings: Settings, topic: str, partitions: int) -> None:
    client = cluster.admin(settings)
    (future,) = client.create_partitions([NewPartitions(topic, partitions)]).values()
    future.result()
