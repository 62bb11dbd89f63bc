"""The declarations' rules, and making and comparing topics on a real broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewPartitions, NewTopic  # type: ignore[attr-defined]

from pipeline.errors import Rejected, Unavailable
from pipeline.settings import Settings
from pipeline.stages import STAGES
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topic_ids, topic_sentences, topics
from pipeline.stores.kafka.topic import Topic
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.running_workers import Running

pytestmark = pytest.mark.own_broker  # it enlarges and deletes topics
DAY_MS = 86_400_000
BROKEN = 4  # exit code of a worker
CONSUMERS = {*STAGES, "api"}
DECLARED = topics.load(Settings.model_construct())


def wait_until(condition: Callable[[], bool]) -> None:
    """The brokers show a moment later what the controller has decided."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


GOOD: dict[str, Any] = {
    "holds": "x",
    "key": "none",
    "producers": ["ingest"],
    "consumers": ["dedupe"],
    "partitions": 1,
    "retention": "7d",
    "cleanup": "delete",
}


def test_partitions_and_retention_follow_the_settings() -> None:
    declared = topics.load(Settings.model_construct(partitions=7, horizon_s=100, future_limit_s=10))
    assert {topic.partitions for topic in declared.values() if topic.sharded} == {7}
    assert {topic.partitions for topic in declared.values() if not topic.sharded} == {1}
    assert declared["dedupe-changelog"].retention_ms == 110_000 + 15 * DAY_MS
    assert declared["events"].retention_ms == 7 * DAY_MS


@pytest.mark.parametrize("topic", DECLARED.values(), ids=DECLARED)
def test_each_declaration_is_sound(topic: Topic) -> None:
    assert set(topic.consumers) <= CONSUMERS
    assert topic.holds and topic.key and topic.producers
    if topic.packed:
        assert int(topic.config["max.message.bytes"]) == 4 * 1024 * 1024
    if topic.cleanup == "compact":
        assert "segment.ms" in topic.config, "else the active segment is not compacted for a week"


def test_now_is_the_brokers_clock_on_the_way_in() -> None:
    assert DECLARED["events"].config["message.timestamp.type"] == "LogAppendTime"
    assert [name for name, topic in DECLARED.items() if topic.namespace] == ["events"]


def test_a_refused_record_fits_with_its_headers() -> None:
    def largest(name: str) -> int:
        return int(DECLARED[name].config["max.message.bytes"])

    assert largest("rejected") > largest("events") > Settings.model_construct().max_event_bytes


def test_the_readme_is_made_from_the_declarations() -> None:
    text = (topics.FOLDER / "README.md").read_text()
    assert text == topics.markdown(DECLARED), "run: python -m pipeline.stores.kafka.topics > topics/README.md"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"retentoin": "7d"}, "'retentoin' is not a property of a topic"),
        ({"holds": None}, "'holds' is missing"),
        ({"sharded": True}, "it must have either partitions = N or sharded = true"),
        ({"partitions": None}, "it must have either partitions = N or sharded = true"),
        ({"cleanup": "both"}, "cleanup must be delete or compact"),
        ({"retention": "a week"}, "retention must be a number with s, m, h or d, or forever, or horizon"),
        ({"retention": "0d"}, "retention must be a number with s, m, h or d, or forever, or horizon"),
        ({"cleanup": "compact"}, "a compacted topic must have retention forever"),
        ({"producers": ["sinc"]}, "'sinc' is not a producer"),
    ],
)
def test_a_bad_declaration_is_refused(change: dict[str, Any], why: str) -> None:
    text = {name: value for name, value in (GOOD | change).items() if value is not None}
    with pytest.raises(Rejected) as caught:
        topics.parse("x", text, Settings.model_construct())
    assert caught.value.detail == f"topics/x.toml: {why}."


@pytest.mark.parametrize(
    ("text", "retention_ms"),
    [("5s", 5_000), ("3m", 180_000), ("2h", 7_200_000), ("1d", DAY_MS), ("forever", -1)],
)
def test_retention(text: str, retention_ms: int) -> None:
    assert (
        topics.parse("x", GOOD | {"retention": text}, Settings.model_construct()).retention_ms == retention_ms
    )


def test_apply_makes_what_check_then_finds_in_order(
    settings: Settings, reset: Callable[[Settings], None]
) -> None:
    reset(settings)
    assert topics.check(settings) == []
    assert topics.apply(settings) == []


def test_a_topic_of_a_later_version_is_made_beside_the_others(
    settings: Settings, reset: Callable[[Settings], None]
) -> None:
    """`deliveries` is missing, and its id was never recorded: it is new."""
    reset(settings)
    client = kafka.admin(settings)
    forget(settings, "deliveries")
    (future,) = client.delete_topics(["deliveries"], operation_timeout=30).values()
    future.result()
    wait_until(lambda: topics.check(settings) == ["deliveries is missing."])
    assert topics.apply(settings) == ["created deliveries."]
    assert topics.check(settings) == []


def forget(settings: Settings, topic: str) -> None:
    """Takes a topic's id out of `topic-ids`."""
    producer = Producer(kafka.producer_config(settings))
    producer.produce(topic_ids.TOPIC, None, topic, 0)
    assert producer.flush(20) == 0


def test_configuration_that_differs_is_named_and_altered(fresh_topics: Settings) -> None:
    longer = fresh_topics.model_copy(update={"horizon_s": fresh_topics.horizon_s + 1})
    sentence = "dedupe-changelog: retention.ms is 4147200000, declared 4147201000."
    assert topics.check(longer) == [sentence]
    assert topics.apply(longer) == [f"altered: {sentence}"]
    assert topics.check(longer) == []


def test_records_of_a_newer_version_are_refused(fresh_topics: Settings) -> None:
    newer = {"usage": replace(DECLARED["usage"], record_version=2)}
    before = topic_ids.read(fresh_topics, newer).known["usage"]
    for noted in (["usage"], []):
        assert topic_ids.note(fresh_topics, topic_ids.read(fresh_topics, newer), newer) == noted
    after = topic_ids.read(fresh_topics, newer).known["usage"]
    assert (after.id, after.partitions, after.record_version) == (before.id, before.partitions, 2)

    sentence = "usage may hold records of version 2, but this release of Tallymark reads versions up to 1"
    with pytest.raises(Rejected, match=sentence) as caught:
        topics.apply(fresh_topics)
    assert caught.value.reason == "topic-newer"
    worker = Running(fresh_topics, "aggregate").start()
    assert worker.wait_until_ended() == BROKEN
    assert sentence in worker.log.read_text()


def test_an_older_version_of_records_is_named() -> None:
    declared = topics.parse("usage", GOOD | {"record_version": 3}, Settings.model_construct())
    assert topic_sentences.older(declared, 2).startswith(
        "usage is recorded with records of version 2, and this release writes version 3"
    )


def enlarge(settings: Settings, topic: str, partitions: int) -> None:
    client = kafka.admin(settings)
    (future,) = client.create_partitions([NewPartitions(topic, partitions)]).values()
    future.result()
    wait_until(lambda: len(kafka.cluster(settings).topics[topic].partitions) == partitions)


def test_the_setting_cannot_leave_the_number_that_state_was_made_with(fresh_topics: Settings) -> None:
    more = fresh_topics.model_copy(update={"partitions": 6})
    with pytest.raises(Rejected, match="set `partitions = 4` again") as caught:
        topics.apply(more)
    assert caught.value.reason == "partition-mismatch"
    for topic in topics.load(more).values():  # neither when all topics have been enlarged to it
        if topic.sharded:
            enlarge(more, topic.name, 6)
    with pytest.raises(Rejected, match="usage was created with 4 partitions, but 6 are declared"):
        topics.apply(more)
    assert topics.check(fresh_topics) == []  # the way back


@pytest.mark.parametrize("topic", ["events", "events-http", "usage", "control"])
def test_a_larger_topic_is_in_order(fresh_topics: Settings, topic: str) -> None:
    enlarge(fresh_topics, topic, 6)
    assert topics.check(fresh_topics) == []
    assert topics.apply(fresh_topics) == []


def test_a_smaller_inner_topic_names_a_recovery_that_works(fresh_topics: Settings) -> None:
    client = kafka.admin(fresh_topics)
    for future in client.delete_topics(["usage", "topic-ids"], operation_timeout=30).values():
        future.result()
    wait_until(lambda: kafka.cluster(fresh_topics).topics.keys().isdisjoint({"usage", "topic-ids"}))
    (future,) = client.create_topics([NewTopic("usage", 2, 1)]).values()
    future.result()
    with pytest.raises(Rejected, match=r"usage has 2 partitions.*: increase it to 4 with Kafka's tools"):
        topics.apply(fresh_topics)
    enlarge(fresh_topics, "usage", 4)
    topics.apply(fresh_topics)
    assert topics.check(fresh_topics) == []


def test_topics_that_others_made_with_another_number_name_the_setting(
    settings: Settings, reset: Callable[[Settings], None]
) -> None:
    made = settings.model_copy(update={"partitions": 2})
    reset(made)
    client = kafka.admin(settings)
    (future,) = client.delete_topics(["topic-ids"], operation_timeout=30).values()
    future.result()
    wait_until(lambda: "topic-ids" not in kafka.cluster(settings).topics)
    with pytest.raises(Rejected, match=r"usage has 2 partitions, but 4 are declared: set `partitions = 2`"):
        topics.apply(settings)
    assert topics.apply(made)[0] == "created topic-ids."


def test_too_few_replicas_are_named_and_left(fresh_topics: Settings) -> None:
    wanted = fresh_topics.model_copy(update={"kafka_replicas": 3})
    assert "usage has 1 replicas, but 3 are declared." in topics.check(wanted)


def test_a_recreated_topic_has_another_id(fresh_topics: Settings, reset: Callable[[Settings], None]) -> None:
    producer = Producer(kafka.producer_config(fresh_topics))
    producer.produce("events", b"{}")
    assert producer.flush(20) == 0
    before = kafka.topic_ids(fresh_topics, ["events", "no-such-topic"])
    reset(fresh_topics)
    after = kafka.topic_ids(fresh_topics, ["events"])
    assert set(before) == set(after) == {"events"}
    assert before != after


def test_no_broker_is_one_sentence() -> None:
    settings = Settings.model_construct(kafka="127.0.0.1:1")
    with pytest.raises(
        Unavailable, match=r"^Kafka at 127\.0\.0\.1:1 does not answer: .*Connection refused.*$"
    ):
        kafka.wait_until_up(settings, timeout_s=0.1)
