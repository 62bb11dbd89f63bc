"""The rights of each user follow the declarations of the topics, and go no further."""

from __future__ import annotations

import re
import shlex

import pytest

from pipeline.errors import Rejected
from pipeline.settings import Settings
from pipeline.stages import STAGES, STATELESS
from pipeline.stores.kafka import acls, topics

SETTINGS = Settings.model_construct()
DECLARED = topics.load(SETTINGS)


def rights(user: str) -> set[tuple[str, str, str, str]]:
    """Resource, name, pattern and operation."""
    return {
        (rule.resource, rule.name, rule.pattern, operation)
        for rule in acls.rules(SETTINGS, [user])
        for operation in rule.operations
    }


def on_topics(user: str, operation: str) -> set[str]:
    return {name for kind, name, _, which in rights(user) if (kind, which) == ("topic", operation)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_and_writes_what_is_declared(stage: str) -> None:
    assert on_topics(stage, "Write") == {one.name for one in DECLARED.values() if stage in one.producers}
    assert on_topics(stage, "Read") == {one.name for one in DECLARED.values() if stage in one.consumers}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_its_own_group_and_transactions_only(stage: str) -> None:
    joined = {name for kind, name, _, which in rights(stage) if (kind, which) == ("group", "Read")}
    assert joined == {f"tallymark-{stage}"}
    ids = {name for kind, name, *_ in rights(stage) if kind == "transactional-id"}
    assert ids == (set() if stage in STATELESS else {f"tallymark-{stage}-"})


def test_no_prefix_of_a_stage_covers_another_stage() -> None:
    prefixes = {
        rule.user: rule.name for rule in acls.rules(SETTINGS, STAGES) if rule.resource == "transactional-id"
    }
    groups = {f"tallymark-{stage}-x" for stage in STAGES}
    assert all(sum(name.startswith(prefix) for name in groups) == 1 for prefix in prefixes.values())


@pytest.mark.parametrize("user", [*STAGES, acls.API, acls.PRODUCER])
def test_only_an_operator_changes_topics(user: str) -> None:
    assert {which for *_, which in rights(user)} <= {"Read", "Write", "Describe"}
    assert not any(kind == "cluster" or name == "*" for kind, name, *_ in rights(user))
    assert ("cluster", "kafka-cluster", "literal", "Create") in rights(acls.OPERATOR)


def test_a_producer_writes_input_topics_only() -> None:
    assert rights(acls.PRODUCER) == {("topic", "events", "literal", "Write")}


def test_one_stage_in_full() -> None:
    """As it is printed: an administrator reads this."""
    assert [acls.command(rule, "b:9093").removeprefix(ADD) for rule in acls.rules(SETTINGS, ["dedupe"])] == [
        "--operation Read --group tallymark-dedupe",
        "--operation Describe --group tallymark-dedupe- --resource-pattern-type prefixed",
        "--operation Describe --group tallymark-topic-ids- --resource-pattern-type prefixed",
        "--operation Write --topic counts",
        "--operation Read --operation Write --topic dedupe-changelog",
        "--operation Read --operation Write --topic dedupe-meta",
        "--operation Write --topic duplicates",
        "--operation Read --topic events-accepted",
        "--operation Write --topic events-unique",
        "--operation Read --topic topic-ids",
        "--operation Write --topic workers",
        "--operation Describe --operation Write --transactional-id tallymark-dedupe- --resource-pattern-type prefixed",
    ]


ADD = (
    "kafka-acls --bootstrap-server b:9093 --command-config admin.properties --add "
    "--allow-principal User:tallymark-dedupe "
)


def test_a_name_cannot_add_words_to_a_command() -> None:
    (rule,) = acls.rules(SETTINGS, [acls.PRODUCER], "User:CN={}, O=it's; ls")
    words = shlex.split(acls.command(rule, "b:1"))
    assert words[words.index("--allow-principal") + 1] == "User:CN=producer, O=it's; ls"


@pytest.mark.parametrize("principal", ["tallymark-{}", "User:all", "User:{}{}"])
def test_every_user_has_a_name_of_its_own(principal: str) -> None:
    with pytest.raises(Rejected, match=re.escape(f"{principal!r} is not User:NAME with one {{}}")):
        acls.rules(SETTINGS, principal=principal)


def test_an_unknown_user_is_refused() -> None:
    with pytest.raises(Rejected, match=r"^There is no user 'sinc'; there are ingest, "):
        acls.rules(SETTINGS, ["sinc"])
