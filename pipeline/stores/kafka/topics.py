"""Tallymark's topics: the declarations in `topics/*.toml`, created on a cluster or compared with it.

Owns: the rules of the declarations, creating missing topics, altering configuration that differs. Does not own: the
form of records (records), the topics with which state was built (topic_ids), calls to the cluster (topic_admin), a lost
topic (agents.lost_topics).

The number of partitions of an inner topic decides in which one the state of a customer is. So the number is fixed when
the topics are created; additional partitions stay empty. `tallymark topics raise` raises it for the topics up to usage,
with their state (agents.raise_partitions). Topics that producers write to may have any number.
"""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from confluent_kafka.admin import NewTopic, TopicMetadata  # type: ignore[attr-defined]

from pipeline import settings as settings_module
from pipeline.errors import Rejected, Unavailable
from pipeline.records import TopicId
from pipeline.settings import Settings
from pipeline.stages import STAGES
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topic_admin, topic_ids, topic_sentences
from pipeline.stores.kafka.topic import Topic
from pipeline.stores.kafka.topic_ids import Identity

FOLDER = Path(__file__).parents[3] / "topics"
FOREVER = -1
DAY_S = 86_400
# How long a repeat may take to reach dedupe: 7 days in `events`, 7 days in `events-accepted`, and one day of reserve.
WAIT_S = 15 * DAY_S
TIMEOUT_S = 30.0
ANSWER_S = 10.0  # a cluster that does not respond for so long is unavailable

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_S * 1_000}
PRODUCERS = {*STAGES, "api", "anyone", "topics apply"}
_REQUIRED = {"holds", "key", "producers", "consumers", "retention", "cleanup"}
_ALLOWED = _REQUIRED | {"partitions", "sharded", "resizable", "raisable", "packed", "namespace", "if_lost", "config",
                        "record_version"}  # fmt: skip


Kind = Literal["missing", "lost", "another", "unknown", "newer", "older", "partitions", "replicas", "config"]
# Nothing is changed while there is a difference of these kinds, and the reason of the refusal.
REFUSED: Mapping[Kind, str] = {
    "lost": "topic-lost", "another": "topic-lost", "newer": "topic-newer", "partitions": "partition-mismatch",
}  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """A difference between a topic on the cluster and its declaration.

    kind lost: it is missing, and state was built with it. another: state was built with an earlier topic of this name.
    unknown: its id is not recorded in `topic-ids` yet. newer, older: a newer or an older version of its records is.
    """

    topic: Topic
    kind: Kind
    sentence: str
    config: Mapping[str, str] = field(default_factory=dict)  # for kind config: what to set


def load(settings: Settings | None = None) -> dict[str, Topic]:
    """Every declared topic by name, with the partition count and the horizon of the settings."""
    chosen = settings if settings is not None else settings_module.load()
    paths = sorted(FOLDER.glob("*.toml"))
    return {path.stem: parse(path.stem, tomllib.loads(path.read_text("utf-8")), chosen) for path in paths}


def parse(name: str, text: Mapping[str, Any], settings: Settings) -> Topic:
    """A topic from its TOML table. Raises Rejected when the declaration breaks a rule."""

    def refuse(why: str) -> Rejected:
        return Rejected("bad-topic", f"topics/{name}.toml: {why}.")

    if unknown := sorted(set(text) - _ALLOWED):
        raise refuse(f"{unknown[0]!r} is not a property of a topic")
    if missing := sorted(_REQUIRED - set(text)):
        raise refuse(f"{missing[0]!r} is missing")
    if ("partitions" in text) == bool(text.get("sharded")):
        raise refuse("it must have either partitions = N or sharded = true")
    if text.get("raisable") and not text.get("sharded"):
        raise refuse("only a sharded topic is raisable")
    if text["cleanup"] not in ("delete", "compact"):
        raise refuse("cleanup must be delete or compact")
    if unknown := sorted(set(text["producers"]) - PRODUCERS):
        raise refuse(f"{unknown[0]!r} is not a producer")
    retention_ms = _retention_ms(str(text["retention"]), settings)
    if retention_ms is None:
        raise refuse("retention must be a number with s, m, h or d, or forever, or horizon")
    if text["cleanup"] == "compact" and retention_ms != FOREVER:
        raise refuse("a compacted topic must have retention forever")
    return Topic(
        name=name,
        holds=text["holds"],
        key=text["key"],
        producers=tuple(text["producers"]),
        consumers=tuple(text["consumers"]),
        partitions=_number(text, settings),
        sharded=bool(text.get("sharded")),
        retention_ms=retention_ms,
        cleanup=text["cleanup"],
        packed=bool(text.get("packed", False)),
        namespace=text.get("namespace"),
        resizable=bool(text.get("resizable", False)),
        raisable=bool(text.get("raisable", False)),
        if_lost=text.get("if_lost", ""),
        record_version=int(text.get("record_version", 1)),
        config={key: _plain(value) for key, value in text.get("config", {}).items()},
    )


def _number(text: Mapping[str, Any], settings: Settings) -> int:
    if not text.get("sharded"):
        return int(text["partitions"])
    return settings.event_partitions or settings.partitions if text.get("raisable") else settings.partitions


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
    """The whole Kafka configuration of a declaration."""
    return {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(topic.retention_ms),
        "retention.bytes": "-1",
        "min.insync.replicas": str(settings.kafka_min_insync),
        **topic.config,
    }


def check(settings: Settings) -> list[str]:
    """One sentence per difference from the declarations; empty if there is none."""
    return [difference.sentence for difference in differences(settings)]


def apply(settings: Settings) -> list[str]:
    """Create missing topics and alter configuration that differs.

    Returns:
        A sentence for each change.

    Raises:
        Rejected: A topic was lost or has another partition count; nothing is changed then.
        Unavailable: Kafka does not respond.
    """
    found = differences(settings)
    if wrong := [one for one in found if one.kind in REFUSED]:
        raise Rejected(REFUSED[wrong[0].kind], " ".join(one.sentence for one in wrong))
    create(settings, [one.topic for one in found if one.kind == "missing"])
    topic_admin.alter(settings, {one.topic.name: one.config for one in found if one.kind == "config"})
    if found:
        _settle(settings)
        note(settings)
    done = {"missing": "created {0}.", "config": "altered: {1}", "replicas": "unchanged: {1}"}
    done |= {"unknown": "recorded the id of {0}.", "older": "recorded the version of the records of {0}."}
    return [done[found_one.kind].format(found_one.topic.name, found_one.sentence) for found_one in found]


def create(settings: Settings, wanted: Iterable[Topic]) -> None:
    """Create topics, `topic-ids` first: once it exists, every other topic is recorded or new. Raises Unavailable."""
    made = {
        topic.name: NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=settings.kafka_replicas,
            config=kafka_config(topic, settings),
        )
        for topic in wanted
    }
    if first := made.pop(topic_ids.TOPIC, None):
        topic_admin.create(settings, [first])
    topic_admin.create(settings, list(made.values()))


def note(settings: Settings) -> None:
    """Record the ids of topics that exist and are not recorded yet. Raises Unavailable."""
    declared = load(settings)
    topic_ids.note(settings, topic_ids.read(settings, declared), declared)


def of_stage(declared: Mapping[str, Topic], stage: str) -> list[str]:
    """The topics that a stage reads or writes."""
    return [name for name, topic in declared.items() if stage in (*topic.producers, *topic.consumers)]


def differences(settings: Settings) -> list[Difference]:
    """The differences of the cluster from the declarations, by topic. Raises Unavailable."""
    on_cluster, declared = kafka.cluster(settings, ANSWER_S).topics, load(settings)
    configs = topic_admin.configs(settings, [name for name in declared if name in on_cluster])
    return _differences(settings, declared, on_cluster, configs)


def existing_differences(settings: Settings, only: Iterable[str] | None = None) -> list[Difference]:
    """As `differences`, without kind config, which needs more than the right to read or write a topic.

    only: the names of these topics, all others may be hidden from this user; None: all. Raises Unavailable.
    """
    on_cluster, declared = kafka.cluster(settings, ANSWER_S).topics, load(settings)
    names = declared.keys() if only is None else set(only)
    chosen = {name: topic for name, topic in declared.items() if name in names}
    return _differences(settings, chosen, on_cluster, None)


def _differences(
    settings: Settings,
    declared: Mapping[str, Topic],
    on_cluster: Mapping[str, TopicMetadata],
    configs: Mapping[str, Mapping[str, str]] | None,
) -> list[Difference]:
    """configs: of each existing topic; None: the configuration is not compared."""
    partitions = {name: topic.partitions for name, topic in declared.items()}
    identity, is_in_use = topic_ids.identify(settings, partitions, on_cluster)
    there = on_cluster if configs is None else configs
    found: list[Difference] = []
    for topic in declared.values():
        if topic.name not in there:
            lost = identity.is_lost(topic.name) or (topic.name in topic_ids.BEFORE_IDS and is_in_use())
            missing = Difference(topic, "missing", f"{topic.name} is missing.")
            found.append(Difference(topic, "lost", topic_sentences.lost(topic)) if lost else missing)
            continue
        if identity.is_another(topic.name):
            found.append(Difference(topic, "another", topic_sentences.another(topic, identity)))
        elif identity.is_unknown(topic.name) and topic_ids.TOPIC in on_cluster:
            found.append(Difference(topic, "unknown", topic_sentences.unknown(topic)))
        elif (written := identity.version(topic.name)) > topic.record_version:
            found.append(Difference(topic, "newer", topic_sentences.newer(topic, written)))
        elif written < topic.record_version:
            found.append(Difference(topic, "older", topic_sentences.older(topic, written)))
        found += _sizes(topic, identity, on_cluster, settings)
        if configs is not None and (wrong := _config_difference(topic, configs[topic.name], settings)):
            found.append(wrong)
    return found


def _sizes(
    topic: Topic, identity: Identity, on_cluster: Mapping[str, TopicMetadata], settings: Settings
) -> list[Difference]:
    """Differences in the numbers of partitions and replicas."""
    found: list[Difference] = []
    partitions = on_cluster[topic.name].partitions
    if sentence := _other_number(topic, identity.known):
        found.append(Difference(topic, "partitions", sentence))
    elif not topic.resizable and len(partitions) < topic.partitions:
        fixed = [one.name for one in load(settings).values() if one.sharded and not one.resizable]
        numbers = {len(on_cluster[name].partitions) for name in fixed if name in on_cluster}
        sentence = topic_sentences.too_few(topic, len(partitions), numbers)
        found.append(Difference(topic, "partitions", sentence))
    replicas = min((len(partition.replicas) for partition in partitions.values()), default=0)
    if replicas < settings.kafka_replicas:
        sentence = f"{topic.name} has {replicas} replicas, but {settings.kafka_replicas} are declared."
        found.append(Difference(topic, "replicas", sentence))
    return found


def other_numbers(declared: Mapping[str, Topic], known: Mapping[str, TopicId]) -> str:
    """A sentence on the first topic whose state was built with another number of partitions; empty if there is none."""
    return next((found for topic in declared.values() if (found := _other_number(topic, known))), "")


def _other_number(topic: Topic, known: Mapping[str, TopicId]) -> str:
    """A sentence if the topic's state was built with another number of partitions; empty if it was not."""
    noted = known.get(topic.name)
    if topic.resizable or noted is None or noted.partitions == topic.partitions:
        return ""
    return topic_sentences.other_number(topic, noted.partitions)


def _config_difference(topic: Topic, actual: Mapping[str, str], settings: Settings) -> Difference | None:
    wanted = kafka_config(topic, settings)
    wrong = {name: value for name, value in wanted.items() if not _same(actual.get(name), value)}
    if not wrong:
        return None
    listed = ", ".join(
        f"{name} is {actual.get(name, 'unknown')}, declared {value}" for name, value in wrong.items()
    )
    return Difference(topic, "config", f"{topic.name}: {listed}.", wrong)


def _same(actual: str | None, wanted: str) -> bool:
    if actual is None or actual == wanted:
        return actual == wanted
    try:
        return float(actual) == float(wanted)
    except ValueError:
        return False


def _settle(settings: Settings) -> None:
    """Return when the brokers show the controller's decisions, and each partition has a leader."""
    deadline = time.monotonic() + TIMEOUT_S
    declared = load(settings)
    while True:
        on_cluster = kafka.cluster(settings, ANSWER_S).topics
        configs = topic_admin.configs(settings, [name for name in declared if name in on_cluster])
        left = []
        for name, topic in declared.items():
            if name not in configs:
                left.append(f"{name} is missing.")
            elif difference := _config_difference(topic, configs[name], settings):
                left.append(difference.sentence)
            elif any(one.leader < 0 for one in on_cluster[name].partitions.values()):
                left.append(f"{name} has a partition without leader.")
        if not left:
            return
        if time.monotonic() > deadline:
            raise Unavailable(f"{TIMEOUT_S:g} s after `topics apply`: " + " ".join(left))
        time.sleep(0.05)


def markdown(declared: Mapping[str, Topic]) -> str:
    """`topics/README.md`: one row per topic, generated from the declarations."""
    lines = [
        "# Topics",
        "",
        "Each topic has one TOML file. `tallymark topics apply` creates the topics on a cluster, and "
        "`tallymark topics check` compares the cluster with the files.",
        "This file is generated by `python -m pipeline.stores.kafka.topics > topics/README.md`; a test compares it.",
        "`P` is the setting `partitions` (default 4), which is fixed when the topics are created. `E` is the setting "
        "`event_partitions` (default `P`), which `tallymark topics raise` raises. Partitions of an inner topic beyond "
        "`P` or `E` stay empty; a topic with `P or more` uses all its partitions, new ones within 10 s.",
        "",
        "`topic-ids` holds the Kafka topic ids with which the state was built. A lost topic is never recreated "
        "silently: `tallymark topics apply --recreate-lost NAME` recreates it, and the last column shows what is "
        "lost (`-`: the topic cannot be recreated on its own).",
        "",
        "| Topic | Holds | Key | Producers | Consumers | Partitions | Retention | If lost |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for topic in declared.values():
        cells = [
            f"`{topic.name}`",
            topic.holds,
            topic.key,
            ", ".join(topic.producers),
            ", ".join(topic.consumers),
            _partitions(topic),
            _kept(topic),
            topic.if_lost or "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _partitions(topic: Topic) -> str:
    if topic.sharded:
        return "P or more" if topic.resizable else "E" if topic.raisable else "P"
    return str(topic.partitions)


def _kept(topic: Topic) -> str:
    if topic.cleanup == "compact":
        return "newest value of each key"
    return "for ever" if topic.retention_ms == FOREVER else f"{topic.retention_ms / (DAY_S * 1_000):g} d"


if __name__ == "__main__":
    print(markdown(load(Settings.model_construct())), end="")
