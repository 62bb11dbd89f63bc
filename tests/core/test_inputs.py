"""Every member of every command's body acts or is refused, and every member that is read is in the table."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.core.control import DECIDERS, Decision
from tests.core.inputs import CASES, ELSEWHERE, SHOWN, WITHOUT_BODY, decided, effect, shown

Path = tuple[str | int, ...]
FREE = {
    "metadata",
    "groupBy",
    "dimensions",
    "customHeaders",
    "meterGroupByFilters",
    "advancedMeterGroupByFilters",
}  # any names
REMOVED = object()


def objects(body: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each object of a body whose members have fixed names, with its path."""
    if isinstance(body, dict):
        yield path, body
        for name, value in body.items():
            if name not in FREE:
                yield from objects(value, (*path, name))
    elif isinstance(body, list):
        for place, value in enumerate(body):
            yield from objects(value, (*path, place))


def changed(body: dict[str, Any], path: Path, value: object) -> dict[str, Any]:
    """The body with another value at a path, or without it."""
    made = copy.deepcopy(body)
    at: Any = made
    for step in path[:-1]:
        at = at[step]
    if value is REMOVED:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return made


def others(value: object) -> list[object]:
    """Values near another one, of its type."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1]
    if isinstance(value, str):
        return [value + "x", value[:-1] + ("y" if value[-1:] != "y" else "z")]
    if isinstance(value, list):
        return [value[:-1], [*value, *value]]
    return [{}]


def test_every_command_is_in_the_table() -> None:
    assert set(CASES) | ELSEWHERE | WITHOUT_BODY == set(DECIDERS)


BODIES = [(kind, number) for kind, case in CASES.items() for number in range(len(case.bodies))]


@pytest.mark.parametrize(("kind", "number"), BODIES)
def test_the_table_says_what_is_accepted(kind: str, number: int) -> None:
    decision, again = (decided(kind, CASES[kind].bodies[number]) for _ in range(2))
    assert (decision.reply.error, decision.reply.detail) == ("", "")
    assert (effect(decision), shown(decision)) == (
        effect(again),
        shown(again),
    )  # what differs is not random


@pytest.mark.parametrize("kind", CASES)
def test_a_name_that_is_unknown_is_refused_at_every_level_and_the_others_are_in_the_table(kind: str) -> None:
    tried: dict[Path, set[str]] = {}
    read: dict[Path, set[str]] = {}
    for body in CASES[kind].bodies:
        for path, inner in objects(body):
            tried.setdefault(path, set()).update(inner)
            reply = decided(kind, changed(body, (*path, "zz"), 1)).reply
            assert reply.error.startswith("bad-") and "unknown member 'zz'" in reply.detail, (path, reply)
            names = re.search(r": it may have (.+)$", reply.detail)
            assert names is not None
            read.setdefault(path, set()).update(names[1].split(", "))
    if kind == "meter.update":  # the others may be sent back as they are
        read[()] = {"name", "description", "groupBy", "metadata"}
    assert tried == read


@pytest.mark.parametrize(("kind", "number"), BODIES)
def test_every_member_acts_or_is_refused(kind: str, number: int) -> None:
    body = CASES[kind].bodies[number]
    base = decided(kind, body)
    paths = [((*path, name), value) for path, inner in objects(body) for name, value in inner.items()]
    idle = [path for path, value in paths if not acts(kind, body, base, path, value)]
    assert idle == [], "accepted, and changes nothing"


def acts(kind: str, body: dict[str, Any], base: Decision, path: Path, value: object) -> bool:
    """Whether the body without this member, or with another value, is refused or decided otherwise."""
    seen = shown if path[0] in SHOWN.get(kind.partition(".")[0], ()) else effect
    for other in (REMOVED, *others(value)):
        decision = decided(kind, changed(body, path, other))
        if decision.reply.error or seen(decision) != seen(base):
            return True
    return False


@pytest.mark.parametrize(
    ("kind", "member"),
    [
        *(("customer.create", name) for name in ("id", "createdAt", "updatedAt", "deletedAt", "annotations")),
        *(("feature.create", name) for name in ("id", "createdAt", "archivedAt")),
        *(("subject.upsert", name) for name in ("id", "createdAt", "currentPeriodStart")),
        *(("endpoint.create", name) for name in ("id", "createdAt", "disabledReason", "previousSecret")),
        *(("portal-token.create", name) for name in ("id", "createdAt", "expired")),
        *(("meter.update", name) for name in ("id", "createdAt", "revision")),
        *(("app.update", name) for name in ("createdAt", "status", "stripeAccountId", "maskedAPIKey")),
        *(("stripe-meter.create", name) for name in ("id", "meterId", "stripeMeterId", "createdAt")),
        *(("stripe-meter.update", name) for name in ("meterId", "updatedAt")),
        *(("customer.update", name) for name in ("createdAt", "updatedAt")),
        *(("endpoint.update", name) for name in ("createdAt", "disabledAt")),
    ],
)
def test_what_the_server_writes_is_no_clients_to_set(kind: str, member: str) -> None:
    body = CASES[kind].bodies[0]
    reply = decided(kind, {**body, member: "2001-01-01T00:00:00Z"}).reply
    assert reply.error.startswith("bad-") and f"{member} is written by the server" in reply.detail
    assert decided(kind, {**body, member: None}).reply.error == ""
