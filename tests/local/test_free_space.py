"""A full disk under the local ClickHouse: its process ends before it damages anything, and comes back whole."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pipeline.errors import Unavailable
from pipeline.local import process
from pipeline.local.clickhouse import ChDB
from pipeline.local.free_space import EXIT_FULL, SpaceWatch
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.connect import connect
from pipeline.stores.clickhouse.proof import insert, new_insert_id, prove
from tests.fixtures.patience import PATIENCE_S
from tests.flow.disk_full import fill, may_mount, small_disk

pytestmark = pytest.mark.skipif(not may_mount(), reason="needs root and mount(8)")
COUNT = "SELECT count(), uniqExact(member), sum(length(subject)) FROM uniques FINAL"
ROWS = 2_000


def write(store: ClickHouse, batch: int) -> None:
    """Writes a batch of rows and proves that it is stored."""
    n = ROWS
    columns = {
        "namespace": ["n"] * n,
        "subject": ["s" * 40] * n,
        "dimensions": ["{}"] * n,
        "start": [0] * n,
        "member": [f"{batch * n + place:032x}" for place in range(n)],
    }
    rows, insert_id = {"uniques": columns}, new_insert_id()
    insert(store, rows, insert_id)
    prove(store, rows, insert_id)


def test_all_that_was_proved_is_there_after_the_disk_was_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "clickhouse", 128) as disk:
        server = ChDB(tmp_path, process.free_port())
        running = server.spawn()
        server.wait_until_up()
        store = connect(server.url)
        store.ensure_schema()
        proved: list[int] = []

        def work() -> None:
            try:
                for batch in range(100_000):
                    write(store, batch)
                    proved.append(batch)
            except Unavailable:
                return

        writer = threading.Thread(target=work)
        writer.start()
        while len(proved) < 20:  # merges are in progress
            writer.join(0.01)
        ballast = fill(disk)
        writer.join()
        assert running.wait(PATIENCE_S) == EXIT_FULL
        assert "has less than 8 MiB free" in server.log.read_text()

        server.start()  # the disk is still full: what is stored can be read, nothing can be written
        rows, distinct, letters = connect(server.url).query(COUNT)[0]
        assert rows == distinct >= len(proved) * ROWS and letters == rows * 40
        with pytest.raises(Unavailable, match="243"):
            write(connect(server.url), 200_000)

        ballast.unlink()
        write(connect(server.url), 200_000)
        assert connect(server.url).query(COUNT)[0][0] == rows + ROWS
        server.kill()


def test_only_a_disk_that_becomes_full_is_noticed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        ballast = fill(disk)
        seen = threading.Semaphore(0)
        watch = SpaceWatch(disk, seen.release)
        assert not seen.acquire(timeout=0.3), "it was full before"
        for _ in range(2):
            ballast.unlink()
            while not watch.has_room:
                pass
            ballast = fill(disk)
            assert seen.acquire(timeout=PATIENCE_S)
        watch.close()
