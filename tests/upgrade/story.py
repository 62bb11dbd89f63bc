"""What a user does and sees in the upgrade story, over HTTP and Kafka only.

Owns: the requests, and waiting until all is settled. Does not own: the events (stream), a stack (record, test_upgrade).
"""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Producer

from tests.fixtures.patience import PATIENCE_S
from tests.flow.accepted_events import read
from tests.upgrade import stream
from tests.upgrade.stream import DAY_S, Cell, Sent

BATCH = 100
# For tests on any later day: nothing expires between the recording and its opening, and tries of a webhook go on.
SETTINGS = {
    "TALLYMARK_HORIZON_S": str(50 * 365 * DAY_S),
    "TALLYMARK_WEBHOOK_SCHEDULE_S": ",".join(["0", "1", *["2"] * 30]),
    "TALLYMARK_SESSION_TIMEOUT_S": "4",
}


class Story:
    """A running stack on `folder`, as its user. api_url: another API than that of the stack's settings."""

    def __init__(self, folder: Path, api_url: str = "") -> None:
        values = tomllib.loads((folder / "tallymark.toml").read_text())
        self.servers: str = values["kafka"]
        key = (folder / "admin.key").read_text().strip()
        self._client = httpx.Client(
            base_url=(api_url or values["api_url"]) + "/api/v1",
            headers={"authorization": f"Bearer {key}"},
            timeout=60,
        )

    def ask(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """The answer as JSON with exact numbers; None without a body."""
        answer = self._client.request(method, path, json=body, params=params)
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        return json.loads(answer.text, parse_float=Decimal) if answer.content else None

    def send(self, sent: Sequence[Sent]) -> dict[str, int]:
        """Each event its way, copies once their originals are settled; returns how many events have which fate."""
        copies = ("duplicate", "conflict")
        self._produce([one for one in sent if one.fate not in copies])
        self.fates()
        self._produce([one for one in sent if one.fate in copies])
        return self.fates()

    def _produce(self, sent: Iterable[Sent]) -> None:
        producer = Producer({"bootstrap.servers": self.servers, "log_level": 0, "linger.ms": 50})
        batch: list[Any] = []
        for one in sent:
            if one.way == "http":
                batch.append(one.event)
                if len(batch) == BATCH:
                    self.ask("POST", "/events", batch)
                    batch = []
            elif one.way == "binary":
                event = one.event
                data = json.dumps(event.pop("data"))
                headers = [("content-type", str(event.pop("datacontenttype")).encode())]
                headers += [(f"ce_{name}", str(value).encode()) for name, value in event.items()]
                producer.produce("events", data, headers=headers)
            else:
                producer.produce("events", one.content, key="k")
        if batch:
            self.ask("POST", "/events", batch)
        assert producer.flush(PATIENCE_S) == 0

    def fates(self) -> dict[str, int]:
        """How many events had which fate, once all is settled and adds up."""
        report = self.ask("GET", "/reconcile", wait_s=PATIENCE_S)
        assert report["ok"] and report["settled"], report
        (found,) = report["namespaces"]
        return {fate: number for fate, number in found["fates"].items() if number}

    def usage(self, base_s: int) -> dict[Cell, Decimal]:
        """What the API answers for each meter by day, subject and model. base_s: as in `stream.before`."""
        found = {}
        span = {"from": instant(base_s - 30 * DAY_S), "to": instant(base_s + DAY_S), "windowSize": "DAY"}
        for meter in (*stream.METERS, stream.LATER_METER):
            groups = ["subject", *meter.get("groupBy", {})]
            answer = self.ask("GET", f"/meters/{meter['slug']}/query", groupBy=groups, **span)
            for row in answer["data"]:
                day_s = int(datetime.fromisoformat(row["windowStart"]).timestamp())
                cell = (meter["slug"], day_s, row["subject"], row["groupBy"].get("model", ""))
                found[cell] = Decimal(row["value"])
        return found

    def wait_for_usage(self, base_s: int, sent: Sequence[Sent]) -> None:
        """Returns once every meter answers what a recount of all that was sent gives."""
        expected = stream.usage(sent)
        deadline = time.monotonic() + PATIENCE_S
        while found := stream.differences(self.usage(base_s), expected):
            assert time.monotonic() < deadline, (len(found), found[:10])
            time.sleep(0.2)

    def value(self, customer: str, feature: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/customers/{customer}/entitlements/{feature}/value")
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """All that is on the topic `alerts`, as JSON objects."""
        return [json.loads(one.value() or b"") for one in read(self.servers, "alerts")]


def wait_for(come: Callable[[], bool]) -> None:
    """Returns once it is so; it is asked again and again, since a stack offers nothing to wait on."""
    deadline = time.monotonic() + PATIENCE_S
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def instant(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
