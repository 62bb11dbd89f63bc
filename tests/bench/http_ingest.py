"""How fast the HTTP API takes events: `python -m tests.bench.http_ingest`.

A real broker, one API process, requests built beforehand and sent over keep-alive connections by threads that do
nothing else. CPU time is the API process's own (Linux: /proc), all its threads, between first and last request.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from pipeline.core.metering.http_batch import TOPIC
from pipeline.local import process
from pipeline.local.kafka import Kafka
from pipeline.settings import Settings
from pipeline.stores.kafka import topics
from tests.bench.measure import cpu_s

ROOT = Path(__file__).parents[2]
UP_S = 30.0


def event(number: int) -> dict[str, object]:
    """About 250 bytes of JSON."""
    at = datetime.now(UTC) - timedelta(seconds=number % 3600)
    return {
        "specversion": "1.0",
        "id": f"request-{number:012d}",
        "source": "/services/completion/eu-west-1",
        "type": "prompt",
        "subject": f"customer-{number % 10_000}",
        "time": at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z",
        "data": {"tokens": number % 4096, "model": "large-2", "path": "/v1/completions"},
    }


def request(events: Sequence[dict[str, object]], batch: bool) -> bytes:
    """The bytes of a whole HTTP request."""
    body = json.dumps(events if batch else events[0], separators=(",", ":")).encode()
    kind = "application/cloudevents-batch+json" if batch else "application/cloudevents+json"
    head = f"POST /api/v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Settings]]:
    """A broker with topics and an API process; what it says is in `folder`/api.log."""
    broker = Kafka(folder / "kafka", process.free_port())
    settings = Settings.model_construct(
        kafka=broker.address,
        api_port=process.free_port(),
        clickhouse=f"chdb+http://127.0.0.1:{process.free_port()}/tallymark",
    )
    broker.start()
    try:
        topics.apply(settings)
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "TALLYMARK_KAFKA": settings.kafka,
            "TALLYMARK_CLICKHOUSE": settings.clickhouse,
            "TALLYMARK_REDIS": "",
            "TALLYMARK_AUTH": "off",
            "TALLYMARK_API_PORT": str(settings.api_port),
        }
        api = process.spawn(
            [sys.executable, "-m", "pipeline.cli", "api"], folder / "api.log", environment=environment
        )
        try:
            _wait_until_up(api, settings, folder / "api.log")
            yield api, settings
        finally:
            process.stop(api, 10)
    finally:
        broker.kill()


def _wait_until_up(api: subprocess.Popen[bytes], settings: Settings, log: Path) -> None:
    deadline = time.monotonic() + UP_S
    while True:
        try:
            send(connect(settings), [b"GET /api/v1/healthz HTTP/1.1\r\nhost: x\r\n\r\n"])
            return
        except OSError:
            if api.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.05)


def connect(settings: Settings) -> socket.socket:
    made = socket.create_connection((settings.api_host, settings.api_port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def send(connection: socket.socket, requests: Sequence[bytes]) -> list[float]:
    """Sends one after the other, each after the answer to the one before. Seconds each took."""
    taken = []
    for one in requests:
        began_s = time.perf_counter()
        connection.sendall(one)
        answer = connection.recv(65536)
        taken.append(time.perf_counter() - began_s)
        if not answer.startswith((b"HTTP/1.1 204", b"HTTP/1.1 200")):
            raise RuntimeError(answer.decode(errors="replace"))
    return taken


def in_parallel(settings: Settings, requests: Sequence[bytes], connections: int) -> list[float]:
    """Sends all over so many connections. Seconds each took."""
    taken: list[list[float]] = [[] for _ in range(connections)]

    def work(place: int) -> None:
        with connect(settings) as connection:
            taken[place] = send(connection, requests[place::connections])

    threads = [threading.Thread(target=work, args=(place,)) for place in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for part in taken for one in part]


def records(settings: Settings) -> int:
    watch = Consumer({"bootstrap.servers": settings.kafka, "group.id": "bench", "log_level": 0})
    try:
        return sum(
            watch.get_watermark_offsets(TopicPartition(TOPIC, number), timeout=10)[1]
            for number in range(settings.partitions)
        )
    finally:
        watch.close()


def measure(
    name: str, settings: Settings, pid: int, requests: Sequence[bytes], size: int, width: int
) -> None:
    """Sends and prints one line."""
    before, cpu, began_s = records(settings), cpu_s(pid), time.perf_counter()
    taken = sorted(in_parallel(settings, requests, width))
    seconds, used = time.perf_counter() - began_s, cpu_s(pid) - cpu
    if len(taken) != len(requests) or records(settings) - before != len(requests):
        raise RuntimeError(f"{records(settings) - before} records for {len(requests)} requests")
    events = len(requests) * size
    per_core = events / used if used else float("inf")
    print(
        f"{name:<34} {events / seconds:>9,.0f} events/s  {used / events * 1e6:>7.2f} CPU us/event"
        f"  {per_core:>9,.0f} events/s a core  p50 {statistics.median(taken) * 1e3:>6.2f} ms"
        f"  p99 {taken[int(len(taken) * 0.99)] * 1e3:>6.2f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.http_ingest", description=__doc__)
    parser.add_argument("--batches", type=int, default=500, help="of 1,000 events")
    parser.add_argument("--singles", type=int, default=3000)
    arguments = parser.parse_args()
    numbers = iter(range(1 << 40))
    batches = [request([event(next(numbers)) for _ in range(1000)], True) for _ in range(arguments.batches)]
    tens = [request([event(next(numbers)) for _ in range(10)], True) for _ in range(arguments.singles)]
    singles = [request([event(next(numbers))], False) for _ in range(arguments.singles)]
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (api, settings):
        measure("warm up", settings, api.pid, batches[:20], 1000, 4)
        measure("batches of 1,000, 4 connections", settings, api.pid, batches[20:], 1000, 4)
        measure("batches of 10, 16 connections", settings, api.pid, tens, 10, 16)
        measure("single events, 1 connection", settings, api.pid, singles[: len(singles) // 2], 1, 1)
        measure("single events, 16 connections", settings, api.pid, singles[len(singles) // 2 :], 1, 16)


if __name__ == "__main__":
    main()
