"""How long the partitions of a killed worker stand still, and those of workers that come and go.

`python -m tests.bench.failover` kills workers of `ingest` with SIGKILL while events arrive, then goes from 2 to 4 to 2
workers. It prints the longest time in which a partition committed nothing, and ends with an error if an event is
missing or is counted twice. With --lost the killed worker does not start again before its partitions have moved, as
when its machine is lost.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.local import process
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topics
from tests.fixtures.running_workers import Counted, Running, wait_until
from tests.flow.own_broker import own_broker

STAGE, META, INPUT = "ingest", "ingest-meta", "events"
PAUSE_S = 0.02  # between two events of a partition
BACKOFF_S = 0.2  # of a supervisor, as that of `tallymark dev`
SETTLE_S = 3.0
EVENT = b'{"specversion":"1.0","id":"%d","source":"/s","type":"t","subject":"a"}'


class Load:
    """Sends events to every partition, and notes when each partition commits."""

    def __init__(self, settings: Settings) -> None:
        self.sent = 0
        self.commits: dict[int, list[float]] = defaultdict(list)
        self._settings = settings
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._send, self._watch)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def stop_s(self, partitions: Iterable[int], since_s: float) -> float:
        """The longest pause of one of the partitions that began at since_s or later, or was going on then."""
        longest = 0.0
        for partition in partitions:
            times = self.commits[partition]
            for before, after in pairwise(times):
                if after >= since_s:
                    longest = max(longest, after - max(before, since_s))
        return longest

    def wait_for(self, partitions: Iterable[int], after_s: float) -> None:
        """Return when each partition has committed after an instant."""
        wanted = list(partitions)

        def late() -> list[int]:
            return [one for one in wanted if not self.commits[one] or self.commits[one][-1] <= after_s]

        wait_until(lambda: not late(), lambda: f"the partitions {late()} stand still")

    def _send(self) -> None:
        producer = Producer(kafka.producer_config(self._settings))
        while not self._closing.wait(PAUSE_S):
            for partition in range(self._settings.partitions):
                producer.produce(INPUT, EVENT % self.sent, partition=partition)
                self.sent += 1
            producer.poll(0)
        assert producer.flush(60) == 0

    def _watch(self) -> None:
        own = {"group.id": "failover", "isolation.level": "read_committed", "fetch.wait.max.ms": 10}
        consumer = Consumer(kafka.client_config(self._settings) | own)
        consumer.assign([TopicPartition(META, number, 0) for number in range(self._settings.partitions)])
        while not self._closing.is_set():
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.commits[message.partition() or 0].append(time.monotonic())
        consumer.close()


def owned(worker: Running) -> list[int]:
    """The partitions of the input topic that a worker owns, from its log."""
    last = [line for line in worker.log.read_text().splitlines() if f"{STAGE} owns " in line][-1]
    words = last.partition(" owns ")[2].partition(" (")[0].split(", ")
    return [int(word.partition("/")[2]) for word in words if word.startswith(f"{INPUT}/")]


def kill_runs(load: Load, workers: list[Running], runs: int, *, lost: bool) -> list[tuple[float, float]]:
    """Of each run: the stop of the killed worker's partitions, and that of all others, in seconds."""
    found = []
    everything = range(load._settings.partitions)
    for number in range(runs):
        victim = workers[number % len(workers)]
        its = owned(victim)
        assert victim.process is not None
        process.kill(victim.process)
        killed_s = time.monotonic()
        if not lost:
            time.sleep(BACKOFF_S)
            victim.start()
        load.wait_for(everything, killed_s + 1)
        if lost:
            victim.start()
        victim.wait_until_ready()
        moved_s = time.monotonic()
        load.wait_for(everything, moved_s)
        others = [one for one in everything if one not in its]
        found.append((load.stop_s(its, killed_s), load.stop_s(others, killed_s)))
        print(
            f"run {number + 1}: {found[-1][0]:.2f} s; the other partitions {found[-1][1]:.2f} s", flush=True
        )
        time.sleep(SETTLE_S)
    return found


def scaling(load: Load, settings: Settings, folder: Path, more: Mapping[str, object]) -> None:
    """From two workers to four, and to two, under load."""
    everything = range(settings.partitions)
    added = [_worker(settings, folder / f"added-{number}", more) for number in range(2)]
    began_s = time.monotonic()
    for worker in added:
        worker.start()
    for worker in added:
        worker.wait_until_ready()
    load.wait_for(everything, time.monotonic() + 1)
    print(f"2 to 4 workers: {load.stop_s(everything, began_s):.2f} s", flush=True)
    began_s = time.monotonic()
    for worker in added:
        assert worker.process is not None
        worker.process.send_signal(signal.SIGTERM)
    for worker in added:
        worker.wait_until_ended()
    load.wait_for(everything, time.monotonic() + 1)
    print(f"4 to 2 workers: {load.stop_s(everything, began_s):.2f} s", flush=True)


def _worker(settings: Settings, state: Path, more: Mapping[str, object]) -> Running:
    state.mkdir()
    return Running(settings.model_copy(update={"state_dir": state}), STAGE, **more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--session", type=float, default=10.0, help="session_timeout_s of the workers")
    parser.add_argument("--lost", action="store_true", help="the killed worker does not start again at once")
    asked = parser.parse_args()
    with TemporaryDirectory() as name, own_broker(Path(name)) as broker:
        settings = Settings.model_construct(kafka=broker.address, state_dir=Path(name) / "state")
        topics.apply(settings)
        more = {"session_timeout_s": asked.session}
        workers = [_worker(settings, Path(name) / f"worker-{number}", more).start() for number in range(2)]
        with Counted(settings) as counted, Load(settings) as load:
            for worker in workers:
                worker.wait_until_ready()
            load.wait_for(range(settings.partitions), time.monotonic() + 1)
            stops = kill_runs(load, workers, asked.runs, lost=asked.lost)
            scaling(load, settings, Path(name), more)
            load.__exit__()
            counted.wait_for(STAGE, read=load.sent, accepted=load.sent)
        for worker in workers:
            worker.__exit__(None, None, None)
        own, others = zip(*stops, strict=True)
        print(f"killed: median {statistics.median(own):.2f} s, worst {max(own):.2f} s ({len(own)} runs)")
        print(f"others: median {statistics.median(others):.2f} s, worst {max(others):.2f} s")
        print(f"{load.sent} events sent, each accepted once")


if __name__ == "__main__":
    main()
