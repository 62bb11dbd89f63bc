"""What a stack needs: memory of each process, bytes on disk and CPU an event: `python -m tests.bench.sizing`.

    python -m tests.bench.sizing --subjects 10000 --events 200000

A local stack with all stages, one worker each, and one SUM meter with a dimension. Events of an hour, their subjects in
turn, are sent to Kafka at once; figures are taken when `reconcile` agrees that all are counted. Memory is PSS, in which
a shared page counts in parts. Bytes of Kafka are those of its segments, of ClickHouse those of its active parts, of
RocksDB those of its files. Linux only.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from pipeline.settings import Settings
from pipeline.stores.clickhouse.connect import connect
from tests.bench.measure import cpu_s
from tests.flow.sender import send
from tests.flow.stack_process import StackProcess
from tests.flow.stream import Sent

METER = [
    {
        "slug": "tokens", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.tokens",
        "groupBy": {"model": "$.model"},
    }
]  # fmt: skip
SPAN_S = 3600
LIMIT_S = 1800.0
MIB = 1 << 20


def events(count: int, subjects: int, now_s: float) -> Iterator[Sent]:
    """`count` events of the hour before `now_s`, each of the next subject, with random ids and values."""
    rng = Random(7)
    for number in range(count):
        at = datetime.fromtimestamp(now_s - SPAN_S * (1 - number / count), UTC).isoformat(
            timespec="milliseconds"
        )
        event = {
            "specversion": "1.0", "id": f"{rng.getrandbits(128):032x}", "source": "/llm/small", "type": "prompt",
            "subject": f"customer-{number % subjects:07d}", "time": at,
            "data": {"model": rng.choice(("small", "small", "large")), "tokens": rng.randrange(5000)},
        }  # fmt: skip
        yield Sent(None, json.dumps(event, separators=(",", ":")).encode())


def name_of(words: list[str]) -> str:
    """The stage, the API or the store that a command line runs."""
    if "kafka.Kafka" in words:
        return "kafka"
    if words[-2:-1] == ["worker"]:
        return words[-1]
    return (
        "api"
        if words[-1] == "api"
        else next((one for one in ("clickhouse", "redis") if one in " ".join(words)), "")
    )


def processes(stack: StackProcess) -> dict[str, tuple[int, float]]:
    """By name: bytes of memory and seconds of CPU of each process of the stack."""
    found: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for pid, words in stack.processes():
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        (pss,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        memory, cpu = found[name_of(words)]
        found[name_of(words)] = memory + pss, cpu + cpu_s(pid)
    return dict(found)


def kafka_bytes(folder: Path) -> dict[str, int]:
    """Bytes of the segments of each topic."""
    found: dict[str, int] = defaultdict(int)
    for segment in (folder / "kafka").rglob("*.log"):
        found[segment.parent.name.rpartition("-")[0]] += segment.stat().st_size
    return dict(found)


def state_bytes(folder: Path) -> dict[str, int]:
    """Bytes of the local state of each stage."""
    found: dict[str, int] = defaultdict(int)
    for file in (folder / "state").rglob("*"):
        if file.is_file():
            found[file.relative_to(folder / "state").parts[0]] += file.stat().st_size
    return dict(found)


def clickhouse_bytes(settings: Settings) -> dict[str, int]:
    """Bytes of the active parts of each table."""
    store = connect(settings.clickhouse, settings.clickhouse_password)
    rows = store.query("SELECT table, sum(bytes_on_disk) FROM system.parts WHERE active GROUP BY table")
    return {str(table): int(str(size)) for table, size in rows}


def await_counted(stack: StackProcess) -> None:
    """Return when every event has its fate; a service that a busy machine keeps from answering is asked again."""
    deadline_s = time.monotonic() + LIMIT_S
    while (done := stack.command("reconcile", "--wait", "300")).returncode != 0:
        assert time.monotonic() < deadline_s, done.stdout + done.stderr


def shown(title: str, sizes: dict[str, int], count: int) -> None:
    """Every size above a byte an event, and the sum."""
    print(f"{title}: {sum(sizes.values()) / count:.0f} bytes an event")
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if size > count:
            print(f"  {name:<24}{size / count:>8.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sizing", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--subjects", type=int, default=10_000)
    parser.add_argument("--data", type=Path, help="new or empty folder; default: a temporary one")
    arguments = parser.parse_args()
    folder = arguments.data or Path(tempfile.mkdtemp(prefix="bench-sizing-"))
    count = arguments.events
    with StackProcess(folder) as stack:
        (folder / "meters.json").write_text(json.dumps(METER))
        done = stack.command("meters", "apply", str(folder / "meters.json"))
        assert done.returncode == 0, done.stderr
        await_counted(stack)
        before, began_s = processes(stack), time.monotonic()
        sent = list(events(count, arguments.subjects, time.time()))
        send(stack.settings.kafka, sent)
        await_counted(stack)
        took_s, after = time.monotonic() - began_s, processes(stack)
        size = sum(len(one.line) for one in sent) / count
        print(
            f"{count:,} events of {size:.0f} bytes, {arguments.subjects:,} subjects; counted after {took_s:.0f} s"
        )
        print(f"{'process':<14}{'MiB idle':>10}{'MiB after':>11}{'CPU us/event':>14}")
        for name, (memory, cpu) in sorted(after.items()):
            idle, cpu_before = before.get(name, (0, 0.0))
            print(
                f"{name:<14}{idle / MIB:>10.0f}{memory / MIB:>11.0f}{(cpu - cpu_before) / count * 1e6:>14.1f}"
            )
        shown("Kafka, without replicas", kafka_bytes(folder), count)
        shown("RocksDB", state_bytes(folder), count)
        shown("ClickHouse", clickhouse_bytes(stack.settings), count)


if __name__ == "__main__":
    main()
