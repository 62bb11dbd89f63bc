"""Producers that others wrote, against a real broker and a real ingest worker.

Whatever they send, each record is on `events-accepted` or on `rejected`, once, and says what was sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from cloudevents.core.bindings.kafka import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1 import kafka as former
from cloudevents.v1.http import CloudEvent as FormerEvent
from confluent_kafka import KafkaError, Message, Producer

from pipeline.contracts import ROOT
from pipeline.local import process
from pipeline.local.kafka import Kafka
from pipeline.records import Event
from pipeline.settings import Settings
from pipeline.stores.kafka.definitions import CountsView
from tests.fixtures.absent import absent
from tests.fixtures.broker import reset_topics
from tests.fixtures.patience import PATIENCE_S
from tests.flow.accepted_events import Headers, Ingest

pytestmark = pytest.mark.own_broker  # a worker runs all the time
STRUCTURED = b"application/cloudevents+json; charset=UTF-8"
NOW = datetime.now(UTC).replace(microsecond=123456)
AT_US_NS = int(NOW.timestamp()) * 1_000_000_000 + 123456_000
AT = NOW.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
AT_NS = AT_US_NS + 789


@pytest.fixture(scope="module")
def ingest(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    folder = tmp_path_factory.mktemp("ingest")
    settings = Settings.model_construct(kafka=kafka.address, state_dir=folder / "state")
    reset_topics(settings)
    foreign = {name: value for name, value in os.environ.items() if not name.startswith("TALLYMARK_")}
    variables = {
        "TALLYMARK_KAFKA": kafka.address,
        "TALLYMARK_STATE_DIR": str(folder / "state"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "pipeline.cli", "worker", "ingest"]
    worker = process.spawn(command, folder / "log", foreign | variables)
    try:
        with CountsView(settings) as counts:
            yield Ingest(settings, counts)
        assert worker.poll() is None, process.last_lines(folder / "log", 40)
    finally:
        process.stop(worker, 20)


Send = Callable[..., None]


@pytest.fixture
def send(kafka: Kafka) -> Iterator[Send]:
    """`send(value, key, headers)` with confluent-kafka, its defaults but for the size of a record."""
    producer = Producer({"bootstrap.servers": kafka.address, "log_level": 0, "message.max.bytes": 2_000_000})
    failed: list[KafkaError] = []

    def note(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    def one(value: bytes | None, key: bytes | None = None, headers: Headers | None = None) -> None:
        producer.produce("events", value, key, headers=headers, on_delivery=note)
        assert producer.flush(PATIENCE_S) == 0
        assert not failed

    yield one


def event(id: str, **members: object) -> dict[str, object]:
    return {"specversion": "1.0", "id": id, "source": "/shop", "type": "order", "subject": "ann", **members}


def line(id: str, **members: object) -> bytes:
    return json.dumps(event(id, **members)).encode()


def binary(id: str) -> Headers:
    return [(f"ce_{name}", str(value).encode()) for name, value in event(id, time=AT).items()]


def attributes_of(found: Event) -> tuple[str, str, str]:
    return found.source, found.type, found.subject


@pytest.mark.parametrize("write", [to_structured_event, to_binary_event], ids=["structured", "binary"])
def test_cloudevents_package(ingest: Ingest, send: Send, write: Callable[..., Any]) -> None:
    base = {"source": "/shop", "type": "order", "subject": "ann", "datacontenttype": "application/json"}
    events = {
        "plain": CloudEvent({**base, "id": "plain", "time": NOW}, {"n": 12, "text": 'Zoë "🤖" \n'}),
        "keyed": CloudEvent({**base, "id": "keyed", "time": NOW, "partitionkey": "k-1"}, {"n": 1}),
        "extended": CloudEvent({**base, "id": "extended", "time": NOW, "traceid": "a b"}, {"n": 1}),
        "no-data": CloudEvent({**base, "id": "no-data", "time": NOW}),
        "no-time": CloudEvent({**base, "id": "no-time"}, {}),
    }
    sent_from_ns = datetime.now(UTC).timestamp() * 1e9
    for one in events.values():
        message = write(one)
        key = message.key.encode() if isinstance(message.key, str) else message.key
        send(message.value, key, list(message.headers.items()))
    accepted, rejected = ingest.outcome()
    assert not rejected
    assert accepted.keys() == events.keys()
    assert {attributes_of(found) for found in accepted.values()} == {("/shop", "order", "ann")}
    for id, found in accepted.items():
        assert json.loads(bytes(found.data)) == events[id].get_data()
    assert {found.time_ns for id, found in accepted.items() if id != "no-time"} == {AT_US_NS}
    # The package sets `time` to its own clock where it is absent.
    assert accepted["no-time"].time_ns >= sent_from_ns - 1e9


@pytest.mark.parametrize("write", [former.to_structured, former.to_binary], ids=["structured", "binary"])
def test_cloudevents_package_with_its_former_interface(
    ingest: Ingest, send: Send, write: Callable[..., Any]
) -> None:
    """Its structured mode says `content-type: application/json`, which is the type of the data."""
    members = {**event("former", time=AT), "datacontenttype": "application/json", "partitionkey": "k"}
    message = write(FormerEvent(members, {"n": 7}))
    send(message.value, b"k", list(message.headers.items()))
    accepted, rejected = ingest.outcome()
    assert not rejected
    assert accepted["former"].time_ns == AT_NS
    assert json.loads(bytes(accepted["former"].data)) == {"n": 7}


KEYS = {
    "absent": None,
    "empty": b"",
    "text": "zoë".encode(),
    "no-text": b"\xff\x00\xfe",
    "long": b"k" * 70_000,
}
MODES: dict[str, Headers | None] = {
    "bare": None,
    "structured": [("content-type", STRUCTURED)],
    "json": [("Content-Type", b"application/json")],
    "strangers": [("trace", None), ("trace", b"\xff"), ("tallymark_reason", b"forged")],
}


def test_confluent_kafka_any_key_any_header(ingest: Ingest, send: Send) -> None:
    data = b'{ "n" : 0.10, "big":9007199254740993 }'
    expected = {"both"}
    for mode, headers in MODES.items():
        for name, key in KEYS.items():
            expected.add(f"{mode}/{name}")
            send(with_data(f"{mode}/{name}", data), key, headers)
    both: Headers = [("content-type", STRUCTURED), ("ce_id", b"both"), ("ce_subject", b"ann")]
    send(with_data("both", data), None, both)
    accepted, rejected = ingest.outcome()
    assert not rejected
    assert accepted.keys() == expected
    for found in accepted.values():
        assert attributes_of(found) == ("/shop", "order", "ann")
        assert found.time_ns == AT_NS
        assert bytes(found.data) == data


def with_data(id: str, data: bytes) -> bytes:
    """A line whose data is exactly this text."""
    return line(id, time=AT)[:-1] + b', "data": ' + data + b"}"


def test_confluent_kafka_binary_mode(ingest: Ingest, send: Send) -> None:
    data = b' {"n": 1e2, "sql": "\'; DROP TABLE events; --"}\n'
    send(data, None, [*binary("typed"), ("content-type", b"application/json")])
    send(data, b"any", binary("untyped"))
    send(None, b"any", [*binary("tombstone"), ("content-type", b"application/json")])
    send(b"", b"any", binary("zero-bytes"))
    send(
        data, b"any", [(name.upper().replace("CE_", "CE_").lower(), value) for name, value in binary("last")]
    )
    accepted, rejected = ingest.outcome()
    assert not rejected
    assert {id: bytes(found.data) for id, found in accepted.items()} == {
        "typed": data.strip(),
        "untyped": data.strip(),
        "tombstone": b"null",
        "zero-bytes": b"null",
        "last": data.strip(),
    }
    assert {attributes_of(found) for found in accepted.values()} == {("/shop", "order", "ann")}


def test_what_is_no_event_is_kept_as_it_came(ingest: Ingest, send: Send) -> None:
    forged: Headers = [
        ("tallymark_reason", b"forged"),
        ("tallymark_offset", b"999"),
        ("tallymark_reason", None),
    ]
    bad: list[tuple[str, bytes | None, bytes | None, Headers | None]] = [
        ("empty-value", None, None, None),
        ("empty-value", None, b"a customer", forged),
        ("empty-value", b"", b"", [("content-type", STRUCTURED)]),
        ("bad-json", b'{"id": 1', b"\xff", forged),
        ("bad-encoding", b"\xff\xfe", None, None),
        ("not-an-object", b"[]", None, None),
        ("missing-subject", b'{"specversion":"1.0","id":"1","source":"/s","type":"t"}', None, None),
        ("missing-type", b"{}", None, [one for one in binary("x") if one[0] != "ce_type"]),
        ("header-differs", line("one"), None, [("content-type", STRUCTURED), ("ce_id", b"another")]),
        ("bad-content-type", line("one"), None, [("content-type", b"application/cloudevents+avro")]),
        ("batch-in-record", b"[]", None, [("content-type", b"application/cloudevents-batch+json")]),
        ("too-large", line("one", data={"long": "x" * 1_100_000}), b"k", None),
    ]
    for _, value, key, headers in bad:
        send(value, key, headers)
    accepted, rejected = ingest.outcome()
    assert not accepted
    assert [reason for reason, _ in rejected] == sorted(reason for reason, *_ in bad)
    assert sum(kept.headers == forged for _, kept in rejected) == 2


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches(ingest: Ingest, codec: str) -> None:
    producer = Producer(
        {"log_level": 0, "bootstrap.servers": ingest.servers, "compression.type": codec, "linger.ms": 50}
    )
    for number in range(200):
        producer.produce("events", line(f"{codec}/{number}", data={"n": number}), str(number % 7))
    assert producer.flush(PATIENCE_S) == 0
    accepted, rejected = ingest.outcome()
    assert not rejected
    assert {id: json.loads(bytes(found.data))["n"] for id, found in accepted.items()} == {
        f"{codec}/{number}": number for number in range(200)
    }


def test_an_aborted_transaction_of_a_producer_is_no_event(ingest: Ingest) -> None:
    producer = Producer({"log_level": 0, "bootstrap.servers": ingest.servers, "transactional.id": "shop"})
    producer.init_transactions(30)
    for id, finish in (
        ("aborted", producer.abort_transaction),
        ("committed", producer.commit_transaction),
        ("aborted-too", producer.abort_transaction),
    ):
        producer.begin_transaction()
        producer.produce("events", line(id), partition=2)
        assert producer.flush(PATIENCE_S) == 0
        finish(30)
    accepted, rejected = ingest.outcome()
    assert accepted.keys() == {"committed"}
    assert not rejected


@pytest.mark.parametrize("codec", [None, "gzip", "lz4"])
def test_aiokafka(ingest: Ingest, codec: str | None) -> None:
    async def produce() -> None:
        async with AIOKafkaProducer(bootstrap_servers=ingest.servers, compression_type=codec) as producer:
            futures = [
                await producer.send("events", line(f"aio/{codec}/{number}", data={"n": number}), key=key)
                for number, key in enumerate(KEYS.values())
            ]
            headers = [*binary(f"aio/{codec}/binary"), ("content-type", b"application/json")]
            futures.append(await producer.send("events", b'{"n":99}', headers=headers))
            futures.append(await producer.send("events", None, key=b"tombstone"))
            await asyncio.gather(*futures)

    asyncio.run(produce())
    accepted, rejected = ingest.outcome()
    expected = {f"aio/{codec}/{number}": number for number in range(len(KEYS))} | {f"aio/{codec}/binary": 99}
    assert {id: json.loads(bytes(found.data))["n"] for id, found in accepted.items()} == expected
    assert [(reason, kept.key, kept.value) for reason, kept in rejected] == [
        ("empty-value", b"tombstone", None)
    ]


def kcat(ingest: Ingest, stdin: bytes, *words: str) -> None:
    program = shutil.which("kcat")
    if program is None:
        absent("kcat is not installed")
        return
    command = [program, "-P", "-b", ingest.servers, "-t", "events", *words]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_kcat(ingest: Ingest) -> None:
    kcat(ingest, line("kcat/1") + b"\n" + line("kcat/2", data={"n": 0.5}) + b"\n")
    kcat(ingest, b"ann\t" + line("kcat/keyed") + b"\n", "-K", "\\t")
    headers = [
        word for name, value in binary("kcat/binary") for word in ("-H", f"{name}={(value or b'').decode()}")
    ]
    kcat(ingest, b'{"n":1}\n', *headers, "-H", "content-type=application/json")
    kcat(ingest, line("kcat/gzip") + b"\n", "-z", "gzip", "-k", "ann")
    kcat(ingest, b"gone\t\n", "-K", "\\t", "-Z")
    kcat(ingest, b"{'id': 1}\n")
    accepted, rejected = ingest.outcome()
    assert {id: bytes(found.data) for id, found in accepted.items()} == {
        "kcat/1": b"null",
        "kcat/2": b'{"n": 0.5}',
        "kcat/keyed": b"null",
        "kcat/binary": b'{"n":1}',
        "kcat/gzip": b"null",
    }
    assert [(reason, kept.key, kept.value) for reason, kept in rejected] == [
        ("bad-json", None, b"{'id': 1}"),
        ("empty-value", b"gone", None),
    ]
