"""Events over HTTP on the whole stack, the API killed meanwhile: nothing acknowledged is lost, nothing counts twice."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import httpx
import pytest

from tests.fixtures.absent import absent
from tests.fixtures.patience import PATIENCE_S
from tests.flow.stack_process import COUNTING, StackProcess
from tests.flow.test_story import PARTS

BATCHES = 240
SIZE = 25
SENDERS = 4
KILLS = 4
METER = {
    "slug": "calls",
    "eventType": "call",
    "aggregation": "SUM",
    "valueProperty": "$.n",
    "groupBy": {"batch": "$.batch"},
}


@pytest.fixture(scope="module", autouse=True)
def local_stack() -> None:
    import importlib.util

    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    if missing:
        absent(f"the local stack is not installed: {', '.join(missing)}")


class Senders:
    """Threads that send each batch until it is acknowledged; every tenth is given up when its outcome is unknown."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {
            "authorization": f"Bearer {key}",
            "content-type": "application/cloudevents-batch+json",
        }
        self._left = list(range(BATCHES))
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(SENDERS)]
        self.acknowledged: set[int] = set()
        self.given_up: set[int] = set()
        self.repeated = 0

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def done(self) -> int:
        with self._lock:
            return len(self.acknowledged) + len(self.given_up)

    def _run(self, seed: int) -> None:
        rng = Random(seed)
        with httpx.Client(timeout=15) as client:
            while True:
                with self._lock:
                    if not self._left:
                        return
                    batch = self._left.pop(0)
                self._send(client, batch, rng)

    def _send(self, client: httpx.Client, batch: int, rng: Random) -> None:
        body = json.dumps([event(batch, number) for number in range(SIZE)])
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                status = client.post(self._url + "/events", content=body, headers=self._headers).status_code
            except httpx.TransportError:
                status = 0
            with self._lock:
                if status == 204:
                    self.acknowledged.add(batch)
                    return
                assert status in (0, 503), status
                if status == 0 and batch % 10 == 0:
                    self.given_up.add(batch)
                    return
                self.repeated += 1
            time.sleep(0.05 + rng.random() / 10)


def event(batch: int, number: int) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": f"{batch}/{number}",
        "source": "/tests/http",
        "type": "call",
        "subject": f"customer-{number % 3}",
        "data": {"n": number + 1, "batch": str(batch)},
    }


def api_pid(stack: StackProcess) -> int | None:
    found = [pid for pid, words in stack.processes() if "pipeline.cli" in words and "api" in words]
    return found[0] if found else None


def kill_while(senders: Senders, stack: StackProcess) -> Iterator[int]:
    """Kills the API at even steps of the progress; gives each pid."""
    for step in range(1, KILLS + 1):
        deadline = time.monotonic() + PATIENCE_S
        while senders.done() < step * BATCHES // (KILLS + 1) or (pid := api_pid(stack)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)
        yield pid


def test_nothing_acknowledged_is_lost_and_nothing_counts_twice(tmp_path: Path) -> None:
    with StackProcess(tmp_path / "stack", stages=COUNTING) as stack:
        url = stack.settings.api_url + "/api/v1"
        key = (stack.folder / "admin.key").read_text().strip()
        who = {"authorization": f"Bearer {key}"}
        (stack.folder / "meters.json").write_text(json.dumps([METER]))
        applied = stack.command("meters", "apply", str(stack.folder / "meters.json"))
        assert applied.returncode == 0, applied.stderr
        late = {**event(9999, 0), "time": "2001-01-01T00:00:00Z"}
        assert httpx.post(url + "/events", json=[late, event(9998, 0)], headers=who).status_code == 204

        senders = Senders(url, key)
        senders.start()
        pids = set(kill_while(senders, stack))
        senders.join()
        assert len(pids) == KILLS
        assert senders.acknowledged | senders.given_up == set(range(BATCHES))
        assert senders.repeated or senders.given_up, "no call was cut: the test has shown nothing"

        settled = stack.command("reconcile", "--wait", "240", "--format", "json")
        assert settled.returncode == 0, settled.stdout + settled.stderr
        (report,) = json.loads(settled.stdout)["namespaces"]
        answer = httpx.get(url + "/meters/calls/query", params={"groupBy": "batch"}, headers=who)
    sums = {row["groupBy"]["batch"]: int(row["value"]) for row in answer.json()["data"]}
    whole = SIZE * (SIZE + 1) // 2
    assert {sums.pop("9998")} == {1}
    assert {batch for batch in senders.acknowledged if sums.get(str(batch)) != whole} == set()
    assert {batch for batch in senders.given_up if sums.get(str(batch), whole) != whole} == set()
    assert report["reasons"] == {"beyond-horizon": 1}
    assert report["fates"]["counted"] == len(sums) * SIZE + 1
    assert report["fates"]["duplicate"] % SIZE == 0
    assert report["fates"]["conflict"] == 0
