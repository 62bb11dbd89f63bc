"""What is done to the running containers, step by step. `python -m tests.containers.checks down|upgrade DIR|all`.

Owns: the steps and their order. Does not own: commands (compose), events and sums (usage), the images (run).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from pipeline.engine.consumer_watch import UNASSIGNED_S
from pipeline.stages import STAGES
from tests.containers import alerting, hardening, invoice
from tests.containers.compose import (
    PROJECT,
    Failed,
    compose,
    containers,
    docker,
    inspected,
    kill_process,
    run_in,
    wait_for,
)
from tests.containers.usage import METER, Usage

USAGE_FILE = Path("/tmp") / f"{PROJECT}.json"  # between the upgrade and the other checks
NETWORK = f"{PROJECT}_default"
COUNTING = (
    "api",
    *(stage for stage in STAGES if stage in ("ingest", "dedupe", "aggregate", "sink", "control")),
)
EVENTS = 10_000


def start_before(root: Path, usage: Usage) -> None:
    """The earlier version, one worker a stage, with events in every state."""
    scale = [word for stage in COUNTING for word in ("--scale", f"{stage}=1")]
    compose("up", "-d", "--no-build", *scale, *COUNTING, root=root)
    usage.create_key()
    usage.ask("meters", METER)
    usage.send_http(usage.take(2_000))
    usage.send_kafka(usage.take(2_000))
    usage.expect()
    compose("down", "-t", "30", root=root)


def start(usage: Usage) -> None:
    """Everything, with the data that are there or with none; usage is what it was."""
    compose("up", "-d", "--no-build")
    if usage.key:
        wait_for("the key of the earlier version opens the API", lambda: usage.ask("meters") is not None)
    else:
        usage.create_key()
        usage.ask("meters", METER)
    wait_for("every stage and service is up", usage.is_up)
    usage.expect()


def count(usage: Usage) -> None:
    """Events over HTTP, each twice, and over Kafka from the host with every compression; an invoice."""
    invoice.subscribe(usage)
    events = usage.take(EVENTS)
    usage.send_http(events)
    usage.send_http(events)
    usage.send_kafka(usage.take(EVENTS))
    usage.expect()
    usage.expect_reconciled()
    invoice.expect(usage)


def look(usage: Usage) -> None:
    """An alert that is posted, rights, health, Prometheus. Health comes last: it is checked once a minute."""
    alerting.check()
    hardening.check()


def kill(usage: Usage) -> None:
    """kill -9 of a worker of each counting stage and of the broker; each starts again by itself."""
    killed = []
    for service in ("ingest", "dedupe", "aggregate", "kafka"):
        usage.send_kafka(usage.take(1_000))
        killed.append(kill_process(service))
    wait_for("killed containers run again", lambda: all(
        one["State"]["Running"] and one["RestartCount"] >= 1 for one in inspected(killed)
    ))  # fmt: skip
    usage.send_kafka(usage.take(1_000))
    usage.expect()
    wait_for("every stage and service is up", usage.is_up)


def recreate_kafka(usage: Usage) -> None:
    """Another container of the broker on the same volume, while the workers are idle: none of them waits for ever."""
    before = containers("kafka")
    compose("up", "-d", "--no-build", "--no-deps", "--force-recreate", "kafka")
    if containers("kafka") == before:
        raise Failed("the container of Kafka is the same")
    wait_for("Kafka is healthy", lambda: "kafka" not in hardening.unhealthy())
    usage.send_kafka(usage.take(2_000))
    usage.expect(UNASSIGNED_S + 240)
    wait_for("every stage and service is up", usage.is_up, UNASSIGNED_S + 240)


def pause_clickhouse(usage: Usage) -> None:
    """ClickHouse stops answering: events are accepted, the error is shown, and usage is exact afterwards."""
    (clickhouse,) = containers("clickhouse")
    docker("pause", clickhouse)
    try:
        usage.send_http(usage.take(2_000))
        shown = usage.status()["neighbours"]["clickhouse"]
        if shown["ok"] or not shown["detail"]:
            raise Failed(f"status shows {shown} while ClickHouse is paused")
        printed = run_in("sink", "tallymark-healthy", expect=1)
        if json.loads(printed)["needs"]["clickhouse"] in ("", "ok"):
            raise Failed(f"the health of the sink shows {printed} while ClickHouse is paused")
        run_in("dedupe", "tallymark-healthy")  # it does not need ClickHouse
    finally:
        docker("unpause", clickhouse)
    usage.expect()


def cut_sink(usage: Usage) -> None:
    """The sink loses its network: nothing is lost, and it continues."""
    sinks = containers("sink")
    for one in sinks:
        docker("network", "disconnect", NETWORK, one)
    usage.send_kafka(usage.take(2_000))
    wait_for("the sink's lag shows", lambda: _stage(usage, "sink")["lag"] not in (0, None))
    for one in sinks:
        docker("network", "connect", "--alias", "sink", NETWORK, one)
    usage.expect()


def scale(usage: Usage) -> None:
    """Four workers of dedupe share its partitions."""
    compose("up", "-d", "--no-build", "--no-recreate", "--scale", "dedupe=4", "dedupe")

    def is_shared() -> bool:
        owned = [worker["partitions"] for worker in _stage(usage, "dedupe")["workers"]]
        return len(owned) == 4 and all(owned)

    wait_for("four workers of dedupe own partitions", is_shared)
    usage.send_kafka(usage.take(2_000))
    usage.expect()


def restart(usage: Usage) -> None:
    """Down and up on the same volumes: usage is there, and repeats are still repeats."""
    compose("down", "-t", "30")
    start(usage)
    usage.send_http([event for event in Usage().take(2_000)])
    usage.send_kafka(usage.take(2_000))
    usage.expect()
    usage.expect_reconciled()
    invoice.expect(usage)


def _stage(usage: Usage, name: str) -> dict[str, object]:
    return next(stage for stage in usage.status()["stages"] if stage["stage"] == name)


def down() -> None:
    """Remove containers, networks and volumes."""
    compose("down", "-v", "--remove-orphans", "-t", "5")
    USAGE_FILE.unlink(missing_ok=True)


Step = tuple[str, Callable[[Usage], None]]
STEPS: tuple[Step, ...] = (
    ("up, every stage and service", start),
    (
        "10,000 events over HTTP, each twice, and 10,000 over Kafka: exact, reconcile adds up; an invoice and its PDF",
        count,
    ),
    ("what containers may do, health, Prometheus, an alert that is posted, Grafana's files", look),
    ("kill -9 of ingest, dedupe, aggregate and the broker: exact", kill),
    ("Kafka's container recreated: exact, every worker has its partitions", recreate_kafka),
    ("ClickHouse paused: the error is shown, then exact", pause_clickhouse),
    ("the sink without network, then exact", cut_sink),
    ("dedupe with 4 workers: exact", scale),
    ("down and up on the same volumes: exact, repeats are repeats", restart),
)


def main(arguments: list[str]) -> int:
    command = arguments[0]
    if command == "down":
        down()
        return 0
    usage = msgspec.json.decode(USAGE_FILE.read_bytes(), type=Usage) if USAGE_FILE.exists() else Usage()
    steps = STEPS
    if command == "upgrade":
        root = Path(arguments[1])
        steps = ((f"the earlier version counts {4_000} events", lambda of: start_before(root, of)),)
    for name, step in steps:
        began_s = time.monotonic()
        try:
            step(usage)
        except (Failed, OSError, LookupError, ValueError) as error:
            print(f"failed: {name}: {error}")
            return 1
        print(f"{time.monotonic() - began_s:4.0f} s  {name}")
    if command == "upgrade":
        USAGE_FILE.write_bytes(msgspec.json.encode(usage))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
