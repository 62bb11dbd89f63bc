"""schemas/commands.md: every command with the members that its decider takes, every kind with its members."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from pipeline.command_reference import BODIES, COMMANDS, markdown
from pipeline.core.control import DECIDERS, decide
from pipeline.core.definitions import kinds
from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import ENDED, SHARED, UNIQUE
from pipeline.records import Command
from tests.core.stored_story import decisions
from tests.fixtures.control_log import AT_MS, Log


def taken() -> dict[str, set[str]]:
    """The members that each command of the story takes: a decider lists them when it meets another one."""
    found: dict[str, set[str]] = defaultdict(set)

    def ask(log: Log, kind: str, body: dict[str, Any]) -> None:
        command = Command("x", kind, "default", "ann", 0, {**body, "nothing": 1})
        reply = decide(log.catalog, command, AT_MS).reply
        if listed := re.search(r"unknown member 'nothing': it may have (.*)", reply.detail):
            found[kind] |= set(re.split(r", ", listed[1]))

    decisions(ask)
    return found


TAKEN = taken()


def below(body: type[DefinitionBody]) -> Iterator[type[DefinitionBody]]:
    yield body
    for one in body.__subclasses__():
        yield from below(one)


def test_every_command_is_described() -> None:
    assert list(COMMANDS) and COMMANDS.keys() == DECIDERS.keys()
    rows = [line for line in markdown().splitlines() if re.match(r"\| `[a-z-]+\.[a-z]+`", line)]
    assert len(rows) == len(DECIDERS) and not any(line.endswith("|  |") for line in rows)


def test_deciders_were_asked() -> None:
    assert len(TAKEN) > 20 and TAKEN["customer.create"] > {"key", "name", "timeZone"}


@pytest.mark.parametrize("kind", sorted(TAKEN))
def test_the_members_that_a_command_takes_are_named(kind: str) -> None:
    text = COMMANDS[kind].body
    for other in re.findall(r"as for ([a-z-]+\.[a-z]+)", text):
        text += " " + COMMANDS[other].body
    assert {member for member in TAKEN[kind] if not re.search(rf"\b{member}\b", text)} == set()


def test_every_kind_has_its_members() -> None:
    names = {
        value
        for name, value in vars(kinds).items()
        if name.isupper() and isinstance(value, str) and "/" not in value
    }
    assert {body.kind for body in BODIES} == names


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.kind)
def test_handles_are_members(body: type[DefinitionBody]) -> None:
    names = {name for one in below(body) for name in one.__struct_encode_fields__}
    paths = [path for declared in (UNIQUE, SHARED) for _, path in declared.get(body.kind, ())]
    ended = {ENDED[body.kind]} if body.kind in ENDED else set()
    assert {path[0] for path in paths} | ended <= names


def test_the_page_names_members_as_json_does() -> None:
    page = markdown()
    fields = {field.name for body in BODIES for one in below(body) for field in msgspec.structs.fields(one)}
    assert {field for field in fields if "_" in field and re.search(rf"\b{field}\b", page)} == set()
