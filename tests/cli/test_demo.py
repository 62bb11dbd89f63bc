"""The demo's events and its folder. The show itself is run by hand and by CI as `tallymark demo`."""

from __future__ import annotations

import fcntl
from collections import Counter
from pathlib import Path

import pytest

from pipeline.cli import demo, demo_events
from pipeline.core.metering.event import Limits, accept
from pipeline.core.metering.meter import define
from pipeline.errors import Rejected

NOW_MS = 1_780_000_000_000


def lines(count: int, seed: int = 7) -> list[bytes]:
    return list(demo_events.events(count, seed, NOW_MS * 1_000_000))


def test_the_meters_are_good() -> None:
    made = [define(body, revision) for revision, body in enumerate(demo_events.METERS, 1)]
    assert {meter.event_type for meter in made} == {"api.request", "llm.completion", "storage.sample"}


def test_the_same_arguments_give_the_same_events() -> None:
    assert lines(500) == lines(500)
    assert lines(500) != lines(500, seed=8)


def test_there_are_repeats_conflicts_and_broken_ones() -> None:
    fates: Counter[str] = Counter()
    first: dict[bytes, bytes] = {}
    for place, line in enumerate(lines(20_000)):
        try:
            found = accept(line, [], "default", "events", 0, place, NOW_MS, Limits())
        except Rejected:
            fates["rejected"] += 1
            continue
        content = first.setdefault(found.identity, found.content)
        fates[
            "first" if content is found.content else "repeat" if content == found.content else "conflict"
        ] += 1
    assert 50 < fates["rejected"] < 150
    assert 600 < fates["repeat"] < 900
    assert 0 < fates["conflict"] < 30


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(Rejected, match="not empty"):
        demo.fresh_folder(tmp_path)
    assert (tmp_path / "precious").exists()


def test_the_default_folder_is_wiped_but_not_under_a_running_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    demo.FOLDER.mkdir(parents=True)
    with (demo.FOLDER / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Rejected, match="Another"):
            demo.fresh_folder(None)
        assert demo.FOLDER.exists()
    assert demo.fresh_folder(None) == demo.FOLDER
    assert not demo.FOLDER.exists()
