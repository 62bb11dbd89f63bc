"""Items of an import: which command each is, and what is refused before control sees it."""

from __future__ import annotations

import pytest

from pipeline.core.control import DECIDERS
from pipeline.core.quota.import_item import COMMANDS, SCOPES, command_of
from pipeline.errors import Rejected


def test_each_kind_has_a_command_that_is_decided_and_a_scope() -> None:
    assert set(COMMANDS) == set(SCOPES)
    assert set(COMMANDS.values()) <= set(DECIDERS)


@pytest.mark.parametrize(
    ("item", "command", "scope", "body"),
    [
        ({"customer": {"key": "a"}}, "customer.create", "customers:write", {"key": "a"}),
        ({"subject": {"key": "a"}}, "subject.upsert", "customers:write", {"key": "a"}),
        (
            {"entitlement": {"type": "boolean"}},
            "entitlement.create",
            "entitlements:write",
            {"type": "boolean"},
        ),
        (
            {"entitlement": {"grants": [{"amount": 5}, {"amount": 5, "maxRolloverAmount": 0}, 7]}},
            "entitlement.create",
            "entitlements:write",
            {"grants": [{"amount": 5, "maxRolloverAmount": 5}, {"amount": 5, "maxRolloverAmount": 0}, 7]},
        ),
        (
            {"grant": {"amount": 5}},
            "grant.create",
            "entitlements:write",
            {"amount": 5, "maxRolloverAmount": 5},
        ),
    ],
)
def test_the_body_is_that_of_the_command(item: object, command: str, scope: str, body: object) -> None:
    found = command_of(item)
    assert (found.command, found.scope, found.body) == (command, scope, body)


@pytest.mark.parametrize(
    "item",
    [
        None,
        7,
        "customer",
        [],
        {},
        {"plan": {}},
        {"customer": {}, "subject": {}},
        {"customer": []},
        {"grant": None},
    ],
    ids=str,
)
def test_anything_else_is_refused(item: object) -> None:
    with pytest.raises(Rejected) as raised:
        command_of(item)
    assert raised.value.reason == "bad-import"


def test_the_item_that_was_sent_is_not_changed() -> None:
    item = {"grant": {"amount": 5}}
    command_of(item)
    assert item == {"grant": {"amount": 5}}
