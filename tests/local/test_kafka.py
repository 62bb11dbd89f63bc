"""The local broker: a real one, durable over kill -9, on the same port."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import Consumer, Producer

from pipeline.errors import Unavailable
from pipeline.local import kafka as local
from pipeline.local.kafka import Kafka
from pipeline.local.process import free_port
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from pipeline.stores.kafka import topics
from tests.fixtures.patience import PATIENCE_S


def read_all(settings: Settings, topic: str, count: int) -> list[bytes]:
    config = cluster.client_config(settings) | {"group.id": "test", "auto.offset.reset": "earliest"}
    consumer = Consumer(config)
    consumer.subscribe([topic])
    got: list[bytes] = []
    while len(got) < count:
        records = consumer.consume(count, timeout=PATIENCE_S)
        assert records, f"{len(got)} of {count} records"
        got += [record.value() or b"" for record in records]
    consumer.close()
    return got


def test_records_and_topics_survive_kill_9_on_the_same_port(tmp_path: Path, kafka_jars: None) -> None:
    broker = Kafka(tmp_path, free_port()).start()
    try:
        settings = Settings.model_construct(kafka=broker.address)
        topics.apply(settings)
        ids = cluster.topic_ids(settings, topics.load(settings))
        producer = Producer(cluster.producer_config(settings))
        sent = [str(number).encode() for number in range(1000)]
        for value in sent:
            producer.produce("events", value)
        assert producer.flush(20) == 0
        broker.kill()
        with pytest.raises(Unavailable, match="does not answer"):
            cluster.cluster(settings, timeout_s=0.5)
        broker.start()
        assert topics.check(settings) == []
        assert cluster.topic_ids(settings, topics.load(settings)) == ids
        assert sorted(read_all(settings, "events", len(sent))) == sorted(sent)
    finally:
        broker.kill()


def test_stop_ends_it_in_good_order_and_leaves_nothing(tmp_path: Path, kafka_jars: None) -> None:
    broker = Kafka(tmp_path, free_port()).start()
    pid = broker.pid
    broker.stop()
    assert broker.pid is None
    assert not Path(f"/proc/{pid}").exists()


def test_a_taken_port_is_one_sentence(tmp_path: Path, kafka_jars: None) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(Unavailable, match="another process uses that port"),
    ):
        Kafka(tmp_path, other.getsockname()[1]).start()


def test_a_full_disk_is_one_sentence(tmp_path: Path, kafka_jars: None) -> None:
    broker = Kafka(tmp_path, free_port(), least_free_mb=1 << 40)
    with pytest.raises(Unavailable, match=r"^Kafka cannot start: the disk of .* has \d+ MB free"):
        broker.start()


def test_a_broker_that_cannot_start_says_why(tmp_path: Path, kafka_jars: None) -> None:
    broker = Kafka(tmp_path, free_port(), heap_mb=1)
    broker.folder.joinpath("data").mkdir(parents=True)
    broker.folder.joinpath("data/meta.properties").write_text("version=7\n")
    with pytest.raises(Unavailable, match=r"Kafka exited during its start(.|\n)*heap"):
        broker.start()


def test_jars_that_cannot_be_fetched_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kafka_jars: None
) -> None:
    import jgo

    def no_network(_: str) -> None:
        raise OSError("no route to host")

    lines: list[str] = []
    monkeypatch.setattr(jgo, "build", no_network)
    with pytest.raises(Unavailable, match="downloaded from Maven Central: no route to host"):
        local.classpath(lines.append, tmp_path / "none")
    assert lines == ["downloading Kafka 4.1 (about 45 MB, once)"]


def test_two_processes_download_the_jars_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jgo = pytest.importorskip("jgo")
    jar = tmp_path / "kafka.jar"
    jar.touch()
    builds: list[str] = []

    def build(jars: str) -> SimpleNamespace:
        builds.append(jars)
        time.sleep(0.1)  # the other one is waiting by then
        return SimpleNamespace(all_jars=[jar])

    monkeypatch.setattr(jgo, "build", build)
    with ThreadPoolExecutor(2) as threads:
        paths = [threads.submit(local.classpath, str, tmp_path / "new" / "classpath") for _ in range(2)]
    assert [path.result() for path in paths] == [str(jar)] * 2
    assert len(builds) == 1
