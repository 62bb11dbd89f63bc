"""A full disk under ClickHouse, Kafka or the workers' state loses nothing and counts nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flow.disk_full import FOLDERS, Plan, fill, may_mount, run, small_disk

pytestmark = pytest.mark.skipif(not may_mount(), reason="needs root and mount(8)")


def test_a_disk_is_filled_to_its_last_byte(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2) as disk:
        ballast = fill(disk)
        with pytest.raises(OSError, match="No space left"):
            (disk / "one").write_bytes(b"x" * 4097)
        ballast.unlink()
        (disk / "one").write_bytes(b"x" * 4097)


def test_what_is_stored_is_what_was_counted(tmp_path: Path) -> None:
    plans = [Plan(what, 8_000, 600, 10.0, seed) for seed, what in enumerate(sorted(FOLDERS))]
    outcome = run(plans, tmp_path / "stack")
    assert outcome.differences == []
    assert sum(outcome.fates.values()) == 8_000 * len(plans)
    assert outcome.recovered_s.keys() == FOLDERS.keys()
    assert outcome.windows
