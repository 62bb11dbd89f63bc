"""Events that a thread sends without pause, over Kafka and HTTP, some of them twice, and their exact sums.

Owns: what is sent, retries until it is accepted, the recount. Does not own: the stack that counts it.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
from confluent_kafka import Producer

from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from tests.fixtures.patience import PATIENCE_S
from tests.flow.accepted_events import read
from tests.flow.three_brokers import require_delivery

SUBJECTS = 10
PAUSE_S = 0.01
BATCH = 20  # events of one HTTP request
REPEAT_EVERY, REPEAT_AFTER = 5, 300  # which events come again, and after how many others
MINUTE_S = 60
Cell = tuple[int, str]  # minute and subject


class SteadyLoad:
    """Sends until it is closed.

    usage: what was sent, each event once, by minute and subject. unique: how many different events.
    """

    def __init__(self, settings: Settings, api_url: str, key: str) -> None:
        self.api_url = api_url  # may be replaced by that of another API
        self.unique = 0
        self.usage: Counter[Cell] = Counter()
        self.values: dict[Cell, Decimal] = {}
        self._settings, self._key = settings, key
        self._closing = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        """Begins to send."""
        self._thread.start()

    def close(self) -> None:
        """Returns when everything that was sent is accepted. Raises RuntimeError if sending failed."""
        self._closing.set()
        self._thread.join()
        if self._failed is not None:
            raise RuntimeError("sending failed") from self._failed

    def used(self, subjects: range) -> Decimal:
        """The sum of the values that these subjects sent so far."""
        names = {f"c{number}" for number in subjects}
        return sum((value for (_, name), value in [*self.values.items()] if name in names), Decimal(0))

    def _run(self) -> None:
        try:
            self._send()
        except BaseException as error:
            self._failed = error

    def _send(self) -> None:
        producer = Producer(kafka.producer_config(self._settings))
        later: deque[tuple[int, dict[str, Any]]] = deque()
        batch: list[dict[str, Any]] = []

        def send(event: dict[str, Any], over_http: bool) -> None:
            if over_http:
                batch.append(event)
            else:
                producer.produce("events", json.dumps(event), event["id"], on_delivery=require_delivery)
            if len(batch) == BATCH:
                self._post(batch)
                batch.clear()

        while not self._closing.wait(PAUSE_S) or later:
            if later and (later[0][0] <= self.unique or self._closing.is_set()):
                number, event = later.popleft()
                send(event, number % 2 == 0)
            elif not self._closing.is_set():
                event = self._next()
                if self.unique % REPEAT_EVERY == 0:
                    later.append((self.unique + REPEAT_AFTER, event))
                send(event, self.unique % 2 == 0)
            producer.poll(0)
        if batch:
            self._post(batch)
        assert producer.flush(PATIENCE_S) == 0

    def _next(self) -> dict[str, Any]:
        now_s, number = int(time.time()), self.unique
        subject, value = f"c{number % SUBJECTS}", 1 + Decimal(number % 1000) / 1000
        cell = (now_s // MINUTE_S * MINUTE_S, subject)
        self.values[cell] = self.values.get(cell, Decimal(0)) + value
        self.usage[cell] += 1
        self.unique += 1
        return {
            "specversion": "1.0", "id": str(number), "source": "/load", "type": "call", "subject": subject,
            "time": datetime.fromtimestamp(now_s, UTC).isoformat(), "data": {"n": str(value)},
        }  # fmt: skip

    def _post(self, batch: list[dict[str, Any]]) -> None:
        """Until the API has accepted it: a batch that is sent again counts once, since its events keep their ids."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                url = f"{self.api_url}/api/v1/events"
                answer = httpx.post(
                    url, json=batch, headers={"authorization": f"Bearer {self._key}"}, timeout=30
                )
                if answer.status_code == 204:
                    return
                why = answer.text
            except httpx.TransportError as error:
                why = str(error)
            if time.monotonic() > deadline:
                raise RuntimeError(why)
            time.sleep(0.2)


def arrived(servers: str) -> int:
    """How many events stand on the input topics, repeats included."""
    over_http = (len(json.loads(one.value() or b"[]")) for one in read(servers, "events-http"))
    return len(read(servers, "events")) + sum(over_http)
