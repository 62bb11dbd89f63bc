"""Lost definitions: no stage continues as if there were none, and they are recovered unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]
from fastapi.testclient import TestClient

from pipeline.agents import lost_topics
from pipeline.agents.control_memory import is_slot
from pipeline.api.app import create_app
from pipeline.errors import Rejected, Unavailable
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import direct_key, topic_ids, topics
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.running_workers import Counted, Running, content, delete, send, wait_until, workers

pytestmark = pytest.mark.own_broker  # it deletes topics under running workers
METER = {"slug": "calls", "eventType": "call", "aggregation": "COUNT"}
BROKEN = 4  # the exit code


@contextmanager
def api(settings: Settings, key: str) -> Iterator[TestClient]:
    """An API process that starts now, asked with this key."""
    with TestClient(create_app(settings), base_url="http://testserver/api/v1") as client:
        client.headers["authorization"] = f"Bearer {key}"
        yield client


def make_empty(settings: Settings, *names: str) -> None:
    """Create the topics without the declared configuration, as an operator in a hurry might."""
    client = kafka.admin(settings)
    for future in client.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        future.result()
    wait_until(lambda: kafka.cluster(settings).topics.keys() >= set(names), lambda: f"{names} do not come")


def refused(worker: Running) -> str:
    """What a worker says that starts and ends at once."""
    assert worker.start().wait_until_ended() == BROKEN, worker.log.read_text()
    return worker.log.read_text().splitlines()[-1]


def test_no_stage_continues_without_the_definitions_and_they_are_recovered(fresh_topics: Settings) -> None:
    settings = fresh_topics
    made = direct_key.made("test")
    with (
        Counted(settings) as counted,
        workers(settings, "control", "ingest", "dedupe", "aggregate") as running,
    ):
        direct_key.create(settings, "default", made, "test", ["admin"])
        with api(settings, made.text) as client:
            assert client.post("/meters", json=METER).status_code == 201
            send(settings, [f"a{number}" for number in range(10)])
            counted.wait_for("aggregate", read=10, counted=10)
        before = content(settings, "control")

        delete(settings, "control")
        assert running["aggregate"].wait_until_ended() == BROKEN
        assert running["control"].wait_until_ended() == BROKEN
        log_text = running["aggregate"].log.read_text()
        assert "The topic control was deleted while this process ran." in log_text
        with pytest.raises(Rejected, match=r"control is missing, but the state .* --recreate-lost control"):
            topics.apply(settings)
        make_empty(settings, "control")
        with pytest.raises(Rejected, match="control was recreated: its id is "):
            topics.apply(settings)
        for stage in ("aggregate", "control"):
            assert "control was recreated: its id is " in refused(running[stage])
        send(settings, [f"b{number}" for number in range(10)])  # wait for aggregate, not for a wrong fate
        with api(settings, made.text) as client:
            for path in ("/meters", "/reconcile", "/status"):
                answer = client.get(path)
                assert (answer.status_code, answer.json()["reason"]) == (503, "unavailable"), answer.text
                assert "control was recreated" in answer.json()["detail"]
            assert client.get("/ready").status_code == 503

        (sentence,) = lost_topics.recreate(settings, ["control"])
        assert sentence.startswith("recreated control: its id is ")
        topics.apply(settings)  # it was created with other configuration
        assert topics.check(settings) == []
        held = {key: value for key, value in before.items() if not is_slot(key)}
        assert content(settings, "control") == held
        with ExitStack() as again:
            for stage in ("control", "aggregate"):
                again.enter_context(running[stage])
            counted.wait_for("aggregate", read=20, counted=20)
            with api(settings, made.text) as client:
                assert [meter["slug"] for meter in client.get("/meters").json()] == ["calls"]
                changed = client.post("/meters", json={**METER, "slug": "more"})
                assert changed.status_code == 201, changed.text


@pytest.fixture
def worked(fresh_topics: Settings) -> Settings:
    """Topics of an installation that has decided commands and counted events."""
    made = direct_key.made("test")
    with Counted(fresh_topics) as counted, workers(fresh_topics, "control", "ingest"):
        direct_key.create(fresh_topics, "default", made, "test", ["admin"])
        send(fresh_topics, [str(number) for number in range(20)])
        counted.wait_for("ingest", read=20, accepted=20)
    return fresh_topics


def test_definitions_that_cannot_be_proved_are_not_recreated(worked: Settings) -> None:
    """A command that came after what was decided, in place of one that is gone."""
    delete(worked, "control", "audit")
    make_empty(worked, "audit")
    with pytest.raises(Rejected, match="does not end with the hash of the audit log"):
        lost_topics.recreate(worked, ["control"])
    assert "control" not in kafka.cluster(worked).topics


def test_what_is_kept_twice_is_filled_again(worked: Settings) -> None:
    for lost in (
        "topic-ids",
        "counts",
        "ingest-meta",
        "control-meta",
    ):  # the last two hold copies of the first
        lose_and_fill(worked, lost)
    with Counted(worked) as counted, workers(worked, "control", "ingest"):
        send(worked, ["one more"])
        counted.wait_for("ingest", read=21, accepted=21)


def lose_and_fill(worked: Settings, lost: str) -> None:
    before = content(worked, lost)
    delete(worked, lost)
    with pytest.raises(Rejected, match=f"{lost} is missing"):
        topics.apply(worked)
    lost_topics.recreate(worked, [lost])
    topics.apply(worked)
    assert topics.check(worked) == []
    after = content(worked, lost)
    if lost == topic_ids.TOPIC:
        assert after.keys() == before.keys()
    else:
        assert after == {key: value for key, value in before.items() if key != b"topic-ids"}


def test_a_lost_input_continues_with_what_is_sent_again(worked: Settings) -> None:
    """`events` is lost with ten events that ingest has not read."""
    send(worked, [f"unread-{number}" for number in range(10)])
    delete(worked, "events")
    assert "events is missing, but the state" in refused(Running(worked, "ingest"))
    lost_topics.recreate(worked, ["events"])
    with Counted(worked) as counted, workers(worked, "ingest"):
        send(worked, [f"unread-{number}" for number in range(10)])
        counted.wait_for("ingest", read=30, accepted=30)


def test_two_lost_topics_that_fill_each_other_are_refused(worked: Settings) -> None:
    delete(worked, "counts", "ingest-meta")
    with pytest.raises(Rejected, match="which is lost too"):
        lost_topics.recreate(worked, ["ingest-meta"])


@pytest.mark.parametrize(
    ("name", "reason"), [("no-such", "unknown-topic"), ("balances", "topic-lost"), ("usage", "not-lost")]
)
def test_what_is_not_lost_or_cannot_be_recreated_is_refused(
    fresh_topics: Settings, name: str, reason: str
) -> None:
    with pytest.raises(Rejected) as caught:
        lost_topics.recreate(fresh_topics, [name])
    assert caught.value.reason == reason


def test_topics_of_a_version_that_noted_no_ids_are_adopted_once(worked: Settings) -> None:
    """As such a version leaves them: no `topic-ids`, no copies of it, counts without the newer fields."""
    forget_ids(worked)
    assert topics.check(worked) == ["topic-ids is missing."]
    assert topics.apply(worked)[0] == "created topic-ids."
    assert topics.check(worked) == []
    with Counted(worked) as counted, workers(worked, "control", "ingest"):
        send(worked, ["one more"])
        counted.wait_for("ingest", read=21, accepted=21)


def test_a_topic_that_such_a_version_has_lost_is_not_made_silently(worked: Settings) -> None:
    forget_ids(worked)
    delete(worked, "usage")
    with pytest.raises(Rejected, match="usage is missing, but the state"):
        topics.apply(worked)


def forget_ids(settings: Settings) -> None:
    delete(settings, topic_ids.TOPIC)
    producer = Producer(kafka.producer_config(settings))
    for stage in ("control", "ingest"):
        for partition in kafka.cluster(settings).topics[f"{stage}-meta"].partitions:
            producer.produce(f"{stage}-meta", b"{}", b"topic-ids", partition)
    assert producer.flush(PATIENCE_S) == 0


@pytest.mark.services  # it waits as long as a person who recreates a topic: 5 s
def test_no_broker_is_an_error_with_the_cause_of_its_connection() -> None:
    with pytest.raises(Unavailable, match="Connection refused"):
        lost_topics.recreate(Settings.model_construct(kafka="127.0.0.1:1"), ["usage"])
