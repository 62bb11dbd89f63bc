"""A plan that a killed run left as a draft is published, and plans with the same content stay two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from pipeline.cli import migrate_definitions
from pipeline.cli.http import Params
from pipeline.cli.migrate_report import MigrationReport
from pipeline.cli.migrate_sides import OpenMeter, TargetApi, idempotency_key
from pipeline.errors import Rejected
from pipeline.settings import Settings
from tests.fixtures.openmeter import FakeOpenMeter, served

Row = dict[str, Any]
PLAN: Row = {"key": "pro", "name": "Pro", "currency": "USD", "billingCadence": "P1M", "phases": []}


class ListedTarget(TargetApi):
    """Shows what it was given, by path, and records each change. A change that is sent again is done once."""

    def __init__(self, lists: dict[str, list[Row]]) -> None:
        super().__init__(Settings.model_construct(), "http://source")
        self.lists, self.refusal = lists, ""
        self.changes: dict[str, tuple[str, str, Any]] = {}

    def get(self, path: str, params: Params = (), version: int = 1) -> Any:
        return self.lists.get(path, [])

    def pages(self, path: str, params: Params = (), version: int = 1) -> list[Row]:
        return self.lists.get(path, [])

    def send(
        self, method: str, path: str, body: Any = None, params: Params = (), version: int = 1, part: str = ""
    ) -> Any:
        if self.refusal:
            raise Rejected("bad-request", self.refusal)
        key = idempotency_key(method, path, list(params), body, part)
        self.changes.setdefault(key, (method, path, dict(params) or body))
        return {**(body or {}), "id": f"made{list(self.changes).index(key)}"}

    @property
    def sent(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path, _ in self.changes.values()]


@pytest.fixture
def fake() -> FakeOpenMeter:
    return FakeOpenMeter()


@pytest.fixture
def source(fake: FakeOpenMeter) -> Iterator[OpenMeter]:
    with served(fake) as url:
        yield OpenMeter(url)


def planned(source: OpenMeter, ours: Iterable[Row], dry_run: bool = False) -> tuple[ListedTarget, list[str]]:
    """What was sent, and the states of the report, when some plans of the target are here."""
    target, report = ListedTarget({"/plans": list(ours)}), MigrationReport(dry_run)
    migrate_definitions.plans(source, target, report)
    return target, [one.state for one in report.outcomes]


def test_a_draft_that_was_not_published_is(fake: FakeOpenMeter, source: OpenMeter) -> None:
    fake.plans = [PLAN | {"status": "active", "version": 1}]
    draft = PLAN | {"id": "01D", "status": "draft"}
    target, states = planned(source, [draft])
    assert (target.sent, states) == ([("POST", "/plans/01D/publish")], ["exists"])
    target, states = planned(source, [draft], dry_run=True)
    assert (target.sent, states) == ([], ["exists"])


def test_after_it_the_draft_of_the_source_is_created(fake: FakeOpenMeter, source: OpenMeter) -> None:
    fake.plans = [PLAN | {"status": "active", "version": 1}, PLAN | {"status": "draft", "version": 2}]
    target, states = planned(source, [PLAN | {"id": "01D", "status": "draft"}])
    assert target.sent == [("POST", "/plans/01D/publish"), ("POST", "/plans")]
    assert states == ["exists", "created"]


@pytest.mark.parametrize(
    "ours",
    [
        [PLAN | {"id": "01D", "status": "draft", "name": "Ours"}],
        [PLAN | {"id": "01A", "status": "active"}, PLAN | {"id": "01D", "status": "draft"}],
    ],
)
def test_another_draft_is_not_published(fake: FakeOpenMeter, source: OpenMeter, ours: list[Row]) -> None:
    fake.plans = [PLAN | {"status": "active", "version": 1}]
    target, _ = planned(source, ours)
    assert ("POST", "/plans/01D/publish") not in target.sent


def test_a_plan_and_its_draft_with_the_same_content_are_two(fake: FakeOpenMeter, source: OpenMeter) -> None:
    fake.plans = [PLAN | {"status": "active", "version": 1}, PLAN | {"status": "draft", "version": 2}]
    target, _ = planned(source, [])
    assert target.sent == [("POST", "/plans"), ("POST", "/plans/made0/publish"), ("POST", "/plans")]
