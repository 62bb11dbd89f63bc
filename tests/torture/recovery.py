"""python -m tests.torture.recovery [--keys 1000000] [--identities 10000000] --data /tmp/recovery

How long a worker takes to get its state back: an aggregate table and a dedupe table, each in four partitions, from the
changelog alone (disk lost) and from the local disk after kill -9. Prints seconds and the worker's memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from confluent_kafka import Producer

from pipeline.agents import aggregate, dedupe
from pipeline.core.metering import window_state
from pipeline.core.metering.dedupe import _ENTRY, pack_entries
from pipeline.engine.chunk import Position
from pipeline.engine.partition import Cluster, Partition, Spec
from pipeline.engine.producer import group_metadata
from pipeline.local.kafka import Kafka
from pipeline.local.process import free_port
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topics
from tests.flow.stack_process import ROOT

SPECS = {
    "aggregate": Spec("aggregate", ("events-unique",), "aggregate-meta", aggregate.CHANGELOG),
    "dedupe": Spec("dedupe", ("events-accepted",), "dedupe-meta", dedupe.CHANGELOG),
}
ENTRIES = 4_000  # of a chunk, as ingest makes them at full speed
MINUTE = 29_000_000
LOAD_S = 600.0


def windows(keys: int) -> Iterator[tuple[bytes, bytes]]:
    """State of minute windows as aggregate writes it, in the order of time."""
    rng = Random(1)
    for number in range(keys):
        values = ("GET", f"/v1/{number % 7}", "200")
        at = [(MINUTE + number // 50_000, f"customer-{number % 50_000:06d}", values)]
        (key,) = window_state.window_keys(
            at, window_state.identities("default", 3, ("method", "route", "status"), at)
        )
        value = f"{rng.randrange(10**6)}.{rng.randrange(10**6):06d}"
        state = window_state.WindowState(
            number, 1_780_000_000_000 + number, rng.randrange(1, 99), value, value
        )
        yield key, window_state.encode_state(state)


def entries(identities: int) -> Iterator[bytes]:
    """Changelog records of dedupe."""
    rng = Random(2)
    for chunk in range(identities // ENTRIES):
        at_ms = 1_780_000_000_000 + chunk
        yield pack_entries(
            [
                (rng.randbytes(16), _ENTRY.pack(chunk, index, rng.randbytes(8), at_ms))
                for index in range(ENTRIES)
            ]
        )


def fill(settings: Settings, keys: int, identities: int) -> None:
    """Writes both changelogs."""
    config = kafka.producer_config(settings) | {
        "message.max.bytes": 4 << 20,
        "queue.buffering.max.messages": 1_000_000,
        "batch.size": 1 << 20,
    }
    producer = Producer(config)

    def produce(topic: str, number: int, key: bytes | None, value: bytes) -> None:
        while True:
            try:
                producer.produce(topic, value, key, partition=number % settings.partitions)
                return
            except BufferError:
                producer.poll(0.1)

    for number, (key, value) in enumerate(windows(keys)):
        produce("aggregate-changelog", number, key, value)
    for number, record in enumerate(entries(identities)):
        produce("dedupe-changelog", number, None, record)
    if producer.flush(LOAD_S):
        raise TimeoutError("the changelogs were not written")


def restore(stage: str, servers: str, folder: Path) -> None:
    """Takes all partitions of a stage over as a worker does, says how it went, and ends by kill -9."""
    settings = Settings.model_construct(kafka=servers)
    config = kafka.client_config(settings)
    group = f"tallymark-{stage}"
    ids = kafka.topic_ids(settings, topics.load(settings))
    cluster = Cluster(config, group, group_metadata(config, group), ids)
    places = [Position(SPECS[stage].inputs[0], number) for number in range(settings.partitions)]
    partitions = [Partition(SPECS[stage], cluster, place, folder) for place in places]
    began_s = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(Partition.open, partitions))
    seconds = time.monotonic() - began_s
    report = {
        "seconds": round(seconds, 2),
        "records": sum(partition.restored_records for partition in partitions),
        "keys": sum(partition.table.estimated_keys() for partition in partitions if partition.table),
        "rss_mib": round(_status_mib("VmRSS")),
        "peak_mib": round(_status_mib("VmHWM")),
        "disk_mib": round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20),
    }
    print(json.dumps(report), flush=True)
    os.kill(os.getpid(), 9)


def _status_mib(name: str) -> float:
    """A line of /proc/self/status. (getrusage would also tell of the process that this one was forked from.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def measure(stage: str, servers: str, folder: Path) -> dict[str, float]:
    """One take-over in a process of its own."""
    argv = [
        sys.executable,
        "-m",
        "tests.torture.recovery",
        "--restore",
        stage,
        servers,
        "--data",
        str(folder),
    ]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise RuntimeError(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def recover(folder: Path, keys: int, identities: int) -> list[tuple[str, str, dict[str, float]]]:
    """(stage, from where, figures) of every take-over."""
    broker = Kafka(folder, free_port()).start()
    try:
        settings = Settings.model_construct(kafka=broker.address)
        topics.apply(settings)
        fill(settings, keys, identities)
        for stage in SPECS:  # a broker that has just started makes its coordinators' topics at the first use
            measure(stage, broker.address, folder / "first" / stage)
        found = []
        for stage in SPECS:
            state = folder / "state" / stage
            found.append((stage, "changelog", measure(stage, broker.address, state)))
            found.append((stage, "local disk", measure(stage, broker.address, state)))
        return found
    finally:
        broker.kill()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.recovery", description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--identities", type=int, default=10_000_000)
    parser.add_argument("--data", type=Path, required=True, help="a new folder; removed afterwards")
    parser.add_argument("--restore", nargs=2, metavar=("STAGE", "SERVERS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.restore:
        restore(*arguments.restore, arguments.data)
    try:
        for stage, source, found in recover(arguments.data, arguments.keys, arguments.identities):
            figures = ", ".join(f"{name} {value:,}" for name, value in found.items())
            print(f"{stage:<10} from {source:<10} {figures}", flush=True)
    finally:
        shutil.rmtree(arguments.data, ignore_errors=True)


if __name__ == "__main__":
    main()
