"""Balances and alerts on the whole stack, killed on the way, Redis emptied, time passing: a crossing is fired once."""

from __future__ import annotations

import importlib.util
import json
import signal
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import redis

from pipeline.agents import alert
from pipeline.agents.clock import KEY
from pipeline.records import Alert, Balance
from tests.fixtures.absent import absent
from tests.fixtures.patience import slowed, until
from tests.flow.accepted_events import read
from tests.flow.stack_process import StackProcess
from tests.flow.test_story import PARTS

LEAST_S = 5.0  # before the minute at which grants begin and end
ON_TIME_S = 3.0
THRESHOLD, RESET, VOLUME = "entitlements.balance.threshold", "entitlements.reset", "meter.volume.threshold"
METER = {"slug": "tokens", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.n"}


@pytest.fixture(scope="module", autouse=True)
def local_stack() -> None:
    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    if missing:
        absent(f"the local stack is not installed: {', '.join(missing)}")


def text(at_s: float) -> str:
    return datetime.fromtimestamp(int(at_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Story:
    """What a user does, over HTTP."""

    def __init__(self, stack: StackProcess) -> None:
        self.stack = stack
        self.sent = 0
        key = (stack.folder / "admin.key").read_text().strip()
        self._client = httpx.Client(
            base_url=stack.settings.api_url + "/api/v1",
            headers={"authorization": f"Bearer {key}"},
            timeout=60,
        )

    def post(self, path: str, body: Any = None) -> Any:
        answer = self._client.post(path, json=body)
        assert answer.status_code in (201, 204), answer.text
        return answer.json() if answer.content else None

    def use(self, events: int, at_s: float) -> None:
        """Events of one token each, of both subjects, ten in a request."""
        for start in range(self.sent, self.sent + events, 10):
            batch = [
                {
                    "specversion": "1.0", "id": str(number), "source": "/tests", "type": "prompt",
                    "subject": "ab"[number % 2], "time": text(at_s), "data": {"n": 1},
                }
                for number in range(start, min(start + 10, self.sent + events))
            ]  # fmt: skip
            self.post("/events", batch)
        self.sent += events

    def value(self) -> dict[str, Any]:
        answer = self._client.get("/customers/acme/entitlements/gpt/value")
        return dict(answer.json()) if answer.status_code == 200 else {}

    def until(self, **wanted: object) -> dict[str, Any]:
        """The live value once it is so."""
        found: dict[str, Any] = {}

        def is_so() -> bool:
            found.update(self.value())
            return all(found.get(name) == one for name, one in wanted.items())

        until(is_so, lambda: (wanted, found))
        return found

    def until_loaded(self) -> None:
        """Returns when the balance has the usage of before the entitlement. Usage that is loaded names no event."""

        def is_loaded() -> bool:
            clocks = [one for one in read(self.stack.settings.kafka, alert.INPUT) if one.key() == KEY]
            loaded = [
                one.offset() or 0 for one in clocks if f'["{alert.SEEDED}"'.encode() in (one.value() or b"")
            ]
            return bool(loaded) and any(one.revision >= loaded[0] for _, one in balances(self))

        until(is_loaded)

    def kill(self, *stages: str) -> None:
        for stage in stages:
            until(lambda: self.stack.signal(stage, signal.SIGKILL))  # noqa: B023

    def alerts(self) -> list[Alert]:
        return [
            msgspec.json.decode(one.value() or b"", type=Alert)
            for one in read(self.stack.settings.kafka, "alerts")
        ]

    def fired(self, number: int) -> Counter[str]:
        """What was fired, once there is so much of it."""
        until(lambda: len(self.alerts()) >= number)
        found = self.alerts()
        assert len({one.id for one in found}) == len(found)
        return Counter(f"{one.type.removeprefix(THRESHOLD)} {one.annotations.get('threshold', '')}".strip()
                       for one in found)  # fmt: skip


def define(story: Story) -> None:
    story.post("/meters", METER)
    attributed = {"usageAttribution": {"subjectKeys": ["a", "b"]}}
    story.post("/customers", {"key": "acme", "name": "Acme", **attributed})
    channel = story.post("/notification/channels", {
        "type": "WEBHOOK", "name": "none", "url": "https://example.com/", "disabled": True,
    })["id"]  # fmt: skip
    every = {"name": "n", "channels": [channel]}
    volume = {"meterSlug": "tokens", "windowSize": "MINUTE", "limit": 100}
    story.post("/notification/rules", {**every, "type": VOLUME, **volume})
    thresholds = [{"type": "usage_percentage", "value": value} for value in (50, 90)]
    story.post("/notification/rules", {**every, "type": THRESHOLD, "thresholds": thresholds})
    story.post("/notification/rules", {**every, "type": RESET})


def entitle(story: Story, now_s: float, minute_s: int) -> None:
    """100 for the month and after each reset, 50 that end at `minute_s`, 45 that begin then."""
    story.post("/features", {"key": "gpt", "name": "GPT", "meterSlug": "tokens"})
    ends = {"effectiveAt": text(minute_s - 3600), "expiration": {"duration": "HOUR", "count": 1}}
    month = {
        "amount": 100, "priority": 1, "effectiveAt": text(now_s - 86_400),
        "minRolloverAmount": 100, "maxRolloverAmount": 100,
    }  # fmt: skip
    nothing = {"minRolloverAmount": 0, "maxRolloverAmount": 0}
    story.post("/customers/acme/entitlements", {
        "type": "metered", "featureKey": "gpt", "measureUsageFrom": "CURRENT_PERIOD_START",
        "usagePeriod": {"interval": "MONTH", "anchor": text(now_s - 2 * 86_400)},
    })  # fmt: skip
    for grant in (
        month,
        {"amount": 50, "priority": 2, **ends, **nothing},
        {"amount": 45, "priority": 3, "effectiveAt": text(minute_s), **nothing},
    ):
        story.post("/customers/acme/entitlements/gpt/grants", grant)


def balances(story: Story) -> list[tuple[float, Balance]]:
    """All that the topic `balances` has, with the broker's time."""
    return [
        (one.timestamp()[1] / 1000, msgspec.json.decode(one.value() or b"", type=Balance))
        for one in read(story.stack.settings.kafka, "balances")
    ]


def test_each_crossing_fires_once_whatever_happens(tmp_path: Path) -> None:
    with StackProcess(tmp_path / "stack") as stack:
        story = Story(stack)
        define(story)
        now_s = time.time()
        minute_s = int(now_s + slowed(LEAST_S)) // 60 * 60 + 60
        at_s = now_s // 60 * 60  # all usage of the first period lies in one minute
        story.use(40, at_s)  # before there is an entitlement
        entitle(story, now_s, minute_s)
        story.until_loaded()
        story.until(usage=40, balance=110)
        story.use(80, at_s)
        found = story.until(usage=120, balance=30)
        assert found["hasAccess"] is True and found["overage"] == 0
        expected = Counter({"usage_percentage:50": 1, VOLUME: 1})
        assert story.fired(2) == expected

        assert time.time() < minute_s, "the machine is too slow for this story"
        time.sleep(minute_s - time.time())  # nothing but time passes
        story.until(usage=120, balance=45)
        at, moved = next((at, one) for at, one in balances(story) if one.balance == "45")
        assert minute_s <= at < minute_s + slowed(ON_TIME_S)
        assert moved.at_ms == minute_s * 1000

        story.kill("alert")
        story.use(65, at_s)  # late: 30 are paid by the grant that has ended meanwhile
        story.until(usage=185, balance=10)
        expected["usage_percentage:90"] += 1
        assert story.fired(3) == expected

        story.post("/customers/acme/entitlements/gpt/reset", {"effectiveAt": text(minute_s)})
        story.until(usage=0, balance=145)  # 100 after each reset, and what begins at that minute
        expected += Counter(
            {RESET: 1, ".resolved usage_percentage:50": 1, ".resolved usage_percentage:90": 1}
        )
        assert story.fired(6) == expected

        at_s = time.time() // 60 * 60
        for part in ("alert", "attribute"), ("alert",), ("attribute",), ("attribute", "alert"):
            story.use(25, at_s)
            story.kill(*part)
        redis.Redis.from_url(stack.settings.redis).flushall()
        story.use(20, at_s)
        story.until(usage=120, balance=25)
        expected += Counter({"usage_percentage:50": 1, VOLUME: 1})
        assert story.fired(8) == expected
        check_events(story.alerts())


def check_events(alerts: list[Alert]) -> None:
    """What crossed is named, where usage came event by event."""
    for one in alerts:
        payload_data = json.loads(one.payload)["data"]
        if one.type in (THRESHOLD, VOLUME):
            assert payload_data["event"]["source"] == "/tests", one
