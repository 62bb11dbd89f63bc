"""A disk that fills up under a running stack and is freed again: nothing may be lost or counted twice.

    python -m tests.flow.disk_full --what clickhouse --data /tmp/full

Mounts a small tmpfs under one folder of a fresh stack (ClickHouse's data, Kafka's log dirs or the workers' state),
sends events at a steady rate, fills the tmpfs to its last byte, frees it after a while, and compares every fate and
window with a recount of what arrived. Prints what `tallymark status` and the logs show meanwhile.
Exit code 1 on any difference. Needs root and mount(8); Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path

from confluent_kafka import Producer

from tests.flow.arrived_records import arrived
from tests.flow.meters import METERS
from tests.flow.prove import Say, apply_meters, compare_meter, settle
from tests.flow.recount import recount
from tests.flow.sender import HEADERS
from tests.flow.stack_process import COUNTING, StackProcess
from tests.flow.stream import Sent, stream

# Which folder of the stack's data lies on the small disk, and how large that disk is. Kafka's has to hold all events.
FOLDERS = {"clickhouse": "clickhouse", "kafka": "kafka/data", "state": "state"}
SIZES_MB = {"clickhouse": 256, "kafka": 512, "state": 96}
LOOK_EVERY_S = 4.0
SETTLE_S = 600.0
BLOCK = b"\0" * (1 << 20)
_TELLING = re.compile(r"WARNING|ERROR|CRITICAL|No space left|ended \(|not enough space", re.IGNORECASE)
_TIME = re.compile(r"^[\dT:,.\- ]+")


@dataclass(frozen=True)
class Plan:
    """full_s: how long the disk stays full. It fills up when a third of the events is sent."""

    what: str
    events: int = 40_000
    per_s: int = 1_000
    full_s: float = 20.0
    seed: int = 7


@dataclass
class Outcome:
    """seen: what status and logs showed while the disk was full, in the order of time."""

    differences: list[str] = field(default_factory=list)
    fates: dict[str, int] = field(default_factory=dict)
    windows: int = 0
    seen: list[str] = field(default_factory=list)
    recovered_s: dict[str, float] = field(
        default_factory=dict
    )  # from a freed disk to a reconcile that adds up


def may_mount() -> bool:
    """Whether this process can mount a tmpfs."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    probe = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], check=False, capture_output=True
    )
    return probe.returncode == 0


@contextlib.contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[Path]:
    """A tmpfs of its own at `folder`, unmounted in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size_mb}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tallymark-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, left_bytes: int = 0) -> Path:
    """Writes a file until no more than `left_bytes` are left, and gives its path."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as out:
        for size in (len(BLOCK), 4096, 1):
            with contextlib.suppress(_Full):
                while (_free_bytes(disk) >= left_bytes + size and size > 1) or not left_bytes:
                    _write(out, size)
    return ballast


class _Full(Exception):
    """There is no byte left."""


def _write(out: RawIOBase, size: int) -> None:
    try:
        if out.write(BLOCK[:size]) != size:
            raise _Full
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _Full from error


def _free_bytes(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def run(plans: Sequence[Plan], data: Path, say: Say = lambda line: None) -> Outcome:
    """Runs the plans one after the other on one fresh stack under `data`, each with a disk of its own.

    Raises RuntimeError when the stack does not recover.
    """
    outcome = Outcome()
    with contextlib.ExitStack() as opened:
        disks = {
            plan.what: opened.enter_context(small_disk(data / FOLDERS[plan.what], SIZES_MB[plan.what]))
            for plan in plans
        }
        stack = opened.enter_context(StackProcess(data, stages=COUNTING))
        apply_meters(stack)
        for plan in plans:
            say(f"{plan.what} lies on a disk of {SIZES_MB[plan.what]} MB")
            _fill_and_recover(plan, stack, disks[plan.what], outcome, say)
        _compare(stack, outcome, say)
    return outcome


def _fill_and_recover(plan: Plan, stack: StackProcess, disk: Path, outcome: Outcome, say: Say) -> None:
    sender = Sender(stack.settings.kafka, plan)
    sender.start()
    sender.wait_until_sent(plan.events // 3)
    _full(plan, stack, disk, outcome, say)
    freed_s = time.monotonic()
    sender.finish()
    say(f"all {plan.events} events are acknowledged by Kafka")
    outcome.fates = settle(stack, say, SETTLE_S)
    outcome.recovered_s[plan.what] = time.monotonic() - freed_s


def _full(plan: Plan, stack: StackProcess, disk: Path, outcome: Outcome, say: Say) -> None:
    """Fills the disk, looks at the stack until the time is over, and frees the disk."""
    logs = Logs(stack)
    ballast = fill(disk)
    began_s = time.monotonic()
    say("the disk is full")
    while (past_s := time.monotonic() - began_s) < plan.full_s:
        time.sleep(min(LOOK_EVERY_S, plan.full_s - past_s))
        status = stack.command("status")
        lines = [*logs.new(), *(f"status: {line}" for line in (status.stdout + status.stderr).splitlines())]
        for line in lines:
            if line not in outcome.seen:
                outcome.seen.append(line)
                say(f"  {line[:240]}")
    ballast.unlink()
    say("the disk is free again")


def _compare(stack: StackProcess, outcome: Outcome, say: Say) -> None:
    expected = recount(arrived(stack.settings.kafka), METERS)
    if outcome.fates != dict(expected.fates):
        outcome.differences.append(f"fates {outcome.fates}, expected {dict(expected.fates)}")
    compared: Counter[str] = Counter()
    for meter in METERS:
        outcome.differences += compare_meter(stack, meter, expected.windows, compared)
    outcome.windows = compared.total()
    say(f"{outcome.windows} windows compared, {len(outcome.differences)} differences")


class Sender:
    """Sends the stream at a steady rate from a thread; Kafka may be away for any time."""

    def __init__(self, servers: str, plan: Plan) -> None:
        self._plan = plan
        self._sent = 0
        self._moved = threading.Condition()
        self._failed: BaseException | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "enable.idempotence": True,
                "message.timeout.ms": 0,  # without end
                "partitioner": "murmur2_random",
                "queue.buffering.max.messages": 1_000_000,
                "reconnect.backoff.max.ms": 1_000,
                "log_level": 0,
            }
        )
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        """Begins to send."""
        self._thread.start()

    def wait_until_sent(self, count: int) -> None:
        """Returns when so many events were handed to Kafka's client."""
        with self._moved:
            self._moved.wait_for(lambda: self._sent >= count or self._failed is not None)
        self._check()

    def finish(self) -> None:
        """Returns when Kafka has acknowledged every event. Raises RuntimeError when it does not."""
        self._thread.join()
        self._check()
        if left := self._producer.flush(SETTLE_S):
            raise RuntimeError(f"Kafka did not acknowledge {left} events within {SETTLE_S:.0f} s")

    def _run(self) -> None:
        try:
            for record in paced(stream(self._plan.events, self._plan.seed, time.time_ns()), self._plan.per_s):
                self._producer.produce("events", record.line, record.key, headers=HEADERS)
                self._producer.poll(0)
                with self._moved:
                    self._sent += 1
                    self._moved.notify_all()
        except BaseException as error:
            with self._moved:
                self._failed = error
                self._moved.notify_all()

    def _check(self) -> None:
        if self._failed is not None:
            raise RuntimeError("sending failed") from self._failed


def paced(records: Iterable[Sent], per_s: int) -> Iterator[Sent]:
    """The records, at most `per_s` a second."""
    began_s = time.monotonic()
    for number, record in enumerate(records):
        ahead_s = number / per_s - (time.monotonic() - began_s)
        if ahead_s > 0.01:
            time.sleep(ahead_s)
        yield record


class Logs:
    """What the logs of the stack have to say from now on: each distinct warning or error once."""

    def __init__(self, stack: StackProcess) -> None:
        self._paths = lambda: [stack.log, *sorted((stack.folder / "logs").glob("*.log"))]
        self._read = {path: path.stat().st_size for path in self._paths()}
        self._known: set[str] = set()

    def new(self) -> list[str]:
        """Lines since the last call, without their time of day."""
        found = []
        for path in self._paths():
            with path.open("rb") as log:
                log.seek(self._read.get(path, 0))
                text = log.read()
            self._read[path] = self._read.get(path, 0) + len(text)
            for line in text.decode(errors="replace").splitlines():
                shown = f"{path.name}: {_TIME.sub('', line)}"
                kind = re.sub(r"\d+", "0", shown)
                if _TELLING.search(line) and kind not in self._known:
                    self._known.add(kind)
                    found.append(shown)
        return found


def main(argv: list[str] | None = None, say: Callable[[str], object] = print) -> int:
    """The command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.flow.disk_full", description=__doc__)
    parser.add_argument("--what", choices=sorted(FOLDERS), required=True, help="whose disk fills up")
    parser.add_argument("--events", type=int, default=Plan.events)
    parser.add_argument("--per-s", type=int, default=Plan.per_s, help="events sent a second")
    parser.add_argument("--full-s", type=float, default=Plan.full_s, help="how long the disk stays full")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--data", type=Path, required=True, help="new or empty folder")
    given = parser.parse_args(argv)
    if given.data.exists() and any(given.data.iterdir()):
        parser.error(f"{given.data} is not empty")
    if not may_mount():
        parser.error("this needs root and mount(8)")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the disk is unmounted
    began_s = time.monotonic()
    plan = Plan(given.what, given.events, given.per_s, given.full_s, given.seed)
    outcome = run([plan], given.data, lambda line: say(f"{time.monotonic() - began_s:7.1f} s  {line}"))
    say(f"fates       {outcome.fates}")
    say(f"recovered   {outcome.recovered_s[plan.what]:.1f} s after the disk was free")
    say(f"windows     {outcome.windows} compared, {len(outcome.differences)} differences")
    for sentence in outcome.differences[:20]:
        say(sentence)
    return 1 if outcome.differences else 0


if __name__ == "__main__":
    sys.exit(main())
