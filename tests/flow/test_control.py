"""The control stage on a real broker: killed at every point of a transaction, it decides each command once."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer

from pipeline.contracts import ROOT
from pipeline.core.definitions import audit
from pipeline.core.definitions.index import OWN
from pipeline.local import process
from pipeline.records import Audit, Command, Definition, Reply
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from pipeline.stores.kafka.definitions import Definitions
from tests.fixtures.control_log import Log
from tests.fixtures.patience import PATIENCE_S
from tests.flow.accepted_events import read

pytestmark = pytest.mark.own_broker  # workers run for a minute
COMMANDS = 300
CRASHES = ("produce.before", "produce.after", "commit.after", "table.after")


def command_of(number: int, chance: random.Random) -> Command:
    """One of few customers, meters and features, so that many are refused."""
    name = chance.choice("abcdef")
    meter: dict[str, Any] = {"slug": name, "eventType": "t", "aggregation": "COUNT"}
    kind, body = chance.choice(
        [
            ("meter.apply", meter),
            ("meter.delete", {"slug": name}),
            ("feature.create", {"key": name, "name": name, "meterSlug": name}),
            ("feature.archive", {"id": name}),
            ("customer.create", {"name": name, "key": name}),
            ("customer.delete", {"id": name}),
            ("subject.upsert", {"key": name, "displayName": str(number)}),
            ("portal-token.create", {"subject": name}),
            ("portal-token.invalidate", {"subject": name}),
        ]
    )
    return Command(f"c{number}", kind, "default", "ann", number, body, request=kind)


def test_a_stage_that_is_killed_decides_each_command_once(fresh_topics: Settings, tmp_path: Path) -> None:
    chance = random.Random(7)
    requests = [command_of(number, chance) for number in range(COMMANDS)]
    producer = Producer(cluster.producer_config(fresh_topics) | {"linger.ms": 0, "log_level": 0})
    share = COMMANDS // (len(CRASHES) + 1)
    for place, crash in enumerate((*CRASHES, "")):
        for command in requests[place * share : (place + 1) * share]:
            for _ in range(chance.choice((1, 1, 2))):  # some are sent twice
                producer.produce("commands", msgspec.json.encode(command))
        assert producer.flush(PATIENCE_S) == 0
        worker = start(fresh_topics, tmp_path, place, crash)
        try:
            if crash:
                assert worker.wait(PATIENCE_S) == -signal.SIGKILL
            else:
                until_decided(fresh_topics, requests)
        finally:
            worker.kill()
            worker.wait()
        if place == 1:
            shutil.rmtree(tmp_path / "state")  # the next one restores from `control`
    check(fresh_topics)


def start(settings: Settings, folder: Path, place: int, crash: str) -> process.Process:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("TALLYMARK_")} | {
        "TALLYMARK_KAFKA": settings.kafka,
        "TALLYMARK_STATE_DIR": str(folder / "state"),
        "TALLYMARK_SESSION_TIMEOUT_S": "6",
        "PYTHONPATH": str(ROOT),
    }
    if crash:
        variables["CRASH_AT"] = f"{crash}:1"
    command = [sys.executable, "-m", "pipeline.cli", "worker", "control"]
    return process.spawn(command, folder / f"control-{place}.log", variables)


def until_decided(settings: Settings, requests: list[Command]) -> None:
    """Returns when the last command's effects are in force."""
    log = replayed(settings)
    with Definitions(settings) as view:
        assert view.wait_revision(log.revision, PATIENCE_S)


def replayed(settings: Settings) -> Log:
    """What the commands come to, decided here and now, each once."""
    log = Log()
    for record in read(settings.kafka, "commands"):
        log.run(msgspec.json.decode(record.value() or b"", type=Command), record.timestamp()[1])
    return log


def check(settings: Settings) -> None:
    log = replayed(settings)
    assert log.sent == 0 and len({reply.id for reply in log.replies}) == COMMANDS < len(log.replies)
    control: dict[str, bytes] = {}
    for record in read(settings.kafka, "control"):
        place, value = (record.key() or b"").decode(), record.value()
        control.pop(place, None)
        if value is not None and not place.startswith(OWN):
            control[place] = value
    assert {
        place: msgspec.json.decode(value, type=Definition) for place, value in control.items()
    } == log.state
    entries = [msgspec.json.decode(one.value() or b"", type=Audit) for one in read(settings.kafka, "audit")]
    assert entries == log.audit
    assert audit.verify(entries).seq == len(entries)
    replies = [msgspec.json.decode(one.value() or b"", type=Reply) for one in read(settings.kafka, "replies")]
    assert replies == log.replies
    kept = {reply.id for reply in log.replies if reply.repeated}
    assert kept and kept <= {
        (one.key() or b"").decode().rpartition("/")[2] for one in read(settings.kafka, "control-changelog")
    }
