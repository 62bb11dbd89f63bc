"""The declarations' rules, and making and comparing topics on a real broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]

from pipeline.errors import Rejected, Unavailable
from pipeline.settings import Settings
from pipeline.stages import STAGES
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topics

DAY_MS = 86_400_000
CONSUMERS = {*STAGES, "api"}
DECLARED = topics.load(Settings.model_construct())


def wait_until(condition: Callable[[], bool]) -> None:
    """The brokers show a moment later what the controller has decided."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


GOOD: dict[str, Any] = {
    "holds": "x",
    "key": "none",
    "producer": "ingest",
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
def test_each_declaration_is_sound(topic: topics.Topic) -> None:
    assert set(topic.consumers) <= CONSUMERS
    assert topic.holds and topic.key and topic.producer
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
        ({"retentoin": "7d"}, "'retentoin' is no property of a topic"),
        ({"holds": None}, "'holds' is missing"),
        ({"sharded": True}, "say either partitions = N or sharded = true"),
        ({"partitions": None}, "say either partitions = N or sharded = true"),
        ({"cleanup": "both"}, "cleanup is either delete or compact"),
        ({"retention": "a week"}, "retention is a number with s, m, h or d, or forever, or horizon"),
        ({"retention": "0d"}, "retention is a number with s, m, h or d, or forever, or horizon"),
        ({"cleanup": "compact"}, "a compacted topic has retention forever"),
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


def test_a_missing_topic_is_a_difference_and_apply_makes_it(fresh_topics: Settings) -> None:
    client = kafka.admin(fresh_topics)
    (future,) = client.delete_topics(["usage"], operation_timeout=30).values()
    future.result()
    wait_until(lambda: topics.check(fresh_topics) == ["usage is missing."])
    assert topics.apply(fresh_topics) == ["created usage."]
    assert topics.check(fresh_topics) == []


def test_configuration_that_differs_is_named_and_altered(fresh_topics: Settings) -> None:
    longer = fresh_topics.model_copy(update={"horizon_s": fresh_topics.horizon_s + 1})
    sentence = "dedupe-changelog: retention.ms is 4147200000, declared 4147201000."
    assert topics.check(longer) == [sentence]
    assert topics.apply(longer) == [f"altered: {sentence}"]
    assert topics.check(longer) == []


def test_a_partition_count_is_never_changed(fresh_topics: Settings) -> None:
    more = fresh_topics.model_copy(update={"partitions": 6})
    with pytest.raises(Rejected, match="events has 4 partitions and 6 are declared") as caught:
        topics.apply(more)
    assert caught.value.reason == "partition-mismatch"
    client = kafka.admin(fresh_topics)
    (future,) = client.create_partitions([NewPartitions("events", 5)]).values()
    future.result()
    sentence = (
        "events has 5 partitions and 4 are declared; "
        "set `partitions` to what the cluster has, or start with new topics."
    )
    wait_until(lambda: topics.check(fresh_topics) == [sentence])


def test_too_few_replicas_are_named_and_left(fresh_topics: Settings) -> None:
    wanted = fresh_topics.model_copy(update={"kafka_replicas": 3})
    assert "usage has 1 replicas and 3 are declared." in topics.check(wanted)


def test_a_topic_made_anew_has_another_id(fresh_topics: Settings, reset: Callable[[Settings], None]) -> None:
    before = kafka.topic_ids(fresh_topics, ["events", "no-such-topic"])
    reset(fresh_topics)
    after = kafka.topic_ids(fresh_topics, ["events"])
    assert set(before) == set(after) == {"events"}
    assert before != after


def test_no_broker_is_one_sentence() -> None:
    settings = Settings.model_construct(kafka="127.0.0.1:1")
    with pytest.raises(
        Unavailable, match=r"^Kafka at 127\.0\.0\.1:1 does not answer \(_TRANSPORT\); is it running\?$"
    ):
        kafka.wait_until_up(settings, timeout_s=0.1)
