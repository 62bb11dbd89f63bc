"""Portal tokens: short, invalidated one by one or all of a subject, forgotten when long ended."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.control import decide
from pipeline.core.definitions.index import DefinitionIndex
from pipeline.core.values.ulid import is_ulid
from tests.fixtures.control_log import AT, AT_MS, Log

HOUR_MS = 3_600_000
METER: dict[str, Any] = {"slug": "calls", "eventType": "request", "aggregation": "COUNT"}


def test_it_lives_an_hour_unless_less_is_asked_for() -> None:
    log = Log()
    log.do("meter.apply", METER)
    token = log.do("portal-token.create", {"subject": "ann", "allowedMeterSlugs": ["calls"]})
    assert is_ulid(token["id"])
    assert token == {
        "id": token["id"],
        "subject": "ann",
        "allowedMeterSlugs": ["calls"],
        "expiresAt": "2026-01-01T01:00:00.000Z",
        "createdAt": AT,
        "updatedAt": AT,
    }
    brief = log.do("portal-token.create", {"subject": "ann", "expiresAt": "2026-01-01T00:05:00Z"})
    assert brief["expiresAt"] == "2026-01-01T00:05:00.000Z" and "allowedMeterSlugs" not in brief


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"subject": ""},
        {"subject": "ann", "allowedMeterSlugs": ["nothing"]},
        {"subject": "ann", "expiresAt": AT},
        {"subject": "ann", "expiresAt": "2026-01-01T02:00:00Z"},
        {"subject": "ann", "scope": "admin"},
    ],
)
def test_what_is_refused(body: dict[str, Any]) -> None:
    assert Log().refused("portal-token.create", body)[0] == "bad-portal-token"


def test_invalidating_one_and_all_of_a_subject() -> None:
    log = Log()
    one, two, other = (log.do("portal-token.create", {"subject": who}) for who in ("ann", "ann", "bob"))
    assert log.do("portal-token.invalidate", {"id": one["id"]}) == {"invalidated": 1}
    assert log.do("portal-token.invalidate", {"subject": "ann"}) == {"invalidated": 1}
    assert log.do("portal-token.invalidate", {"subject": "ann"}) == {"invalidated": 0}
    assert log.do("portal-token.invalidate", {"subject": "unknown"}) == {"invalidated": 0}
    for token, ended in ((one, True), (two, True), (other, False)):
        assert ("invalidatedAt" in log.body("portal-token", token["id"])) == ended
    assert log.refused("portal-token.invalidate", {})[0] == "bad-portal-token"
    assert log.refused("portal-token.invalidate", {"id": other["id"], "subject": "ann"})[0] == "not-found"
    assert log.refused("portal-token.invalidate", {"id": other["id"]}, namespace="other")[0] == "not-found"


def test_a_decision_does_not_depend_on_the_order_in_which_tokens_were_read() -> None:
    log = Log()
    for _ in range(9):
        log.do("portal-token.create", {"subject": "ann"})
    backwards = DefinitionIndex(dict(reversed(log.state.items())))
    command = log.command("portal-token.invalidate", {"subject": "ann"})
    assert decide(backwards, command, AT_MS) == decide(log.catalog, command, AT_MS)


def test_ended_tokens_are_forgotten_and_their_number_stays_bounded() -> None:
    log = Log()
    at_ms, most = AT_MS, 0
    for _ in range(200):
        log.do("portal-token.create", {"subject": "ann"}, at_ms=at_ms)
        log.do("portal-token.invalidate", {"subject": "ann"}, at_ms=at_ms)
        at_ms += HOUR_MS
        most = max(most, len(log.state))
    assert most <= 27  # those of a day, the hour that they live, and the new one
    assert len(log.catalog.many("default", "portal-token/subject", "ann")) == len(log.state)
    assert log.revision == 400
