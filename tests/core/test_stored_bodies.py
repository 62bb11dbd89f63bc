"""Entitlements, grants, rules and endpoints are written as recorded, byte for byte, and every form is read."""

from __future__ import annotations

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.notifications.endpoint import Endpoint
from pipeline.core.notifications.rule import Rule
from pipeline.core.quota.entitlement import Entitlement
from pipeline.core.quota.grant import GrantDefinition
from pipeline.errors import Broken
from pipeline.records import Definition
from tests.fixtures import quota_story

TESTS = Path(__file__).parent.parent
STORY = TESTS / "cases" / "quota-story.jsonl"
AGAIN = "python -m tests.fixtures.quota_story > tests/cases/quota-story.jsonl"
EARLIER = TESTS / "upgrade" / "definitions.jsonl"
STRUCTS: dict[str, type[DefinitionBody]] = {
    one.kind: one for one in (Entitlement, GrantDefinition, Rule, Endpoint)
}


def test_the_story_is_written_as_it_was_recorded() -> None:
    recorded = STORY.read_bytes().splitlines()
    for number, (line, expected) in enumerate(zip_longest(quota_story.lines(), recorded), 1):
        assert line == expected, (
            f"line {number} of {STORY.name}: write it again if the change is meant ({AGAIN})"
        )


def stored() -> list[Definition]:
    """Every definition of these kinds that was recorded, of the story and of an earlier version."""
    lines = [json.loads(line) for line in EARLIER.read_text("utf-8").splitlines()]
    lines += [
        record
        for topic, *_, record in map(json.loads, STORY.read_text("utf-8").splitlines())
        if topic == "control" and record["kind"] in STRUCTS
    ]
    return [msgspec.convert(line, Definition) for line in lines]


def test_both_recordings_hold_each_kind() -> None:
    earlier = EARLIER.read_text("utf-8").count("\n")
    found = stored()
    assert {one.kind for one in found[:earlier]} == {one.kind for one in found[earlier:]} == STRUCTS.keys()


@pytest.mark.parametrize("definition", stored(), ids=lambda one: f"{one.kind} {one.revision} {one.name}")
def test_every_member_is_one_of_the_struct(definition: Definition) -> None:
    body = STRUCTS[definition.kind].of(definition)
    assert body is not None and body is STRUCTS[definition.kind].of(definition)
    assert body.members is definition.body
    assert msgspec.to_builtins(body) == definition.body


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("grant", {"id": "g"}),
        ("entitlement", {"type": "metered"}),
        ("rule", {"type": "meter.volume.threshold", "channels": "c"}),
        ("endpoint", {"disabled": 1}),
    ],
)
def test_what_is_no_definition_stops_the_worker(kind: str, members: dict[str, Any]) -> None:
    with pytest.raises(Broken, match=f"The stored {kind} n cannot be read"):
        STRUCTS[kind].read(members, "n")


def test_no_secret_is_in_the_text_of_an_endpoint() -> None:
    endpoints = [Endpoint.of(one) for one in stored() if one.kind == Endpoint.kind]
    assert any(one is not None and one.previous_secret is not None for one in endpoints)
    assert "whsec_" not in f"{endpoints} {[one.previous_secret for one in endpoints if one is not None]}"
