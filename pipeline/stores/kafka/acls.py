"""The rights that each user of Kafka needs, and no more, derived from the declarations in `topics/*.toml`.

Owns: which operations a stage, the API, a producer of events and an operator need, and their form as commands. Does not
own: the declarations (topics), users and their passwords, creating ACLs on a cluster. READ and WRITE of a topic include
DESCRIBE, and since Kafka 3.0 an idempotent producer needs no right on the cluster.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from pipeline.errors import Rejected
from pipeline.settings import Settings
from pipeline.stages import STAGES, STATELESS
from pipeline.stores.kafka import topics
from pipeline.stores.kafka.consumer_groups import group_of, input_topics
from pipeline.stores.kafka.topic import Topic

API, PRODUCER, OPERATOR = "api", "producer", "operator"
USERS = (*STAGES, API, PRODUCER, OPERATOR)
PREFIX = "tallymark-"  # of every group and transactional id
# Stages that compare how far other stages have read.
WATCHERS: Mapping[str, tuple[str, ...]] = {"billing": STAGES, API: STAGES}

Resource = Literal["topic", "group", "transactional-id", "cluster"]
Pattern = Literal["literal", "prefixed"]


class AclRule(msgspec.Struct, frozen=True, gc=False, order=True):
    """One allowed principal on one resource.

    user: a stage, or API, PRODUCER or OPERATOR. principal: Kafka's name of that user. operations: as kafka-acls names
    them.
    """

    user: str
    principal: str
    resource: Resource
    name: str
    pattern: Pattern
    operations: tuple[str, ...]


def rules(
    settings: Settings, users: Iterable[str] = USERS, principal: str = "User:tallymark-{}"
) -> list[AclRule]:
    """The rights of users, by user.

    Args:
        settings: For the declarations of the topics.
        users: Of USERS.
        principal: Kafka's name of a user, where {} is the user: `User:CN={}` for the subject of a certificate.

    Raises:
        Rejected: There is no such user, or the principal is not that of a user.
    """
    if not principal.startswith("User:") or principal.count("{}") != 1:
        raise Rejected(
            "bad-principal", f"{principal!r} is not User:NAME with one {{}} for the stage in NAME."
        )
    declared = topics.load(settings)
    found: list[AclRule] = []
    for user in users:
        if user not in USERS:
            raise Rejected("unknown-stage", f"There is no user {user!r}; there are {', '.join(USERS)}.")
        name = principal.replace("{}", user)
        rights = _operator() if user == OPERATOR else _rights(user, settings, declared)
        found += [AclRule(user, name, *right) for right in sorted(rights)]
    return found


Right = tuple[Resource, str, Pattern, tuple[str, ...]]


def _rights(user: str, settings: Settings, declared: Mapping[str, Topic]) -> list[Right]:
    operations: dict[str, set[str]] = {}
    for topic in declared.values():
        if user in topic.consumers:
            operations.setdefault(topic.name, set()).add("Read")
        if user in topic.producers or (user == PRODUCER and "anyone" in topic.producers):
            operations.setdefault(topic.name, set()).add("Write")
    if user == API:  # `status` reads whether a record is left, and checks that every topic is there
        for name in {name for stage in STAGES for name in input_topics(settings, stage)}:
            operations.setdefault(name, set()).add("Read")
        for name in declared:
            operations.setdefault(name, {"Describe"})
    elif user in WATCHERS:
        for name in {name for stage in WATCHERS[user] for name in input_topics(settings, stage)}:
            operations.setdefault(name, {"Describe"})
    found: list[Right] = [
        ("topic", name, "literal", tuple(sorted(which))) for name, which in operations.items()
    ]
    return found + _groups(user, follows="Read" in operations.get("control", ()))


def _groups(user: str, follows: bool) -> list[Right]:
    """Groups and transactional ids. A view assigns itself, but its client asks for a coordinator."""
    found: list[Right] = []
    if user in STAGES:
        group = group_of(user)
        found.append(("group", group, "literal", ("Read",)))
        found.append(("group", f"{group}-", "prefixed", ("Describe",)))
        if user not in STATELESS:
            found.append(("transactional-id", f"{group}-", "prefixed", ("Describe", "Write")))
    if user != PRODUCER:
        for purpose in ("topic-ids", "view") if follows else ("topic-ids",):
            found.append(("group", f"{PREFIX}{purpose}-", "prefixed", ("Describe",)))
    if user in WATCHERS:
        found += [
            ("group", group_of(stage), "literal", ("Describe",)) for stage in WATCHERS[user] if stage != user
        ]
    if user == API:
        for purpose in ("probe", "audit"):
            found.append(("group", f"{PREFIX}{purpose}-", "prefixed", ("Describe",)))
    return found


def _operator() -> list[Right]:
    """The rights of `topics`, `rebuild`, `send` and `status`: everything that is Tallymark's, and new topics."""
    return [
        ("cluster", "kafka-cluster", "literal", ("Create", "Describe")),
        (
            "topic",
            "*",
            "literal",
            ("Alter", "AlterConfigs", "Delete", "Describe", "DescribeConfigs", "Read", "Write"),
        ),
        ("group", PREFIX, "prefixed", ("Describe", "Read")),
        ("transactional-id", PREFIX, "prefixed", ("Describe", "Write")),
    ]


def command(rule: AclRule, servers: str) -> str:
    """A rule as a command of Kafka's `kafka-acls`. servers: its bootstrap servers."""
    words = ["kafka-acls", "--bootstrap-server", servers, "--command-config", "admin.properties", "--add"]
    words += ["--allow-principal", rule.principal]
    for operation in rule.operations:
        words += ["--operation", operation]
    words += ["--cluster"] if rule.resource == "cluster" else [f"--{rule.resource}", rule.name]
    if rule.pattern == "prefixed":
        words += ["--resource-pattern-type", "prefixed"]
    return shlex.join(words)
