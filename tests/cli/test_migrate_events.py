"""Stored events of an OpenMeter are sent in the order of their time, and each one that is refused is counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.migrate_events import EventMigration, PositionFile, first_usage_s
from pipeline.cli.migrate_report import MigrationReport
from pipeline.cli.migrate_sides import OpenMeter, TargetApi
from pipeline.errors import Rejected
from pipeline.settings import Settings
from tests.fixtures.openmeter import FakeOpenMeter, served, text_of

DAY_S = 86_400
NOW_S = 100 * DAY_S
METER = {"slug": "n", "aggregation": "COUNT", "eventType": "x"}


class ScriptedTarget(TargetApi):
    """Takes events as the API does: old ones with a warning, a request with an invalid one not at all."""

    def __init__(self) -> None:
        super().__init__(Settings.model_construct(), "http://source")
        self.taken: list[str] = []
        self.dies_at = -1

    def ingest(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        ids = [event["id"] for event in events]
        if self.dies_at >= 0 and len(self.taken) + len(ids) > self.dies_at:
            raise KeyboardInterrupt
        if "invalid" in ids:
            raise Rejected("bad-event", "invalid event: no subject", {"event": ids.index("invalid")})
        self.taken += ids
        old = sum(id.startswith("old") for id in ids)
        text = {
            "subject": "a",
            "code": "beyond-horizon",
            "detail": "older than 5 s: will be rejected",
            "events": old,
        }
        return [text] if old else []


@pytest.fixture
def fake() -> FakeOpenMeter:
    return FakeOpenMeter(meters=[METER])


@pytest.fixture
def source(fake: FakeOpenMeter) -> Iterator[OpenMeter]:
    with served(fake) as url:
        yield OpenMeter(url)


def event(id: str, at_s: int) -> dict[str, Any]:
    return {"id": id, "source": "/a", "type": "x", "subject": "s", "time": text_of(at_s), "data": {}}


def moved(
    source: OpenMeter, target: ScriptedTarget, position: Path | None = None, dry_run: bool = False
) -> MigrationReport:
    """The report of one run over the last ten days."""
    report = MigrationReport(dry_run)
    from_s = NOW_S - 10 * DAY_S
    place = PositionFile(position, "http://source", from_s)
    work = EventMigration(source, target, report, 5 * DAY_S, NOW_S)
    work.run(from_s, NOW_S, place, lambda done_s, sent: None)
    return report


def test_events_are_sent_in_the_order_of_their_time(fake: FakeOpenMeter, source: OpenMeter) -> None:
    fake.events = [event(str(number), NOW_S - 1 - number * 3600) for number in range(230)]
    target = ScriptedTarget()
    report = moved(source, target)
    assert target.taken == [str(number) for number in range(229, -1, -1)]
    assert (report.events, report.failed) == (230, False)


def test_an_invalid_event_is_named_and_the_others_are_sent(fake: FakeOpenMeter, source: OpenMeter) -> None:
    fake.events = [event(id, NOW_S - 10) for id in ("a", "invalid", "b")]
    target = ScriptedTarget()
    report = moved(source, target)
    assert (target.taken, report.events) == (["a", "b"], 2)
    assert [(one.key, one.state) for one in report.outcomes] == [("/a invalid", "refused")]


def test_events_beyond_the_horizon_are_counted_and_stop_the_position(
    fake: FakeOpenMeter, source: OpenMeter, tmp_path: Path
) -> None:
    fake.events = [event("old1", NOW_S - 8 * DAY_S), event("old2", NOW_S - 8 * DAY_S), event("a", NOW_S - 10)]
    target, file = ScriptedTarget(), tmp_path / "position"
    report = moved(source, target, file)
    (outcome,) = report.outcomes
    assert (report.events, outcome.state, outcome.number) == (1, "refused", 2)
    assert "TALLYMARK_HORIZON_S" in outcome.sentence and "older than 5 s" in outcome.sentence
    assert moved(source, target, file).outcomes[-1].number == 2  # a repeat sends them again


def test_a_dry_run_sends_nothing_and_counts_what_is_too_old(fake: FakeOpenMeter, source: OpenMeter) -> None:
    fake.events = [event("old", NOW_S - 8 * DAY_S), event("a", NOW_S - 10)]
    target = ScriptedTarget()
    report = moved(source, target, dry_run=True)
    assert (target.taken, report.events, report.outcomes[0].number) == ([], 1, 1)


def test_a_repeat_continues_at_the_position(fake: FakeOpenMeter, source: OpenMeter, tmp_path: Path) -> None:
    fake.events = [event(str(day), NOW_S - day * DAY_S - 10) for day in range(6)]
    target, file = ScriptedTarget(), tmp_path / "position"
    target.dies_at = 3
    with pytest.raises(KeyboardInterrupt):
        moved(source, target, file)
    target.dies_at = -1
    report = moved(source, target, file)
    assert target.taken == ["5", "4", "3", "2", "1", "0"]
    assert "taken over by an earlier run" in report.outcomes[0].sentence


def test_the_position_of_another_migration_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "position"
    PositionFile(file, "http://one", 60).write(120)
    later = PositionFile(file, "http://one", 90)  # the default start moves with the clock
    assert later.read() == 120
    with pytest.raises(Rejected, match="events between would be missing"):
        PositionFile(file, "http://one", 180).read()
    later.write(180)
    assert PositionFile(file, "http://one", 60).read() == 180
    for other in (PositionFile(file, "http://two", 60), PositionFile(file, "http://one", 0)):
        with pytest.raises(Rejected, match="position of another migration"):
            other.read()
    file.write_text("{}")
    with pytest.raises(Rejected, match="holds no position"):
        PositionFile(file, "http://one", 0).read()


def test_the_first_usage_of_a_meter(fake: FakeOpenMeter, source: OpenMeter) -> None:
    assert first_usage_s(source, "n") is None
    fake.events = [event("a", 3_700), event("b", NOW_S)]
    assert first_usage_s(source, "n") == 3_660
