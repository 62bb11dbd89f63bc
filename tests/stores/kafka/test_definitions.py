"""Views of compacted topics on a real broker: loading, following, tombstones, transactions, a restart."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec
import pytest
from confluent_kafka import Producer

from pipeline.core.access.api_key import RANDOM_BYTES, make
from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.errors import Broken, Unavailable
from pipeline.local.kafka import Kafka
from pipeline.local.process import free_port
from pipeline.records import Counts, Definition, Reply, Worker
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from pipeline.stores.kafka.definitions import CompactedView, CountsView, Definitions, Replies, WorkersView
from pipeline.stores.kafka.view import FOLLOWING_WAIT_MS, LOADING_WAIT_MS
from tests.fixtures.broker import reset_topics
from tests.fixtures.control_log import AT_MS, Log
from tests.fixtures.hostile_json import TEXTS
from tests.fixtures.patience import PATIENCE_S, slowed


@pytest.fixture(scope="module")
def settings(kafka: Kafka) -> Settings:
    settings = Settings.model_construct(kafka=kafka.address)
    reset_topics(settings)
    return settings


@pytest.fixture(scope="module")
def producer(settings: Settings) -> Producer:
    return Producer(cluster.producer_config(settings) | {"linger.ms": 0, "log_level": 0})


def members(body: DefinitionBody | None) -> dict[str, object]:
    assert body is not None
    return body.members


def write(producer: Producer, topic: str, **values: str | None) -> None:
    for key, value in values.items():
        producer.produce(topic, value, key)
    assert producer.flush(PATIENCE_S) == 0


def text(value: bytes) -> str:
    return value.decode()


def test_it_loads_the_newest_of_each_key_and_follows(settings: Settings, producer: Producer) -> None:
    write(producer, "counts", a="1", b="2")
    write(producer, "counts", a="3", b=None)
    changes: list[Mapping[str, str | None]] = []
    view = CompactedView(settings, "counts", text)
    view.on_change(changes.append)
    with view:
        view.wait_loaded()
        assert view.snapshot() == {"a": "3"} and view.get("b") is None
        write(producer, "counts", c="4")
        assert view.wait_for(lambda values: values.get("c") == "4", 10)
        assert not view.wait_for(lambda values: "d" in values, 0.01)
    assert {key: value for change in changes for key, value in change.items()} == {
        "a": "3",
        "b": None,
        "c": "4",
    }


def test_only_committed_records_are_seen(settings: Settings) -> None:
    config = cluster.client_config(settings) | {"transactional.id": "view-test", "log_level": 0}
    producer = Producer(config)
    producer.init_transactions(30)
    with CompactedView(settings, "counts", text) as view:
        view.wait_loaded()
        producer.begin_transaction()
        producer.produce("counts", "no", "aborted")
        producer.flush(10)
        producer.abort_transaction(30)
        producer.begin_transaction()
        producer.produce("counts", "yes", "committed")
        producer.commit_transaction(30)
        began = time.monotonic()
        assert view.wait_for(lambda values: "committed" in values, PATIENCE_S)
        assert time.monotonic() - began < slowed(1)
        assert "aborted" not in view.snapshot()


class OpenedAgain(CompactedView[str]):
    """A view that is opened again as soon as it is loaded. waits: the fetch limits of its consumers, in ms."""

    loading_s = 0.0
    waits: tuple[int, ...] = ()

    def _config(self, wait_ms: int) -> dict[str, cluster.ConfigValue]:
        self.waits += (wait_ms,)
        return super()._config(wait_ms)


def test_a_loaded_view_continues_with_a_consumer_that_waits_longer(
    settings: Settings, producer: Producer
) -> None:
    seen: list[tuple[str, str | None]] = []
    view = OpenedAgain(settings, "counts", text)
    view.on_change(lambda changes: seen.extend(changes.items()))
    with view:
        view.wait_loaded()
        before = len(seen)
        deadline_s, number = time.monotonic() + PATIENCE_S, 0
        while len(view.waits) < 2 or number < 50:  # written before, while and after it is opened again
            assert time.monotonic() < deadline_s
            write(producer, "counts", **{f"again-{number}": str(number)})
            number += 1
        last = f"again-{number - 1}"
        assert view.wait_for(lambda values: last in values, PATIENCE_S)
    assert seen[before:] == [(f"again-{one}", str(one)) for one in range(number)]
    assert view.waits == (LOADING_WAIT_MS, FOLLOWING_WAIT_MS)


def producer_of(settings: Settings) -> Producer:
    return Producer(cluster.producer_config(settings) | {"log_level": 0})


def test_a_record_that_cannot_be_read_is_skipped(settings: Settings, producer: Producer) -> None:
    good = msgspec.json.encode(Counts("ingest", "events", 0, 1, "i", {}))
    for number, text in enumerate(TEXTS.values()):
        producer.produce("counts", text, f"foreign/{number}")
    producer.produce("counts", good, b"\xff")
    producer.produce("counts", good, "ingest/events/0")
    assert producer.flush(PATIENCE_S) == 0
    with CountsView(settings) as view:
        view.wait_loaded()
        assert list(view.snapshot()) == ["ingest/events/0"]


def test_no_broker_is_one_sentence() -> None:
    away = Settings.model_construct(kafka=f"127.0.0.1:{free_port()}")
    with CompactedView(away, "counts", text) as view, pytest.raises(Unavailable, match="counts"):
        view.wait_loaded(0.2)


def test_definitions_know_their_revision_and_meters(settings: Settings, producer: Producer) -> None:
    body: dict[str, object] = {"slug": "a", "eventType": "t", "aggregation": "COUNT", "meterId": 4}
    for definition in (
        Definition(4, "meter", "default", "a", "ann", 0, body),
        Definition(5, "meter", "other", "a", "ann", 0, {**body, "meterId": 5}),
        Definition(6, "meter", "default", "b", "ann", 0, None),
        Definition(7, "plan", "default", "pro", "ann", 0, {}),
    ):
        key = f"{definition.namespace}/{definition.kind}/{definition.name}"
        producer.produce("control", msgspec.json.encode(definition), key)
    assert producer.flush(PATIENCE_S) == 0
    with Definitions(settings) as view:
        view.wait_loaded()
        assert view.revision == 7
        assert [(m.namespace, m.slug, m.meter_id) for m in view.meters()] == [
            ("default", "a", 4),
            ("other", "a", 5),
        ]
        assert [m.meter_id for m in view.meters("other")] == [5]


def test_definitions_are_found_by_id_key_and_subject(settings: Settings, producer: Producer) -> None:
    log = Log()
    log.do("meter.apply", {"slug": "calls", "eventType": "t", "aggregation": "COUNT"}, "shop")
    acme = {"name": "Acme", "key": "acme", "usageAttribution": {"subjectKeys": ["ann"]}}
    customer = log.do("customer.create", acme, "shop")
    gone = log.do("customer.create", {"name": "Gone", "key": "gone"}, "shop")
    log.do("customer.delete", {"id": "gone"}, "shop")
    (ann,) = log.do("subject.upsert", {"key": "ann"}, "shop")["subjects"]
    old = log.do("feature.create", {"key": "api", "name": "API", "meterSlug": "calls"}, "shop")
    log.do("feature.archive", {"id": "api"}, "shop")
    feature = log.do("feature.create", {"key": "api", "name": "API", "meterSlug": "calls"}, "shop", AT_MS + 1)
    made = make("live", bytes(RANDOM_BYTES))
    body = {"id": made.public, "hash": made.hash, "last4": made.last4, "name": "a", "scopes": ["query"]}
    log.do("key.create", body, "shop")
    token = log.do("portal-token.create", {"subject": "ann"}, "shop")
    for place, definition in log.state.items():
        above = msgspec.structs.replace(definition, revision=definition.revision + 100)
        producer.produce("control", msgspec.json.encode(above), place)
    producer.produce("control", b"no definition", "/reply/0")
    assert producer.flush(PATIENCE_S) == 0
    with Definitions(settings) as view, Definitions(settings, kinds={"meter"}) as meters_alone:
        assert view.wait_revision(log.revision + 100, 10) and meters_alone.wait_revision(
            log.revision + 100, 10
        )
        assert all(view.get(place) is not None for place in log.state) and view.get("/reply/0") is None
        found = view.meter("shop", "calls")
        assert found is not None and view.meter("shop", str((found[0].body or {})["id"])) == found
        assert view.meter("other", "calls") is None
        for wanted in ("acme", customer["id"]):
            assert members(view.customer("shop", wanted)) == customer
            assert view.customer("default", wanted) is None
        for subject in ("ann", "acme"):
            assert members(view.customer_of("shop", subject)) == customer
        assert view.customer_of("shop", "gone") is view.customer("shop", "gone") is None
        assert [one.members for one in view.customers("shop")] == [customer]
        assert len(view.customers("shop", deleted=True)) == 2
        assert view.customer("shop", gone["id"]) is not None
        assert members(view.subject("shop", "ann")) == members(view.subject("shop", ann["id"])) == ann
        assert [one.members for one in view.subjects("shop")] == [ann]
        found_feature = view.feature("shop", "api")
        assert found_feature is not None and found_feature.shown == feature
        assert view.features("shop") == view.features_of("shop", "calls") == [view.feature("shop", "api")]
        assert [one.id for one in view.features("shop", archived=True)] == [old["id"], feature["id"]]
        key = view.key(made.public)
        assert key is not None and key.namespace == "shop" and view.keys("shop") == [key]
        assert view.keys("default") == []
        assert members(view.portal_token("shop", token["id"])) == token
        assert view.portal_tokens("shop")[0].members == token
        assert view.portal_token("default", token["id"]) is None
        assert meters_alone.meters("shop") == view.meters("shop")
        assert meters_alone.customers("shop") == [] and meters_alone.revision == view.revision
        producer.produce("control", None, f"shop/portal-token/{token['id']}")
        assert producer.flush(PATIENCE_S) == 0
        assert view.wait_for(lambda _: view.portal_token("shop", token["id"]) is None, 10)


def test_workers_are_live_while_they_beat(settings: Settings, producer: Producer) -> None:
    now_ms = time.time_ns() // 1_000_000
    for id, at_ms in (("b", now_ms), ("a", now_ms), ("old", now_ms - 60_000)):
        worker = Worker(id, "sink", "h", 1, at_ms, at_ms, 0, [], 0, "")
        producer.produce("workers", msgspec.json.encode(worker), id)
    assert producer.flush(PATIENCE_S) == 0
    with WorkersView(settings) as view:
        view.wait_loaded()
        assert [worker.id for worker in view.live()] == ["a", "b"]
        assert view.live("ingest") == []


def test_replies_are_read_from_now_on_and_only_the_expected_kept(
    settings: Settings, producer: Producer
) -> None:
    write(producer, "replies", early=msgspec.json.encode(Reply("early", 1)).decode())
    with Replies(settings) as view:
        view.wait_loaded()
        with pytest.raises(Unavailable), view.expected("given-up"):
            raise Unavailable("the command was not written")
        with view.expected("early"), view.expected("mine"):
            for id in ("foreign", "given-up", "mine"):
                write(producer, "replies", **{id: msgspec.json.encode(Reply(id, 2)).decode()})
            assert view.take("mine", 10) == Reply("mine", 2)
            assert view.take("early", 0) is None
            assert view.snapshot() == {"mine": Reply("mine", 2)}
        assert view.snapshot() == {}


@pytest.mark.services
def test_a_view_outlives_a_broker_that_is_killed(tmp_path_factory: pytest.TempPathFactory) -> None:
    broker = Kafka(tmp_path_factory.mktemp("restarted"), free_port())
    broker.start()
    try:
        settings = Settings.model_construct(kafka=broker.address)
        reset_topics(settings)
        write(producer_of(settings), "counts", a="1")
        with CompactedView(settings, "counts", text) as view:
            view.wait_loaded()
            broker.kill()
            broker.start()
            write(producer_of(settings), "counts", a="2")
            assert view.wait_for(lambda values: values.get("a") == "2", 30)
    finally:
        broker.kill()


def test_a_definition_that_cannot_be_read_stops_the_view(settings: Settings, producer: Producer) -> None:
    write(producer, "control", bad="{")  # for good, so this is the last test of the topic
    failures: list[BaseException] = []
    view = Definitions(settings)
    view.on_failure(failures.append)
    with view, pytest.raises(Broken, match="control"):
        view.wait_loaded()
    (failure,) = failures
    assert isinstance(failure, Broken)
