"""The local stack as a process: it comes up, heals, stops, and leaves nothing behind, whatever ends it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.settings import Settings
from pipeline.stages import STAGES
from pipeline.stores.kafka import client as cluster
from pipeline.stores.kafka import topics
from tests.fixtures.patience import PATIENCE_S, slowed

STARTED = {"kafka", "clickhouse", "redis", "api", *STAGES}


class Dev:
    """A running tests/local/dev.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder.parent / f"{folder.name}-output"
        with self.output.open("ab") as output:
            argv = [sys.executable, "-m", "tests.local.dev", str(folder)]
            self.process = subprocess.Popen(argv, stdout=output, stderr=output)

    def text(self) -> str:
        return self.output.read_text()

    def wait_for(self, pattern: str, times: int = 1, timeout_s: float = PATIENCE_S) -> None:
        def enough() -> bool:
            assert self.process.poll() is None, self.text()
            return len(re.findall(pattern, self.text())) >= times

        wait_until(enough, timeout_s, lambda: f"no {pattern!r} in\n{self.text()}")

    def settings(self) -> Settings:
        values = tomllib.loads((self.folder / "tallymark.toml").read_text())
        return Settings.model_construct(**values)


def wait_until(condition: Callable[[], bool], timeout_s: float, why: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


def descendants(pid: int) -> dict[int, str]:
    """Process id -> command line of all that `pid` has started, now."""
    found: dict[int, str] = {}
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return found
    for child in map(int, children):
        found[child] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
        found |= descendants(child)
    return found


def one(pid: int, word: str) -> int:
    """The process id of the one child with that word in its command line."""
    (match,) = [child for child, line in descendants(pid).items() if word in line]
    return match


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.fixture
def dev(tmp_path: Path, kafka_jars: None) -> Iterator[Callable[[], Dev]]:
    """Starts a dev on one and the same folder."""
    started: list[Dev] = []

    def start() -> Dev:
        started.append(Dev(tmp_path / "data"))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_dev_starts_heals_stops_and_continues(dev: Callable[[], Dev]) -> None:
    first = dev()
    first.wait_for("tallymark is up")
    settings, pid = first.settings(), first.process.pid
    assert topics.check(settings) == []
    assert {path.stem.removesuffix("-0") for path in (first.folder / "logs").iterdir()} == STARTED
    assert f"export TALLYMARK_CONFIG={first.folder}/tallymark.toml" in first.text()

    assert first.folder.stat().st_mode & 0o777 == 0o700
    closed = (
        "admin.key",
        "clickhouse.secret",
        "redis.secret",
        "secrets.key",
        "tallymark.toml",
        "kafka",
        "logs",
    )
    assert {(first.folder / name).stat().st_mode & 0o077 for name in closed} == {0}
    assert first.settings().clickhouse.count("@") == 1

    second = dev()
    assert second.process.wait(PATIENCE_S) == 2
    assert f"Another `tallymark dev` (process {pid}) runs on {first.folder}." in second.text()

    os.kill(one(pid, "dummy.py dedupe"), signal.SIGKILL)
    first.wait_for(r"dedupe-0 exited \(killed by SIGKILL\); restarting it in 0.2 s")
    os.kill(one(pid, "kafka.Kafka"), signal.SIGKILL)
    first.wait_for(r"kafka exited \(killed by SIGKILL\)")
    wait_until(lambda: any("kafka.Kafka" in line for line in descendants(pid).values()), PATIENCE_S)
    cluster.wait_until_up(settings)
    wait_until(lambda: any("dummy.py dedupe" in line for line in descendants(pid).values()), PATIENCE_S)
    ids = cluster.topic_ids(settings, topics.load(settings))

    children = list(descendants(pid))
    assert len(children) == len(STARTED)
    began_s = time.monotonic()
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(PATIENCE_S) == 0
    assert time.monotonic() - began_s < slowed(15)
    assert gone(children)

    third = dev()
    third.wait_for("tallymark is up", times=2)
    assert third.settings() == settings, "the ports stayed"
    assert cluster.topic_ids(settings, topics.load(settings)) == ids, "the data stayed"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
@pytest.mark.parametrize("wait_for", ["tallymark is up", None])
def test_kill_9_of_dev_leaves_nothing(dev: Callable[[], Dev], wait_for: str | None) -> None:
    running = dev()
    if wait_for is None:  # in the middle of the start
        wait_until(lambda: len(descendants(running.process.pid)) >= 2, PATIENCE_S)
    else:
        running.wait_for(wait_for)
    children = list(descendants(running.process.pid))
    running.process.kill()
    running.process.wait()
    wait_until(lambda: gone(children), PATIENCE_S, lambda: str(children))
