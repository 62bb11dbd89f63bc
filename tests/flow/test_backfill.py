"""Meters made in the middle of a stream, on real services, workers killed: all is as if they had always been there."""

from __future__ import annotations

import importlib.util
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.cli.http import authorization
from pipeline.stores.kafka.definitions import CountsView
from tests.fixtures.absent import absent
from tests.fixtures.patience import PATIENCE_S
from tests.flow.arrived_records import arrived
from tests.flow.meters import METERS
from tests.flow.prove import EXIT_UNAVAILABLE, compare_meter, decided, settle
from tests.flow.recount import recount
from tests.flow.sender import send
from tests.flow.stack_process import COUNTING, StackProcess
from tests.flow.stream import stream
from tests.flow.test_story import PARTS

EVENTS = 30_000
SEED = 11
FIRST = [meter for meter in METERS if meter["slug"] in ("api_requests", "llm_tokens", "sessions")]
LATER = [meter for meter in METERS if meter not in FIRST]


@pytest.fixture(scope="module", autouse=True)
def local_stack() -> None:
    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    if missing:
        absent(f"the local stack is not installed: {', '.join(missing)}")


def apply(stack: StackProcess, name: str, meters: list[dict[str, object]]) -> None:
    path = stack.folder / f"{name}.json"
    path.write_text(json.dumps(meters))
    deadline = time.monotonic() + PATIENCE_S
    while (done := stack.command("meters", "apply", str(path))).returncode == EXIT_UNAVAILABLE:
        assert time.monotonic() < deadline, done.stderr
    assert done.returncode == 0, done.stderr


def backfills(stack: StackProcess, slug: str) -> dict[str, Any]:
    answer = httpx.get(
        f"{stack.settings.api_url}/api/v1/meters/{slug}/backfill",
        headers=authorization(stack.settings),
        timeout=PATIENCE_S,
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def wait_until(stack: StackProcess, counts: CountsView, events: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while decided(counts) < events:
        assert time.monotonic() < deadline, f"{decided(counts)} of {events} events have a fate"
        time.sleep(0.05)


def killings(stack: StackProcess) -> Iterator[str]:
    """Kills a worker, once it runs, stage after stage."""
    for stage in ("backfill", "aggregate", "backfill", "sink", "backfill", "aggregate"):
        while stack.signal(stage, signal.SIGKILL) is None:
            time.sleep(0.1)
        yield stage


def test_meters_made_in_the_middle_of_a_stream_count_all_of_it(tmp_path: Path) -> None:
    hurt: Counter[str] = Counter()
    with StackProcess(tmp_path / "stack", stages=COUNTING) as stack, CountsView(stack.settings) as counts:
        apply(stack, "first", FIRST)
        records = stream(EVENTS, SEED, time.time_ns())
        sender = threading.Thread(target=lambda: send(stack.settings.kafka, records), daemon=True)
        sender.start()
        wait_until(stack, counts, EVENTS // 3)
        apply(stack, "later", LATER)
        for stage in killings(stack):
            hurt[stage] += 1
            time.sleep(0.5)
        wait_until(stack, counts, EVENTS)
        sender.join()
        deadline = time.monotonic() + PATIENCE_S
        progress = {str(meter["slug"]): backfills(stack, str(meter["slug"])) for meter in METERS}
        while any(one["state"] != "done" for one in progress.values()):
            assert time.monotonic() < deadline, progress
            time.sleep(0.5)
            progress = {slug: backfills(stack, slug) for slug in progress}
        fates = settle(stack)
        expected = recount(arrived(stack.settings.kafka), METERS)
        assert fates == dict(expected.fates)
        differences: list[str] = []
        compared: Counter[str] = Counter()
        for meter in METERS:
            differences += compare_meter(stack, meter, expected.windows, compared)
        assert differences == []
    assert hurt["backfill"] == 3
    assert all(
        progress[str(meter["slug"])]["counted"] > 1000 for meter in LATER if meter["slug"] != "credits"
    )
    assert all(one["read"] == one["events"] for one in progress.values())
