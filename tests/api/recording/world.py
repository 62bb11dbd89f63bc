"""What the recorded requests are about: keys, rows, balances, deliveries, heartbeats, and apps that lack a service.

Owns: putting them where the API reads them. Does not own: the requests.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from pipeline.core.metering import backfill as backfills
from pipeline.core.metering.meter import define
from pipeline.core.notifications.delivery import begin, tried
from pipeline.records import (
    Alert,
    Attempt,
    Backfill,
    Balance,
    Counts,
    Event,
    LateUsage,
    Settled,
)
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.rows import settled_columns
from pipeline.stores.kafka import client as cluster
from pipeline.stores.kafka import topics
from pipeline.stores.redis_balances import BalanceWriter, Keys
from tests.api.recording.recorder import Recorder
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.counted_tenant import NS, Sent, Tenant, at
from tests.fixtures.patience import PATIENCE_S

SENT_AT = "2026-01-15T12:30:00+00:00"
SCHEDULE_MS = (0, 60_000)


class World:
    """limited, without_redis, without_kafka: apps beside the usual one. admin_id: the public part of its key."""

    def __init__(
        self,
        recorder: Recorder,
        settings: Settings,
        store: ClickHouse,
        decider: ControlStage,
        apps: dict[str, TestClient],
        keys: dict[str, str],
        admin_id: str,
        shift: Callable[[float], None],
        document: dict[str, Any],
    ) -> None:
        self.recorder, self.settings, self.shift = recorder, settings, shift
        self.keys, self.admin_id = keys, admin_id
        self.limited, self.without_redis = apps["limited"], apps["without_redis"]
        self.without_kafka = apps["without_kafka"]
        self._store, self._decider, self._document = store, decider, document
        self.meters: dict[str, Any] = {}
        self.customer: dict[str, Any] = {}
        self.feature: dict[str, Any] = {}
        self.entitlement: dict[str, Any] = {}
        self.rule: dict[str, Any] = {}
        self.grant = self.channel = self.event = self.delivery = self.app = self.mapping = ""

    def parameters(self, operation: str) -> list[dict[str, Any]]:
        """What OpenAPI shows of an operation's parameters."""
        method, path = operation.split()
        found: list[dict[str, Any]] = self._document["paths"][path][method.lower()].get("parameters", [])
        return found

    def answer(
        self, method: str, path: str, body: object, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and body of an answer that is not recorded."""
        return self.recorder.answer(method, path, body, headers or {})

    def publish(self, topic: str, key: str, record: object, partition: int = -1) -> None:
        producer = Producer(cluster.producer_config(self.settings))
        producer.produce(topic, msgspec.json.encode(record), key, partition)
        assert producer.flush(PATIENCE_S) == 0

    def rows(self) -> None:
        """Events of two subjects, counted by the meters; one that `tokens` refused, one repeated, one rejected."""
        names = ("slug", "eventType", "aggregation", "valueProperty", "groupBy")
        meters = [
            define({name: body[name] for name in names if name in body}, body["revision"], "default")
            for body in self.meters.values()  # as they were made: a meter's first revision is its id
        ]
        tenant = Tenant(self._store, "default", meters)
        first = at(SENT_AT)
        sent = [
            ("1250", "gpt-4", "acme-prod"),
            ("750.25", "gpt-4o", "acme-prod"),
            ("99", "gpt-3", "acme-test"),
        ]
        data: list[tuple[Any, str, str]] = [*sent, ("many", "gpt-4", "acme-prod")]
        tenant.send([
            Sent(first + minute * 60 * NS, {"tokens": tokens, "model": model, "user": subject}, subject, "prompt")
            for minute, (tokens, model, subject) in enumerate(data)
        ])  # fmt: skip
        body = msgspec.Raw(json.dumps({"tokens": "750.25", "model": "gpt-4o", "user": "acme-prod"}).encode())
        again = Event("default", "src", "id2", "prompt", "acme-prod", first + 60 * NS,
                      1_768_480_000_000, "events", 0, 9, body)  # fmt: skip
        broken = msgspec.structs.replace(again, id="broken", offset=10, data=msgspec.Raw(b"null"))
        other = msgspec.structs.replace(again, id="other", type="unknown", offset=11)
        settled = [
            Settled(again, "duplicate", "", [], 100),
            Settled(broken, "rejected", "missing-subject", [], 100),
            Settled(other, "unmetered", "", [], 100),
        ]
        self._store.insert("events", settled_columns(settled, 1))

    def backfill(self) -> None:
        """Two shards of the meter `users`, one in progress."""
        meter = self.meters["users"]
        for shard, state in enumerate(("copying", "done")):
            step = Backfill("default", "users", meter["revision"], {}, shard, 2, state=state, events=10,
                            read=4 + 6 * shard, counted=3, at_ms=1_768_480_000_000)  # fmt: skip
            self.publish("backfill-work", backfills.key_of(step), step, shard)

    def balances(self) -> None:
        """What the live stage has written of `acme`, and usage that came late."""
        ids = cluster.topic_ids(self.settings, ["balances"])
        partitions = topics.load(self.settings)["balances"].partitions
        writer = BalanceWriter(self.settings.redis, None, Keys(ids["balances"], partitions))
        for partition in range(partitions):
            writer.begin(partition, "token")
            assert writer.finish(partition, "token")
        customer, metered = self.customer["id"], self.entitlement
        writer.write([
            Balance("default", customer, "gpt_4_tokens", metered["id"], "metered", 1, True, 0, balance="1097999.75",
                    usage="2000.25", overage="0", total_available="1100000"),
            Balance("default", customer, "seats", "other", "static", 1, True, 0, config='{"seats": 5}'),
            Balance("default", customer, "sso", "ended", "", 1, False, 0),
        ])  # fmt: skip
        late = LateUsage("default", customer, "gpt_4_tokens", metered["id"], at(SENT_AT) // NS, "750.25",
                         1_768_480_000_000)  # fmt: skip
        self.publish("late-usage", f"{metered['id']}/1/1", late)

    def delivered(self) -> None:
        """Deliveries of two events, each tried once without success, and to be tried again."""
        at_ms = 1_768_482_000_000
        for number, id in enumerate(("another", self.event)):
            alert = Alert(id, "default", "entitlements.balance.threshold", self.rule["id"], at_ms + number,
                          [self.channel], "{}", self.customer["id"], "gpt_4_tokens", "acme-prod",
                          {"notification.rule.test": "true"})  # fmt: skip
            delivery = begin(alert, self.channel, at_ms, SCHEDULE_MS)
            delivery = tried(delivery, Attempt(1, at_ms, 120, "failed", 500, "HTTP 500"), SCHEDULE_MS)
            self.delivery = delivery.id
            self.publish("deliveries", delivery.id, delivery)

    def stages(self) -> None:
        """Heartbeats of three stages, and what they have counted."""
        for stage, names in (
            ("ingest", {"read": 7, "accepted": 6, "rejected:missing-subject": 1}),
            ("dedupe", {"read": 6, "unique": 5, "duplicate": 1}),
            ("aggregate", {"read": 5, "counted": 4, "unmetered": 1}),
        ):
            self._decider.beat(f"{stage}-1", 3, stage)
            self.publish(
                "counts", f"{stage}/events/0", Counts(stage, "events", 0, 6, "id", {"default": names})
            )
