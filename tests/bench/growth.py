"""How the stack grows with subjects, with workers, and with one busy subject: `python -m tests.bench.growth`.

    python -m tests.bench.growth --events 300000 --subjects 10000 1000000 --workers 1 2 --hot 0 80

A fresh local stack with all stages for each row, one SUM meter with a dimension. Events of an hour are sent to Kafka at
once; subjects take turns, and `hot` per cent of the events are those of one more subject. `others` is when the events
of subjects in other partitions can be queried, `all` when every event can: the busy subject delays only those that
share its partition. Memory is that of the largest stage with state, RocksDB that of all its files. Linux only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.metering.identity import subject_hash
from tests.bench.sizing import METER, MIB, await_counted, events, processes, state_bytes
from tests.bench.whole_stack import wait_for_rows
from tests.flow.sender import send
from tests.flow.stack_process import StackProcess
from tests.flow.stream import Sent

HOT = "customer-hot"
NAMESPACE = "default"
_PARTITION = (
    "CRC32(concat('[\"', namespace, '\",\"', subject, '\"]'))"  # as core.metering.identity.subject_hash
)


def load(count: int, subjects: int, hot: int, now_s: float) -> Iterator[Sent]:
    """`count` events, `hot` per cent of them of the busy subject, spread evenly."""
    for number, one in enumerate(events(count, subjects, now_s)):
        if number * hot // 100 < (number + 1) * hot // 100:
            event = json.loads(one.line)
            yield Sent(None, json.dumps({**event, "subject": HOT}, separators=(",", ":")).encode())
        else:
            yield one


def is_elsewhere(line: bytes, partitions: int) -> bool:
    """Whether the event is of a subject whose partition is not that of the busy one."""
    subject = json.loads(line)["subject"]
    return subject_hash(NAMESPACE, subject) % partitions != subject_hash(NAMESPACE, HOT) % partitions


def row(count: int, subjects: int, workers: int, hot: int) -> str:
    """One run, as a line of the table."""
    folder = Path(tempfile.mkdtemp(prefix="bench-growth-"))
    with StackProcess(folder, workers) as stack:
        (folder / "meters.json").write_text(json.dumps(METER))
        done = stack.command("meters", "apply", str(folder / "meters.json"))
        assert done.returncode == 0, done.stderr
        await_counted(stack)
        sent = list(load(count, subjects, hot, time.time()))
        partitions = stack.settings.partitions
        elsewhere = sum(is_elsewhere(one.line, partitions) for one in sent)
        before, began_s = processes(stack), time.monotonic()
        send(stack.settings.kafka, sent)
        place = subject_hash(NAMESPACE, HOT) % partitions
        wait_for_rows(stack, elsewhere, f"WHERE {_PARTITION} % {partitions} != {place}")
        others_s = time.monotonic() - began_s
        wait_for_rows(stack, count)
        await_counted(stack)
        seconds, after = time.monotonic() - began_s, processes(stack)
        used = sum(cpu - before.get(name, (0, 0.0))[1] for name, (_, cpu) in after.items())
        state = state_bytes(folder)
    shutil.rmtree(folder, ignore_errors=True)
    memory = max(after[name][0] for name in ("dedupe", "aggregate", "attribute"))
    return (
        f"{subjects:>10,} {workers:>7} {hot:>3} % {others_s:>8.1f} {seconds:>7.1f} {count / seconds:>9,.0f} "
        f"{used / count * 1e6:>12.1f} {memory / MIB:>8.0f} {sum(state.values()) / MIB:>8.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--subjects", type=int, nargs="+", default=[10_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="of each stage")
    parser.add_argument(
        "--hot", type=int, nargs="+", default=[0], help="per cent of the events of one subject"
    )
    wanted = parser.parse_args()
    print("  subjects workers   hot others s   all s  events/s CPU us/event  MiB most RocksDB MiB")
    for subjects, workers, hot in itertools.product(wanted.subjects, wanted.workers, wanted.hot):
        print(row(wanted.events, subjects, workers, hot), flush=True)


if __name__ == "__main__":
    main()
