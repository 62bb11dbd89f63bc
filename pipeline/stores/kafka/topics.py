"""Tallymark's topics: what `topics/*.toml` declares, made on a cluster or compared with it.

Owns: the declarations' rules, creating what is missing, altering configuration that differs. Does not own:
the records' shapes (records.py). A partition count is fixed at creation: it decides where a customer's state
is, so a difference is an error and is never changed.
"""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from pipeline import settings as settings_module
from pipeline.errors import Rejected, Unavailable
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka

FOLDER = Path(__file__).parents[3] / "topics"
FOREVER = -1
DAY_S = 86_400
WAIT_S = (
    15 * DAY_S
)  # 7 days in `events`, 7 days in `events-accepted`, and one: how long a repeat may be on its way
TIMEOUT_S = 30.0
ANSWER_S = 10.0  # a cluster that says nothing for this long is away

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_S * 1_000}
_REQUIRED = {"holds", "key", "producer", "consumers", "retention", "cleanup"}
_ALLOWED = _REQUIRED | {"partitions", "sharded", "packed", "namespace", "config"}


@dataclass(frozen=True)
class Topic:
    """One declared topic.

    `packed`: a record holds a list. `namespace`: the tenant of what outsiders write to it; None: inner topic.
    `config`: further Kafka topic configuration. `retention_ms` is -1 for ever.
    """

    name: str
    holds: str
    key: str
    producer: str
    consumers: tuple[str, ...]
    partitions: int
    sharded: bool
    retention_ms: int
    cleanup: Literal["delete", "compact"]
    packed: bool = False
    namespace: str | None = None
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """One way in which a topic on the cluster is not as declared. `kind` says what can be done about it."""

    topic: Topic
    kind: Literal["missing", "partitions", "replicas", "config"]
    sentence: str
    config: Mapping[str, str] = field(default_factory=dict)  # for kind config: what to set


def load(settings: Settings | None = None) -> dict[str, Topic]:
    """Every declared topic by name, with the settings' partition count and horizon filled in."""
    chosen = settings if settings is not None else settings_module.load()
    paths = sorted(FOLDER.glob("*.toml"))
    return {path.stem: parse(path.stem, tomllib.loads(path.read_text("utf-8")), chosen) for path in paths}


def parse(name: str, text: Mapping[str, Any], settings: Settings) -> Topic:
    """A topic from its TOML table. Raises Rejected when the declaration breaks a rule."""

    def refuse(why: str) -> Rejected:
        return Rejected("bad-topic", f"topics/{name}.toml: {why}.")

    if unknown := sorted(set(text) - _ALLOWED):
        raise refuse(f"{unknown[0]!r} is no property of a topic")
    if missing := sorted(_REQUIRED - set(text)):
        raise refuse(f"{missing[0]!r} is missing")
    if ("partitions" in text) == bool(text.get("sharded")):
        raise refuse("say either partitions = N or sharded = true")
    if text["cleanup"] not in ("delete", "compact"):
        raise refuse("cleanup is either delete or compact")
    retention_ms = _retention_ms(str(text["retention"]), settings)
    if retention_ms is None:
        raise refuse("retention is a number with s, m, h or d, or forever, or horizon")
    if text["cleanup"] == "compact" and retention_ms != FOREVER:
        raise refuse("a compacted topic has retention forever")
    return Topic(
        name=name,
        holds=text["holds"],
        key=text["key"],
        producer=text["producer"],
        consumers=tuple(text["consumers"]),
        partitions=settings.partitions if text.get("sharded") else int(text["partitions"]),
        sharded=bool(text.get("sharded")),
        retention_ms=retention_ms,
        cleanup=text["cleanup"],
        packed=bool(text.get("packed", False)),
        namespace=text.get("namespace"),
        config={key: _plain(value) for key, value in text.get("config", {}).items()},
    )


def _retention_ms(text: str, settings: Settings) -> int | None:
    if text == "forever":
        return FOREVER
    if text == "horizon":
        return (settings.horizon_s + settings.future_limit_s + WAIT_S) * 1_000
    match = re.fullmatch(r"([1-9]\d*)([smhd])", text)
    return int(match[1]) * _UNITS_MS[match[2]] if match else None


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def kafka_config(topic: Topic, settings: Settings) -> dict[str, str]:
    """The whole Kafka configuration that the declaration asks for."""
    return {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(topic.retention_ms),
        "retention.bytes": "-1",
        "min.insync.replicas": str(settings.kafka_min_insync),
        **topic.config,
    }


def check(settings: Settings) -> list[str]:
    """One sentence for each difference from the declarations; empty: the cluster is as declared."""
    return [difference.sentence for difference in differences(settings)]


def apply(settings: Settings) -> list[str]:
    """Creates what is missing and alters configuration that differs; a sentence for each change made.

    Raises Rejected when a topic has another partition count, before anything is changed.
    """
    found = differences(settings)
    if wrong := [difference.sentence for difference in found if difference.kind == "partitions"]:
        raise Rejected("partition-mismatch", " ".join(wrong))
    client = kafka.admin(settings)
    try:
        _create(client, [difference.topic for difference in found if difference.kind == "missing"], settings)
        _alter(client, [difference for difference in found if difference.kind == "config"])
    except KafkaException as error:
        raise kafka.unavailable(settings, error) from error
    if found:
        _settle(settings)
    done = {"missing": "created {0}.", "config": "altered: {1}", "replicas": "left as it is: {1}"}
    return [done[found_one.kind].format(found_one.topic.name, found_one.sentence) for found_one in found]


def differences(settings: Settings) -> list[Difference]:
    """How the cluster differs from the declarations, by topic."""
    on_cluster = kafka.cluster(settings, ANSWER_S).topics
    declared = load(settings)
    present = [topic for topic in declared.values() if topic.name in on_cluster]
    configs = _configs(settings, present)
    found: list[Difference] = []
    for topic in declared.values():
        if topic.name not in configs:
            found.append(Difference(topic, "missing", f"{topic.name} is missing."))
            continue
        partitions = on_cluster[topic.name].partitions
        if len(partitions) != topic.partitions:
            sentence = (
                f"{topic.name} has {len(partitions)} partitions and {topic.partitions} are declared; "
                "set `partitions` to what the cluster has, or start with new topics."
            )
            found.append(Difference(topic, "partitions", sentence))
        replicas = min((len(partition.replicas) for partition in partitions.values()), default=0)
        if replicas < settings.kafka_replicas:
            sentence = f"{topic.name} has {replicas} replicas and {settings.kafka_replicas} are declared."
            found.append(Difference(topic, "replicas", sentence))
        if difference := _config_difference(topic, configs[topic.name], settings):
            found.append(difference)
    return found


def _config_difference(topic: Topic, actual: Mapping[str, str], settings: Settings) -> Difference | None:
    wanted = kafka_config(topic, settings)
    wrong = {name: value for name, value in wanted.items() if not _same(actual.get(name), value)}
    if not wrong:
        return None
    listed = ", ".join(
        f"{name} is {actual.get(name, 'not known')}, declared {value}" for name, value in wrong.items()
    )
    return Difference(topic, "config", f"{topic.name}: {listed}.", wrong)


def _same(actual: str | None, wanted: str) -> bool:
    if actual is None or actual == wanted:
        return actual == wanted
    try:
        return float(actual) == float(wanted)
    except ValueError:
        return False


def _configs(settings: Settings, topics: list[Topic]) -> dict[str, dict[str, str]]:
    """The whole configuration of each; without those that were deleted since."""
    resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
    if not resources:
        return {}
    try:
        client = kafka.admin(settings)  # a name of its own: it must outlive its futures
        futures = client.describe_configs(resources, request_timeout=TIMEOUT_S)
        found: dict[str, dict[str, str]] = {}
        for resource, future in futures.items():
            if (error := future.exception()) is None:
                found[resource.name] = {name: str(entry.value) for name, entry in future.result().items()}
            elif error.args[0].name() != "UNKNOWN_TOPIC_OR_PART":
                raise error
        return found
    except KafkaException as error:
        raise kafka.unavailable(settings, error) from error


def _settle(settings: Settings) -> None:
    """Returns when the brokers show what the controller has decided, and each partition has a leader."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        left = [one.sentence for one in differences(settings) if one.kind != "replicas"]
        on_cluster = kafka.cluster(settings, ANSWER_S).topics
        for name in load(settings):
            if name in on_cluster and any(one.leader < 0 for one in on_cluster[name].partitions.values()):
                left.append(f"{name} has a partition without leader.")
        if not left:
            return
        if time.monotonic() > deadline:
            raise Unavailable(f"{TIMEOUT_S:g} s after `topics apply`: " + " ".join(left))
        time.sleep(0.05)


def _create(client: AdminClient, topics: list[Topic], settings: Settings) -> None:
    if not topics:
        return
    wanted = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=settings.kafka_replicas,
            config=kafka_config(topic, settings),
        )
        for topic in topics
    ]
    for future in client.create_topics(wanted, operation_timeout=TIMEOUT_S).values():
        try:
            future.result()
        except KafkaException as error:
            # Two workers may start at once; the other one has made it from the same declaration.
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise


def _alter(client: AdminClient, found: list[Difference]) -> None:
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            difference.topic.name,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in difference.config.items()
            ],
        )
        for difference in found
    ]
    if resources:
        for future in client.incremental_alter_configs(resources).values():
            future.result()


def markdown(declared: Mapping[str, Topic]) -> str:
    """`topics/README.md`: one row a topic, made from the declarations."""
    lines = [
        "# Topics",
        "",
        "One TOML file a topic; `tallymark topics apply` makes them, `tallymark topics check` compares.",
        "Made by `python -m pipeline.stores.kafka.topics > topics/README.md`; a test compares it with the files.",
        "`P` partitions are the setting `partitions` (default 4), fixed when the topic is created.",
        "",
        "| Topic | Holds | Key | Producer | Consumers | Partitions | Kept |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for topic in declared.values():
        cells = [
            f"`{topic.name}`",
            topic.holds,
            topic.key,
            topic.producer,
            ", ".join(topic.consumers),
            "P" if topic.sharded else str(topic.partitions),
            _kept(topic),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _kept(topic: Topic) -> str:
    if topic.cleanup == "compact":
        return "newest of each key"
    return "for ever" if topic.retention_ms == FOREVER else f"{topic.retention_ms / (DAY_S * 1_000):g} d"


if __name__ == "__main__":
    print(markdown(load(Settings.model_construct())), end="")
