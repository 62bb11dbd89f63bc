"""Changes by eight clients while control, a worker and the broker are killed: each is done once, each gets its answer.

A client sends a change under its `Idempotency-Key` until it is answered, as a client of the API does. Grants have no
name of their own, so a grant that is made twice would stay twice.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec

from pipeline.core.definitions import audit
from pipeline.records import Audit, Reply
from tests.fixtures.patience import PATIENCE_S, until
from tests.flow.accepted_events import read
from tests.flow.stack_process import StackProcess
from tests.flow.test_story import local_stack

__all__ = ["local_stack"]  # a fixture

CLIENTS, CHANGES = 8, 20  # changes of each client
VICTIMS = ("control", "broker", "aggregate", "control", "alert")
PAUSE_S = 0.2  # of a client between two tries
FEATURE = {"key": "f", "name": "f", "meterSlug": "m"}
ENTITLEMENT = {"type": "metered", "featureKey": "f", "usagePeriod": {"interval": "MONTH"}}
GRANTS = "/api/v2/customers/acme/entitlements/f/grants"


class Progress:
    """How many changes were answered."""

    def __init__(self) -> None:
        self._answered = 0
        self._changed = threading.Condition()

    def add(self) -> None:
        with self._changed:
            self._answered += 1
            self._changed.notify_all()

    def reach(self, number: int) -> None:
        """Returns when so many changes were answered."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._answered >= number, PATIENCE_S)


def send(api: httpx.Client, key: str) -> httpx.Response:
    """One change, until it is answered by a decision."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            answer = api.post(
                GRANTS, json={"amount": 1, "metadata": {"change": key}}, headers={"idempotency-key": key}
            )
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code != 503:
            assert answer.status_code == 201, answer.text
            return answer
        assert time.monotonic() < deadline, answer and answer.text
        threading.Event().wait(PAUSE_S)


def client(stack: StackProcess, number: int, progress: Progress) -> dict[str, Any]:
    """All changes of one client, by key: the grants that it was answered."""
    answered: dict[str, Any] = {}
    with connected(stack) as api:
        for place in range(CHANGES):
            key = f"{number}-{place}"
            answered[key] = send(api, key).json()
            progress.add()
    return answered


def connected(stack: StackProcess) -> httpx.Client:
    headers = {"authorization": f"Bearer {(stack.folder / 'admin.key').read_text().strip()}"}
    return httpx.Client(base_url=stack.settings.api_url, headers=headers, timeout=60)


def hurt(stack: StackProcess, victim: str) -> None:
    """kill -9, once it runs: it may be starting again after the one before."""
    if victim == "broker":
        stack.kill_broker()
    else:
        until(lambda: stack.signal(victim, signal.SIGKILL), lambda: f"{victim} does not run")


def test_each_change_is_done_once_whatever_is_killed(tmp_path: Path) -> None:
    with StackProcess(tmp_path / "stack") as stack, connected(stack) as api:
        for path, body in (
            ("/api/v1/meters", {"slug": "m", "eventType": "t", "aggregation": "COUNT"}),
            ("/api/v1/features", FEATURE),
            ("/api/v1/customers", {"key": "acme", "name": "Acme"}),
            ("/api/v2/customers/acme/entitlements", ENTITLEMENT),
        ):
            assert api.post(path, json=body).status_code == 201
        progress, answered = Progress(), dict[str, Any]()
        with ThreadPoolExecutor(CLIENTS) as pool:
            running = [pool.submit(client, stack, number, progress) for number in range(CLIENTS)]
            for place, victim in enumerate(VICTIMS, 1):
                progress.reach(place * CLIENTS * CHANGES // (len(VICTIMS) + 1))
                hurt(stack, victim)
            for one in running:
                answered |= one.result()
        again = {key: send(api, key).json() for key in answered}
        check(stack, answered, again)


def check(stack: StackProcess, answered: dict[str, Any], again: dict[str, Any]) -> None:
    keys = {f"{number}-{place}" for number in range(CLIENTS) for place in range(CHANGES)}
    assert answered.keys() == keys and again == answered  # a repeat has the first answer
    with connected(stack) as api:
        stored = api.get(GRANTS, params={"pageSize": 1000}).json()["items"]
    assert {one["metadata"]["change"]: one["id"] for one in stored} == {
        key: one["id"] for key, one in answered.items()
    }
    assert len(stored) == len(keys)
    kafka = stack.settings.kafka
    log = [msgspec.json.decode(one.value() or b"", type=Audit) for one in read(kafka, "audit")]
    assert audit.verify(log).seq == len(log)
    assert sum(one.kind == "grant.create" and not one.error for one in log) == len(keys)
    replies = [msgspec.json.decode(one.value() or b"", type=Reply) for one in read(kafka, "replies")]
    assert max(Counter(one.attempt for one in replies).values()) == 1
