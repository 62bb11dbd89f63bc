"""More partitions under a running installation: every event before and after counts once, and none is lost."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from pipeline.engine.chunk import Position
from pipeline.stores.kafka.definitions import CountsView
from tests.fixtures.patience import until
from tests.flow.arrived_records import arrived
from tests.flow.meters import METERS
from tests.flow.prove import apply_meters, compare_meter, settle
from tests.flow.recount import recount
from tests.flow.sender import send
from tests.flow.stack_process import COUNTING, StackProcess
from tests.flow.stream import stream
from tests.flow.test_story import local_stack  # noqa: F401 - skips where the stack is not installed

EVENTS = 4_000
NO_STAGE = ("none",)


def test_events_before_and_after_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYMARK_PARTITIONS", "2")
    folder, now_ns = tmp_path / "stack", time.time_ns()
    first = list(stream(EVENTS, 7, now_ns))
    with StackProcess(folder, stages=COUNTING) as stack:
        apply_meters(stack)
        send(stack.settings.kafka, iter(first))
        settle(stack)
        refused = stack.command("topics", "raise", "--partitions", "4")
        assert refused.returncode == 2 and "workers run" in refused.stderr
    with StackProcess(folder, stages=NO_STAGE) as stack:
        # Every event again, and new ones, wait in their topic while the number is raised.
        send(stack.settings.kafka, iter(first))
        send(stack.settings.kafka, stream(EVENTS, 8, now_ns))
        refused = stack.command("topics", "raise", "--partitions", "3")
        assert refused.returncode == 2 and "3 is not a multiple" in refused.stderr
        raised = until(lambda: _raised(stack))
        assert "partitions now, instead of 2" in raised
        again = stack.command("topics", "raise", "--partitions", "4")
        assert again.returncode == 0 and "4 partitions already" in again.stdout
    monkeypatch.setenv("TALLYMARK_EVENT_PARTITIONS", "4")
    with StackProcess(folder, stages=COUNTING) as stack:
        fates = settle(stack)
        expected = recount(arrived(stack.settings.kafka), METERS)
        assert fates == dict(expected.fates)
        compared: Counter[str] = Counter()
        differences = [
            one for meter in METERS for one in compare_meter(stack, meter, expected.windows, compared)
        ]
        assert differences == [] and all(compared.values())
        assert _used(stack) == {Position("events-unique", partition) for partition in range(4)}


def _raised(stack: StackProcess) -> str:
    """The output of the command, once the workers that ran before have left their groups."""
    done = stack.command("topics", "raise", "--partitions", "4")
    assert done.returncode == 0 or "workers run" in done.stderr, done.stderr
    return done.stdout


def _used(stack: StackProcess) -> set[Position]:
    """The partitions of `events-unique` from which aggregate has counted events."""
    with CountsView(stack.settings) as counts:
        counts.wait_loaded()
        records = counts.snapshot().values()
        return {
            Position(one.topic, one.partition) for one in records if one.stage == "aggregate" and one.counts
        }
