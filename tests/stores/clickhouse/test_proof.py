"""What ClickHouse acknowledges is stored, or writing fails: on each store, for each way in which an insert can fail."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Unavailable
from pipeline.local import process
from pipeline.local.clickhouse import ChDB
from pipeline.stores.clickhouse.client import TABLES, ClickHouse, Columns, Parameters, Rows
from pipeline.stores.clickhouse.connect import connect
from pipeline.stores.clickhouse.presence import LOOKED_UP, absent
from pipeline.stores.clickhouse.proof import BLOCK_SPAN_S, NotStored, blocks, insert, new_insert_id, prove
from tests.flow.disk_full import fill, may_mount, small_disk
from tests.stores.clickhouse.conftest import real_server, wait_until_up

MARKS = (
    "CREATE TABLE marks (mark String, topic String, partition UInt32, insert_id UInt64{more})"
    " ENGINE = MergeTree ORDER BY mark"
)
BY_NAMESPACE = "SELECT namespace, count() FROM uniques FINAL GROUP BY namespace ORDER BY namespace"
DAY_S = 86_400
_databases = itertools.count()


class Swallowing:
    """A store that acknowledges inserts into one table and stores none of them, or only every second."""

    def __init__(self, store: ClickHouse, table: str, every: int = 1) -> None:
        self._store, self._table, self._every = store, table, every
        self._count = 0

    def insert(self, table: str, columns: Columns) -> None:
        if table == self._table:
            self._count += 1
            if self._count % self._every == 0:
                return
        self._store.insert(table, columns)

    def query(self, sql: str, parameters: Parameters | None = None) -> Rows:
        return self._store.query(sql, parameters)

    def ensure_schema(self) -> None:
        self._store.ensure_schema()

    def ping(self) -> None:
        self._store.ping()

    def interrupt(self) -> None:
        self._store.interrupt()

    def close(self) -> None:
        self._store.close()


def uniques(namespace: str, starts: list[int]) -> dict[str, Columns]:
    n = len(starts)
    columns: dict[str, list[Any]] = {
        "namespace": [namespace] * n,
        "meter_id": [1] * n,
        "subject": ["s"] * n,
        "dimensions": ["{}"] * n,
        "start": starts,
        "member": [f"{place:032x}" for place in range(n)],
    }
    return {"uniques": columns}


def marks(*names: str) -> dict[str, Columns]:
    n = len(names)
    return {"marks": {"mark": list(names), "topic": ["usage"] * n, "partition": [0] * n}}


def every_table(namespace: str, revision: int) -> dict[str, Columns]:
    """Two rows for each table."""
    event: Columns = {
        "namespace": [namespace] * 2,
        "time": [60, 3_000_000],
        "input_topic": ["events"] * 2,
        "input_partition": [0, 1],
        "input_offset": [7, 7],
        "revision": [revision] * 2,
    }
    window: Columns = {
        "namespace": [namespace] * 2,
        "meter_id": [1, 2**40],
        "subject": ["s", "it's \\ a\ttab"],
        "dimensions": ["{}", '{"a":"b"}'],
        "start": [60, 120],
        "part": [0, 1],
        "value": ["1", "2"],
        "revision": [revision] * 2,
    }
    sent: Columns = {
        "namespace": [namespace] * 2,
        "mapping": ["map", "it's \\ a\ttab"],
        "customer": ["c", "d"],
        "dimensions": ["{}", '{"a":"b"}'],
        "start": [3_600, 7_200],
        "end_at": [7_200, 10_800],
        "wanted": ["1", "1" + "0" * 40],
        "revision": [revision] * 2,
    }
    marked = marks(namespace, namespace + "c")
    return {
        "events": event,
        **uniques(namespace, [60, 120]),
        "windows": window,
        "stripe_usage": sent,
        **marked,
    }


def written(store: ClickHouse, tables: Mapping[str, Columns]) -> None:
    insert_id = new_insert_id()
    insert(store, tables, insert_id)
    prove(store, tables, insert_id)


def test_rows_that_are_stored_are_proved(store: ClickHouse, namespace: str) -> None:
    for tables in (every_table(namespace, 1), every_table(namespace, 1), uniques("", []), {}):
        written(store, tables)  # the same rows again replace the first ones and are rows of their own attempt


@pytest.mark.parametrize("table", sorted(TABLES))
def test_an_acknowledgement_without_rows_is_noticed(store: ClickHouse, namespace: str, table: str) -> None:
    with pytest.raises(NotStored, match=f"acknowledged 2 rows of {table}, but 2 of them are not stored"):
        written(Swallowing(store, table), every_table(namespace, 1))
    written(store, every_table(namespace, 1))


def test_a_part_of_an_insert_is_noticed(store: ClickHouse, namespace: str) -> None:
    """Three blocks, since their months are too many for one, of which the second is not stored."""
    with pytest.raises(
        NotStored, match=r"acknowledged 200 rows of uniques, but [4-9]\d of them are not stored"
    ):
        written(
            Swallowing(store, "uniques", every=2), uniques(namespace, [31 * DAY_S * n for n in range(200)])
        )


@pytest.mark.parametrize("table", ["events", "windows", "stripe_usage"])
def test_an_older_revision_proves_nothing(store: ClickHouse, namespace: str, table: str) -> None:
    written(store, every_table(namespace, revision=5))
    with pytest.raises(NotStored, match=f"acknowledged 2 rows of {table}, but 2 of them are not stored"):
        written(Swallowing(store, table), every_table(namespace, revision=6))


@pytest.mark.parametrize("table", sorted(TABLES))
def test_rows_that_a_newer_revision_has_replaced_are_proved(
    store: ClickHouse, namespace: str, table: str
) -> None:
    """As a rebuild writes them: a merge may have removed them before they are counted, as here."""
    written(store, every_table(namespace, revision=5))
    written(Swallowing(store, table), every_table(namespace, revision=4))
    written(Swallowing(store, table), every_table(namespace, revision=5))


def test_many_rows_are_looked_up(store: ClickHouse, namespace: str) -> None:
    many = uniques(namespace, list(range(0, 60 * 3 * LOOKED_UP, 60)))
    written(store, many)
    assert absent(store, "uniques", many["uniques"]) == 0
    shifted = uniques(namespace, list(range(60, 60 * 3 * LOOKED_UP + 60, 60)))
    assert absent(store, "uniques", shifted["uniques"]) == 3 * LOOKED_UP  # each member is in another minute


def test_ids_grow_and_are_different() -> None:
    ids = [new_insert_id() for _ in range(1_000)]
    assert len(set(ids)) == len(ids)
    assert [one >> 12 for one in ids] == sorted(one >> 12 for one in ids)
    assert max(ids) < 2**63


def test_more_partitions_than_one_insert_may_have_are_stored(store: ClickHouse, namespace: str) -> None:
    written(store, uniques(namespace, [month * 31 * DAY_S for month in range(500)]))
    asked = {"namespace": namespace}
    sql = "SELECT count(), uniqExact(toYYYYMM(start)) FROM uniques WHERE namespace = {namespace:String}"
    assert store.query(sql, asked) == [(500, 500)]


@given(st.lists(st.integers(0, 2**32 - 1), max_size=60))
def test_blocks_are_the_rows_in_parts_of_few_months(times: list[int]) -> None:
    columns = {"start": times, "row": list(range(len(times)))}
    parts = list(blocks(columns, "start"))
    assert sorted(row for part in parts for row in zip(part["start"], part["row"], strict=True)) == sorted(
        zip(times, range(len(times)), strict=True)
    )
    assert all(max(part["start"], default=0) - min(part["start"], default=0) < BLOCK_SPAN_S for part in parts)
    assert list(blocks(columns, None)) == [columns]


@contextmanager
def database_of_its_own(url: str, create: str) -> Iterator[ClickHouse]:
    """A store in a database that holds the one table that `create` makes."""
    name = f"own_{next(_databases)}"
    main = connect(url)
    main.query("CREATE DATABASE " + name)
    store = connect(url.rpartition("/")[0] + "/" + name)
    store.query(create)
    yield store
    store.close()
    main.close()


def test_a_violated_constraint_is_no_acknowledgement(chdb: str) -> None:
    with database_of_its_own(chdb, MARKS.format(more=", CONSTRAINT short CHECK length(mark) < 3")) as store:
        written(store, marks("a"))
        with pytest.raises(Unavailable, match="469"):
            insert(store, marks("abc"), new_insert_id())
        assert store.query("SELECT mark FROM marks") == [("a",)]


@pytest.mark.parametrize("kind", ["chdb", "clickhouse_server"])
def test_too_many_parts_are_no_acknowledgement(request: pytest.FixtureRequest, kind: str) -> None:
    url = request.getfixturevalue(kind)
    wait_until_up(connect(url))
    settings = " SETTINGS parts_to_throw_insert = 1, parts_to_delay_insert = 1, max_delay_to_insert = 1"
    with database_of_its_own(url, MARKS.format(more="") + settings) as store:
        written(store, marks("a"))
        with pytest.raises(Unavailable, match="252"):
            for _ in range(3):
                insert(store, marks("b"), new_insert_id())


@pytest.mark.services
@pytest.mark.skipif(not may_mount(), reason="needs root and mount(8)")
def test_a_full_disk_of_a_server_is_no_acknowledgement(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", 24) as disk, real_server(tmp_path) as url:
        _writes_when_the_disk_is_free(connect(url), fill, disk, "75")


@pytest.mark.skipif(not may_mount(), reason="needs root and mount(8)")
def test_a_nearly_full_disk_of_chdb_is_no_acknowledgement(tmp_path: Path) -> None:
    """Fully full, its process ends: see tests.local.test_free_space."""
    with small_disk(tmp_path / "clickhouse", 96) as disk:
        server = ChDB(tmp_path, process.free_port()).start()
        _writes_when_the_disk_is_free(connect(server.url), lambda disk: fill(disk, 20 << 20), disk, "243")
        server.kill()


def _writes_when_the_disk_is_free(
    store: ClickHouse, fill_up: Callable[[Path], Path], disk: Path, code: str
) -> None:
    wait_until_up(store)
    written(store, uniques("before", [0]))
    ballast = fill_up(disk)
    rows = uniques("full", [minute * 60 for minute in range(20_000)])
    for _ in range(2):
        with pytest.raises(Unavailable, match=f"code {code}"):
            insert(store, rows, new_insert_id())  # the insert itself fails, without a proof
        store.ensure_schema()  # changes nothing: an ALTER would leave an empty definition
    assert store.query(BY_NAMESPACE) == [("before", 1)]
    ballast.unlink()
    written(store, rows)
    assert store.query(BY_NAMESPACE) == [("before", 1), ("full", 20_000)]
