"""Stages under users of their own on a broker with TLS and ACLs: exact counts, and refusals with one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pipeline.api.app import create_app
from pipeline.errors import Unavailable
from pipeline.settings import PREFIX, Settings
from pipeline.stores.kafka import acls, direct_key, topic_admin, topics
from tests.fixtures.running_workers import ROOT, Counted, Running, send, wait_until
from tests.fixtures.secure_broker import ADMIN, PARTITIONS, SecureBroker, secure_broker

EVENTS, REPEATS = 200, 50
STAGES = ("control", "ingest", "dedupe", "aggregate", "sink")
BY_CERTIFICATE = ("dedupe", "sink")  # the other users log in with a password
USERS = (*STAGES, acls.API, acls.PRODUCER)
METER = {"slug": "calls", "eventType": "call", "aggregation": "COUNT"}
# Users with the rights of ingest, except for one kind of resource.
WITHOUT = {"no-group": "group", "no-transaction": "transactional-id", "no-input": "events"}
UNAVAILABLE = 3  # the exit code
LIMIT_S = 180.0  # of a command on a busy machine
OWN = {"redis": "", "partitions": PARTITIONS}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, kafka_jars: None) -> Iterator[SecureBroker]:
    with secure_broker(tmp_path_factory.mktemp("secure")) as running:
        admin = running.settings(ADMIN)
        topics.apply(admin)
        running.add_users([*(user for user in USERS if user not in BY_CERTIFICATE), *WITHOUT])
        for user in USERS:
            name = "User:CN={}" if user in BY_CERTIFICATE else "User:{}"
            running.grant(acls.rules(admin, [user], name))
        for user, kind in WITHOUT.items():
            rules = acls.rules(admin, ["ingest"], f"User:{user}{{}}")
            given = [one for one in rules if kind not in (one.resource, one.name)]
            running.grant(msgspec.structs.replace(one, principal=f"User:{user}") for one in given)
        yield running


def settings_of(broker: SecureBroker, user: str) -> Settings:
    return broker.settings_by_certificate(user) if user in BY_CERTIFICATE else broker.settings(user)


@pytest.mark.timeout(600)
def test_every_stage_does_its_work_with_its_own_rights(broker: SecureBroker, own_chdb: str) -> None:
    api_user = broker.settings(acls.API, clickhouse=own_chdb, redis="")
    with ExitStack() as stack:
        workers = []
        for stage in STAGES:
            variables = broker.variables(settings_of(broker, stage))
            workers.append(
                Running(api_user, stage, clickhouse=own_chdb, partitions=PARTITIONS, **variables).start()
            )
            stack.push(workers[-1])
        for worker in workers:
            worker.wait_until_ready()
        made = direct_key.made("test")
        direct_key.create(api_user, "default", made, "test", ["admin"])
        counted = stack.enter_context(Counted(api_user))
        client = stack.enter_context(TestClient(create_app(api_user), base_url="http://testserver/api/v1"))
        client.headers["authorization"] = f"Bearer {made.text}"
        # A request waits some 3 s for the definitions, and each of the API's connections has TLS.
        wait_until(lambda: client.get("/ready").status_code == 200, lambda: client.get("/ready").text)
        made_meter = client.post("/meters", json=METER)
        assert made_meter.status_code == 201, made_meter.text
        ids = [str(number) for number in range(EVENTS)]
        send(broker.settings(acls.PRODUCER), [*ids, *ids[:REPEATS]])
        counted.wait_for("aggregate", read=EVENTS, counted=EVENTS)
        counted.wait_for("dedupe", read=EVENTS + REPEATS, unique=EVENTS, duplicate=REPEATS, conflict=0)
        wait_until(lambda: usage(client) == [EVENTS], lambda: f"usage: {usage(client)}")
        asked = client.get("/status").json()["neighbours"]
        assert asked["kafka"]["ok"] and asked["topics"]["ok"], asked


def usage(client: TestClient) -> list[int]:
    return [int(row["value"]) for row in client.get("/meters/calls/query").json()["data"]]


def run(values: dict[str, object], folder: Path, *words: str) -> tuple[int, str]:
    """The exit code of a command, and the last line that it prints itself. It fails when the command does not end."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment |= {PREFIX + name.upper(): str(value) for name, value in values.items()}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=LIMIT_S,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    lines = (done.stdout + done.stderr).strip().splitlines()
    return done.returncode, [line for line in lines if not line.startswith("%")][
        -1
    ]  # the others are librdkafka's


def refusals(broker: SecureBroker) -> Iterator[tuple[str, Settings, tuple[str, ...], str]]:
    """What is refused, whose settings, a command, and words of its output."""
    login, by_certificate = broker.settings("ingest"), broker.settings_by_certificate("dedupe")
    check = ("topics", "check")
    wrong = login.model_copy(update={"kafka_password": SecretStr("wrong"), "kafka_username": "ingest"})
    yield "password", wrong, check, "invalid credentials with SASL mechanism SCRAM-SHA-512"
    stranger = login.model_copy(update={"kafka_ca": str(broker.stranger.ca)})
    yield "authority", stranger, check, "certificate verify failed"
    yield "no TLS", Settings.model_construct(kafka=login.kafka), check, "(does it require TLS?)"
    without = by_certificate.model_copy(update={"kafka_cert": "", "kafka_cert_key": ""})
    yield "no certificate", without, check, "certificate required"
    yield (
        "write",
        login,
        ("send", "line", "--topic", "events"),
        "1 may be lost (1 TOPIC_AUTHORIZATION_FAILED)",
    )
    yield (
        "read",
        broker.settings("no-input"),
        ("worker", "ingest"),
        ("refused the topic events: TOPIC_AUTHORIZATION_FAILED"),
    )
    yield (
        "group",
        broker.settings("no-group"),
        ("worker", "ingest"),
        ("Kafka refuses to let tallymark-ingest read its topics: GroupAuthorizationFailed"),
    )
    yield (
        "transaction",
        broker.settings("no-transaction"),
        ("worker", "ingest"),
        ("TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
    )
    yield "new topics", login, ("topics", "apply"), "TOPIC_AUTHORIZATION_FAILED"


@pytest.mark.timeout(600)
def test_whatever_is_not_allowed_is_refused_with_one_sentence(broker: SecureBroker, tmp_path: Path) -> None:
    def refused(what: str, settings: Settings, words: tuple[str, ...]) -> tuple[int, str]:
        folder = tmp_path / what
        folder.mkdir()
        (folder / "line").write_text("{}\n")
        return run(broker.variables(settings, what) | {**OWN, "state_dir": folder}, folder, *words)

    cases = list(refusals(broker))
    with ThreadPoolExecutor(len(cases)) as threads:
        answers = [threads.submit(refused, what, settings, words) for what, settings, words, _ in cases]
    for (what, _, _, sentence), answer in zip(cases, answers, strict=True):
        code, printed = answer.result()
        assert (code, sentence in printed) == (UNAVAILABLE, True), f"{what}: exit code {code}, {printed}"


def test_a_topic_is_created_by_an_operator_only(broker: SecureBroker) -> None:
    with pytest.raises(Unavailable, match="TOPIC_AUTHORIZATION_FAILED"):
        topic_admin.create(broker.settings("ingest"), [NewTopic("mine", 1, 1)])
