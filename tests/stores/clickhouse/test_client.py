"""The contract of a store, on each kind: exact values, bound parameters, replaced rows, kinds of errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.local import process
from pipeline.stores.clickhouse.client import INSERT_ID, TABLES, ClickHouse
from pipeline.stores.clickhouse.connect import connect
from pipeline.stores.clickhouse.schema import declared_columns, ensure_tables

HOSTILE = [
    "", " ", "'", "\\", "\\'", '"', "%", "%s", "%(name)s", "{name:String}", "{}", "\\N", "NULL", "\t\n\r\0\b\f",
    "'; DROP TABLE events; --", "\\x41", "é", "日本", "🎉", "\u202e", "a" * 100_000, "--", "/*", "\x7f", "[1,2]",
    "\u2028",
]  # fmt: skip
DECIMALS = [
    "0", "1", "-1", "0.1", "123.4567890123456789", "0.000000000000000001", "-0.000000000000000001",
    "99999999999999999999.999999999999999999", "-99999999999999999999.999999999999999999", "9007199254740993",
]  # fmt: skip


def windows(namespace: str, values: list[str], revision: int = 1, **others: Any) -> dict[str, list[Any]]:
    n = len(values)
    columns: dict[str, list[Any]] = {
        "namespace": [namespace] * n,
        "meter": ["m"] * n,
        "meter_id": [1] * n,
        "subject": [f"s{place}" for place in range(n)],
        "dimensions": ["{}"] * n,
        "dimension_names": [[] for _ in range(n)],
        "dimension_values": [[] for _ in range(n)],
        "start": [1_763_000_040] * n,
        "value": values,
        "count": [1] * n,
        "latest_order": [""] * n,
        "revision": [revision] * n,
        "received_at_ms": [1] * n,
        "stored_at_ms": [1] * n,
    }
    return columns | others


def uniques(namespace: str, subjects: list[str]) -> dict[str, list[Any]]:
    columns = windows(namespace, ["0"] * len(subjects), subject=subjects)
    kept = ("namespace", "meter_id", "subject", "dimensions", "dimension_names", "dimension_values", "start")
    return {name: columns[name] for name in kept} | {"member": ["00" * 16] * len(subjects)}


def test_text_comes_back_as_it_went_in(store: ClickHouse, namespace: str) -> None:
    store.insert("uniques", uniques(namespace, HOSTILE))
    rows = store.query(
        "SELECT subject FROM uniques FINAL WHERE namespace = {namespace:String}", {"namespace": namespace}
    )
    assert sorted(rows) == sorted((text,) for text in HOSTILE)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_parameters_are_values_never_text(store: ClickHouse, namespace: str, text: str) -> None:
    asked = {"text": text, "list": [text, "'"], "number": 7, "numbers": [0, 4_000_000_000]}
    rows = store.query(
        "SELECT {text:String}, {list:Array(String)}, {number:UInt32}, {numbers:Array(UInt32)}, '100%'", asked
    )
    assert [(row[0], list(row[1]), row[2], list(row[3]), row[4]) for row in rows] == [
        (text, [text, "'"], 7, [0, 4_000_000_000], "100%")
    ]


def test_decimals_are_exact_and_the_callers_lists_stay(store: ClickHouse, namespace: str) -> None:
    columns = windows(namespace, list(DECIMALS))
    store.insert("windows", columns)
    assert columns["value"] == DECIMALS
    rows = store.query(
        "SELECT toString(value) FROM windows FINAL WHERE namespace = {namespace:String} ORDER BY subject",
        {"namespace": namespace},
    )
    assert [row[0].rstrip("0").rstrip(".") if "." in row[0] else row[0] for row in rows] == DECIMALS


def test_the_higher_revision_stands_whatever_the_order(store: ClickHouse, namespace: str) -> None:
    for revision, value in ((2, "20"), (3, "30"), (1, "10"), (3, "30")):
        store.insert("windows", windows(namespace, [value], revision))
    rows = store.query(
        "SELECT toString(sum(value)), count() FROM windows FINAL WHERE namespace = {namespace:String}",
        {"namespace": namespace},
    )
    assert [(float(total), count) for total, count in rows] == [(30.0, 1)]


def test_ensure_schema_again_changes_nothing(store: ClickHouse, namespace: str) -> None:
    store.insert("windows", windows(namespace, ["1"]))
    store.ensure_schema()
    asked = {"namespace": namespace}
    assert store.query("SELECT count() FROM windows FINAL WHERE namespace = {namespace:String}", asked) == [
        (1,)
    ]


def test_no_rows_is_no_insert(store: ClickHouse, namespace: str) -> None:
    store.insert("windows", windows(namespace, []))
    asked = {"namespace": namespace}
    assert store.query("SELECT count() FROM windows WHERE namespace = {namespace:String}", asked) == [(0,)]


def test_threads_share_a_store(store: ClickHouse, namespace: str) -> None:
    def work(number: int) -> list[tuple[Any, ...]]:
        store.insert("uniques", uniques(namespace, [f"s{number}"]))
        return store.query("SELECT {number:UInt32}", {"number": number})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(40)))
    assert answers == [[(number,)] for number in range(40)]
    asked = {"namespace": namespace}
    assert store.query("SELECT count() FROM uniques FINAL WHERE namespace = {namespace:String}", asked) == [
        (40,)
    ]


@pytest.mark.parametrize(
    "sql", ["SELECT nothing FROM windows", "SELEKT 1", "SELECT toDate('x')", "SELECT {missing:String}"]
)
def test_our_own_bad_sql_is_broken(store: ClickHouse, sql: str) -> None:
    with pytest.raises(Broken):
        store.query(sql)
    store.ping()


def test_tables_not_made_yet_are_waited_for(store: ClickHouse) -> None:
    with pytest.raises(Unavailable, match="when the sink starts"):
        store.query("SELECT 1 FROM not_made_yet")


def test_a_name_that_is_not_ours_is_broken(store: ClickHouse, namespace: str) -> None:
    for table, columns in (
        ("system.tables", {"name": ["x"]}),
        ("windows; DROP TABLE windows", windows(namespace, ["1"])),
        ("windows", windows(namespace, ["1"]) | {"value) VALUES (1": ["1"]}),
        ("windows", windows(namespace, ["1"], subject=["a", "b"])),
    ):
        with pytest.raises(Broken):
            store.insert(table, columns)


@pytest.mark.parametrize("value", ["1" * 21, "nan", ""])
def test_a_value_that_does_not_fit_is_broken_and_leaves_nothing(
    store: ClickHouse, namespace: str, value: str
) -> None:
    with pytest.raises(Broken):
        store.insert("windows", windows(namespace, ["1", value]))
    asked = {"namespace": namespace}
    assert store.query("SELECT count() FROM windows WHERE namespace = {namespace:String}", asked) == [(0,)]


@pytest.mark.parametrize("scheme", ["clickhouse", "chdb+http"])
def test_a_server_that_is_not_there_is_unavailable(scheme: str) -> None:
    store = connect(f"{scheme}://127.0.0.1:{process.free_port()}/tallymark")
    for call in (store.ping, store.ensure_schema, lambda: store.query("SELECT 1")):
        with pytest.raises(Unavailable):
            call()
    with pytest.raises(Unavailable):
        store.insert("windows", windows("n", ["1"]))


@pytest.mark.parametrize(
    "url", ["clickhouse://", "ftp://127.0.0.1/x", "clickhouse://h:9000/a-b", "chdb+http:///x"]
)
def test_a_url_that_names_no_store_is_rejected(url: str) -> None:
    with pytest.raises(Rejected) as refusal:
        connect(url)
    assert refusal.value.reason == "bad-setting"


def test_a_column_that_an_older_table_lacks_is_added(store: ClickHouse, namespace: str) -> None:
    store.query("ALTER TABLE uniques DROP COLUMN insert_id" if _is_old(store) else _WITHOUT_ID)
    store.ensure_schema()
    store.insert("uniques", uniques(namespace, ["s"]) | {"insert_id": [7]})
    asked = {"namespace": namespace}
    assert store.query(
        "SELECT toUInt32(insert_id) FROM uniques WHERE namespace = {namespace:String}", asked
    ) == [(7,)]


_WITHOUT_ID = "ALTER TABLE uniques DROP INDEX IF EXISTS by_insert, DROP COLUMN insert_id"


def _is_old(store: ClickHouse) -> bool:
    return str(store.query("SELECT version()")[0][0]).startswith("18.")


def test_what_is_there_is_not_made_again(store: ClickHouse) -> None:
    asked: list[str] = []

    class Asked:
        def query(self, sql: str, parameters: Any = None) -> Any:
            asked.append(sql)
            return store.query(sql, parameters)

    store.ensure_schema()
    ensure_tables(cast(ClickHouse, Asked()))
    assert asked and all(sql.startswith("SELECT") for sql in asked)


def test_on_a_nearly_full_disk_no_table_is_changed() -> None:
    class Full:
        def query(self, sql: str, parameters: Any = None) -> Any:
            assert sql.startswith("SELECT"), sql
            answers = {"version()": [("26.9.1",)], "free_space": [(5 << 20,)]}
            return next((rows for word, rows in answers.items() if word in sql), [])

    with pytest.raises(Unavailable, match="5 MiB free"):
        ensure_tables(cast(ClickHouse, Full()))


def test_every_column_is_declared_once() -> None:
    declared = declared_columns()
    found: dict[str, set[str]] = {}
    for table, name, _ in declared:
        found.setdefault(table, set()).add(name)
    assert found == {table: {*columns, INSERT_ID} for table, columns in TABLES.items()}
    assert len(declared) == sum(map(len, found.values()))
