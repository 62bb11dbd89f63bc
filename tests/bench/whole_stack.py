"""What an event costs with every stage running, until it can be queried in ClickHouse: `python -m tests.bench --all`.

A local stack, one worker a stage, the demo's meters. The events are sent to Kafka first, so that the stages are behind
from the beginning. CPU time is that of each process, the broker included, from the start of the sending until
`reconcile` agrees that every event is counted and stored. Beside it are numbers that other work of the machine hardly
changes: transactions of each stage, bytes of each topic. Linux only.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from pipeline.settings import Settings
from pipeline.stages import STAGES
from pipeline.stores.clickhouse.connect import connect
from tests.bench.load import LOADS
from tests.bench.sizing import await_counted, kafka_bytes, processes
from tests.flow.sender import send
from tests.flow.stack_process import StackProcess

POLL_S = 0.5
LIMIT_S = 3600.0
MIB = 1 << 20
OFFSETS = 2  # of a meta topic that a transaction takes: its record, and its marker

Used = Mapping[str, tuple[int, float]]
"""By process: bytes of memory, seconds of CPU."""


@dataclass(frozen=True)
class Measured:
    """events: that were sent. seconds: from the first one that was sent until all could be queried."""

    events: int
    sending_s: float
    seconds: float
    before: Used
    half: Used
    after: Used
    transactions: Mapping[str, int]
    inserts: int
    kafka: Mapping[str, int]


def measure(load: str, events: int, seed: int) -> Measured:
    """One run on a fresh stack. Raises AssertionError when not every event is counted in the end."""
    folder = Path(tempfile.mkdtemp(prefix="bench-all-"))
    with StackProcess(folder) as stack:
        (folder / "meters.json").write_text(json.dumps(LOADS[load].meters))
        done = stack.command("meters", "apply", str(folder / "meters.json"))
        assert done.returncode == 0, done.stderr
        await_counted(stack)
        sent = list(LOADS[load].records(events, seed, time.time_ns()))
        before, committed = processes(stack), transactions(stack.settings)
        began_s = time.monotonic()
        send(stack.settings.kafka, sent)
        sending_s = time.monotonic() - began_s
        half = wait_for_rows(stack, len(sent) // 2)
        wait_for_rows(stack, len(sent))
        await_counted(stack)
        seconds, after = time.monotonic() - began_s, processes(stack)
        made = {name: number - committed[name] for name, number in transactions(stack.settings).items()}
        (inserts,) = _row(stack, "SELECT uniqExact(insert_id) FROM events")
        measured = Measured(
            len(sent), sending_s, seconds, before, half, after, made, inserts, kafka_bytes(folder)
        )
    shutil.rmtree(folder, ignore_errors=True)
    return measured


def transactions(settings: Settings) -> dict[str, int]:
    """How many transactions each stage with a meta topic has committed, by the ends of its partitions."""
    watch = Consumer({"bootstrap.servers": settings.kafka, "group.id": "bench", "log_level": 0})
    found = watch.list_topics(timeout=10).topics
    ends = {
        stage: sum(
            watch.get_watermark_offsets(TopicPartition(f"{stage}-meta", number), timeout=10)[1]
            for number in found[f"{stage}-meta"].partitions
        )
        for stage in STAGES
        if f"{stage}-meta" in found
    }
    watch.close()
    return {stage: end // OFFSETS for stage, end in ends.items()}


def wait_for_rows(stack: StackProcess, number: int, where: str = "") -> Used:
    """Returns what the processes have used when ClickHouse has so many rows of events, of those `WHERE` selects."""
    deadline_s = time.monotonic() + LIMIT_S
    while _row(stack, f"SELECT count() FROM events {where}")[0] < number:
        assert time.monotonic() < deadline_s, f"fewer than {number} rows after {LIMIT_S:g} s"
        time.sleep(POLL_S)
    return processes(stack)


def _row(stack: StackProcess, sql: str) -> tuple[int, ...]:
    store = connect(stack.settings.clickhouse, stack.settings.clickhouse_password)
    return tuple(int(str(value)) for value in store.query(sql)[0])


def report(measured: Measured) -> str:
    """A table: CPU microseconds an event of each process, in all and in the second half, its memory; the counts."""
    count = measured.events
    lines = [
        f"{count:,} events, sent in {measured.sending_s:.1f} s, all queryable after {measured.seconds:.1f} s: "
        f"{count / measured.seconds:,.0f} events/s",
        f"{'process':<14}{'CPU us/event':>14}{'second half':>13}{'MiB':>7}{'transactions':>14}",
    ]
    total = last = 0.0
    for name, (memory, cpu) in sorted(measured.after.items()):
        used = (cpu - measured.before.get(name, (0, 0.0))[1]) / count * 1e6
        late = (cpu - measured.half.get(name, (0, 0.0))[1]) / (count / 2) * 1e6
        total, last = total + used, last + late
        made = f"{measured.transactions[name]:>14,}" if name in measured.transactions else ""
        lines.append(f"{name or 'others':<14}{used:>14.1f}{late:>13.1f}{memory / MIB:>7.0f}{made}")
    lines.append(f"{'all':<14}{total:>14.1f}{last:>13.1f}{'':>7}{sum(measured.transactions.values()):>14,}")
    lines.append(f"ClickHouse: {measured.inserts:,} rounds of inserts")
    lines.append(f"Kafka: {sum(measured.kafka.values()) / count:.0f} bytes an event")
    lines += [
        f"  {name:<24}{size / count:>8.1f}"
        for name, size in sorted(measured.kafka.items(), key=lambda item: -item[1])
        if size > count
    ]
    return "\n".join(lines)
