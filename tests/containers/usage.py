"""Events that are sent to the running containers, and the answers that they must lead to.

Owns: batches of events, the sum that is expected, requests to the API. Does not own: containers (compose).
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from confluent_kafka import Producer

from tests.containers.compose import Failed, run_in, wait_for

API = f"http://127.0.0.1:{os.environ.get('TALLYMARK_API_PORT', '26888')}"
KAFKA = f"127.0.0.1:{os.environ.get('TALLYMARK_KAFKA_PORT', '26092')}"
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")  # the broker unpacks each of them
METER = {
    "slug": "n",
    "eventType": "t",
    "aggregation": "SUM",
    "valueProperty": "$.n",
    "groupBy": {"part": "$.part"},
}


def value_of(number: int) -> Decimal:
    """What the event with this number counts, with two decimals."""
    return Decimal(number % 10_007) / 100


def event(number: int) -> dict[str, object]:
    data = {"n": float(value_of(number)), "part": str(number % 3)}
    return {
        "specversion": "1.0",
        "id": str(number),
        "source": "/containers",
        "type": "t",
        "subject": f"s{number % 50}",
        "data": data,
    }


@dataclass
class Usage:
    """All that was sent so far. key: of the API."""

    key: str = ""
    sent: int = 0
    total: Decimal = field(default_factory=Decimal)

    def ask(
        self, path: str, body: object = None, content: str = "application/json", method: str | None = None
    ) -> Any:
        """The JSON of the API's answer; a POST if there is a body and no method. Raises OSError."""
        data = None if body is None else json.dumps(body).encode()
        text = self.read(path, data, content, method)
        return json.loads(text, parse_float=Decimal) if text else None

    def read(
        self,
        path: str,
        data: bytes | None = None,
        content: str = "application/json",
        method: str | None = None,
    ) -> bytes:
        """The body of the API's answer. Raises OSError, with what the API says."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": content}
        request = urllib.request.Request(f"{API}/api/v1/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text: bytes = answer.read()
        except urllib.error.HTTPError as error:
            raise OSError(f"{path}: {error.code}, {error.read()[:1000].decode(errors='replace')}") from error
        return text

    def create_key(self) -> None:
        """The first key, as a user makes it."""
        wait_for("the API answers", self._is_up)
        printed = run_in("api", "tallymark", "keys", "create", "first", "--scope", "admin", "--direct")
        self.key = next(word for word in printed.split() if word.startswith("um_"))

    def _is_up(self) -> bool:
        with urllib.request.urlopen(f"{API}/api/v1/ready", timeout=5) as answer:
            return answer.status == 200

    def take(self, count: int) -> list[dict[str, object]]:
        """New events, which are expected from now on."""
        numbers = range(self.sent, self.sent + count)
        self.sent += count
        self.total += sum(map(value_of, numbers))
        return [event(number) for number in numbers]

    def send_http(self, events: Sequence[dict[str, object]]) -> None:
        for start in range(0, len(events), 1000):
            self.ask("events", events[start : start + 1000], "application/cloudevents-batch+json")

    def send_kafka(self, events: Sequence[dict[str, object]]) -> None:
        """Publish from the host, with every compression, and wait until the broker has all of them."""
        size = -(-len(events) // len(CODECS))
        for place, codec in enumerate(CODECS):
            config = {
                "bootstrap.servers": KAFKA,
                "enable.idempotence": True,
                "compression.type": codec,
                "linger.ms": 50,
                "log_level": 0,  # a broker that was killed is part of it
            }
            producer = Producer(config)
            for one in events[place * size : (place + 1) * size]:
                producer.produce("events", json.dumps(one), key=str(one["subject"]))
                producer.poll(0)
            if left := producer.flush(60):
                raise Failed(f"{left} events were not acknowledged with compression {codec}")

    def expect(self, limit_s: float = 240.0) -> None:
        """Return when usage is exactly what was sent. Raises Failed."""
        wait_for(
            f"usage is {self.total} of {self.sent} events", lambda: self.counted() == self.total, limit_s
        )

    def counted(self) -> Decimal:
        rows = self.ask("meters/n/query")["data"]
        return Decimal(rows[0]["value"]) if rows else Decimal()

    def expect_reconciled(self) -> None:
        """Every event has one fate, stored rows agree, and the number of counted events is that of those sent."""
        found: dict[str, Any] = {}

        def is_settled() -> bool:
            found.update(self.ask("reconcile?wait_s=20"))
            return bool(found["settled"])

        wait_for("reconcile is settled", is_settled)
        (fates,) = [one["fates"] for one in found["namespaces"] if one["namespace"] == "default"]
        if not found["ok"] or fates["counted"] != self.sent:
            raise Failed(f"{self.sent} events were sent, and reconcile shows {found}")

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("status")
        return found

    def is_up(self) -> bool:
        """Whether `tallymark status` is content."""
        return bool(self.status()["ok"])
