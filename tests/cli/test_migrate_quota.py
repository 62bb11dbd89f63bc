"""Grants of a killed run are voided like those of the source, and grants that are here twice are named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.cli.migrate import _Run
from pipeline.cli.migrate_quota import QuotaMigration
from pipeline.cli.migrate_report import MigrationReport
from pipeline.cli.migrate_sides import OpenMeter
from pipeline.core.migration.grant_carry import MARK
from pipeline.core.values.timestamp import minute_s
from tests.cli.test_migrate_definitions import ListedTarget
from tests.fixtures.openmeter import FakeOpenMeter, served, text_of

Row = dict[str, Any]
SINCE, VOIDED = "2026-03-10T00:00:00Z", "2026-03-15T00:00:00Z"
NOW_S = minute_s("2026-03-20T12:00:00Z")
ENTITLEMENT: Row = {
    "id": "01E", "type": "metered", "customerId": "01C", "customerKey": "acme", "featureKey": "tokens",
    "activeFrom": SINCE, "measureUsageFrom": SINCE, "usagePeriod": {"interval": "MONTH", "anchor": SINCE},
    "currentUsagePeriod": {"from": SINCE, "to": "2026-04-10T00:00:00Z"},
}  # fmt: skip
GRANT: Row = {"id": "01G", "entitlementId": "01E", "amount": 5, "effectiveAt": SINCE, "voidedAt": VOIDED}


@pytest.fixture
def fake() -> FakeOpenMeter:
    return FakeOpenMeter(customers=[{"id": "01C", "key": "acme"}], entitlements=[ENTITLEMENT], grants=[GRANT])


@pytest.fixture
def source(fake: FakeOpenMeter) -> Iterator[OpenMeter]:
    with served(fake) as url:
        yield OpenMeter(url)


def ours(id: str, mark: str = "01G", **more: Any) -> Row:
    return {
        "id": id, "entitlementId": "ourE", "effectiveAt": SINCE, "priority": 1, "voidedAt": None,
        "metadata": {MARK: mark},
    } | more  # fmt: skip


def listed(*grants: Row) -> ListedTarget:
    entitlement = ENTITLEMENT | {"id": "ourE", "customerId": "ourC"}
    return ListedTarget({
        "/customers": [{"id": "ourC", "key": "acme"}], "/entitlements": [entitlement], "/grants": list(grants)
    })  # fmt: skip


def outcomes(source: OpenMeter, target: ListedTarget, dry_run: bool = False) -> list[tuple[str, str]]:
    """State and sentence of each grant."""
    report = MigrationReport(dry_run)
    QuotaMigration(source, target, report, NOW_S, 0).run()
    return [(one.state, one.sentence) for one in report.outcomes if one.kind == "grant"]


def test_a_grant_that_was_not_voided_is(source: OpenMeter) -> None:
    target = listed(ours("a"))
    assert outcomes(source, target) == [
        ("note", f"It is voided here at {VOIDED}, as at the source."),
        ("exists", ""),
    ]
    assert list(target.changes.values()) == [("DELETE", "/grants/a", {"at": VOIDED})]


def test_both_parts_of_one_that_recurs_are_voided(fake: FakeOpenMeter, source: OpenMeter) -> None:
    recurrence = {"interval": "DAY", "anchor": SINCE}
    fake.grants = [GRANT | {"effectiveAt": "2026-03-01T00:00:00Z", "recurrence": recurrence}]
    target = listed(ours("a"), ours("b", "01G@rest"), ours("c", "01H"))
    outcomes(source, target)
    assert target.sent == [("DELETE", "/grants/a"), ("DELETE", "/grants/b")]


def test_a_dry_run_names_the_command(source: OpenMeter) -> None:
    target = listed(ours("a"))
    ((state, sentence),) = outcomes(source, target, dry_run=True)
    assert state == "differs" and f"`tallymark grants void a --at {VOIDED}`" in sentence
    assert target.sent == []


def test_a_refused_void_differs(source: OpenMeter) -> None:
    target = listed(ours("a"))
    target.refusal = "grant cannot be voided before the current usage period"
    ((state, sentence),) = outcomes(source, target)
    assert state == "differs" and target.refusal in sentence


@pytest.mark.parametrize("more", [{}, {"voidedAt": VOIDED}])
def test_what_is_voided_on_both_sides_stays(fake: FakeOpenMeter, source: OpenMeter, more: Row) -> None:
    fake.grants = [GRANT | {"voidedAt": more.get("voidedAt")}]
    target = listed(ours("a", **more))
    assert (outcomes(source, target), target.sent) == ([("exists", "")], [])


def test_grants_that_are_here_twice_differ(fake: FakeOpenMeter, source: OpenMeter) -> None:
    fake.grants = [GRANT | {"voidedAt": None}]
    found = outcomes(source, listed(ours("a"), ours("b")))
    assert [state for state, _ in found] == ["differs", "exists"]
    assert f"`tallymark grants void b --at {SINCE}`" in found[0][1]
    for voided in ((SINCE, None), (None, SINCE)):  # the user has voided one of them
        target = listed(*(ours(id, voidedAt=at) for id, at in zip("ab", voided, strict=True)))
        assert outcomes(source, target) == [("exists", "")]


def test_what_ended_while_events_were_sent_has_ended(fake: FakeOpenMeter, source: OpenMeter) -> None:
    fake.entitlements = [ENTITLEMENT | {"type": "boolean", "activeTo": text_of(NOW_S + 3600)}]
    times = iter([NOW_S, NOW_S + 7200, NOW_S + 7200])
    report = MigrationReport(dry_run=False)
    run = _Run(source, listed(), report, None, None, 0, lambda: next(times))
    run.entitlements()
    assert [(one.kind, one.state) for one in report.outcomes] == [("entitlement", "ended")]


def test_balances_are_compared_of_what_has_not_ended_since(fake: FakeOpenMeter, source: OpenMeter) -> None:
    fake.entitlements = [ENTITLEMENT | {"activeTo": text_of(NOW_S + 3600)}]
    times = iter([NOW_S, NOW_S + 7200])
    report = MigrationReport(dry_run=False)
    _Run(source, listed(), report, None, None, 0, lambda: next(times)).compare()
    assert report.compared == []
