"""The chDB process: what it keeps over kill -9 and a stop, what it responds, what it refuses."""

from __future__ import annotations

import http.client
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.local import process
from pipeline.local.clickhouse import ChDB
from pipeline.stores.clickhouse.client import ClickHouse, Patience
from pipeline.stores.clickhouse.connect import connect
from tests.fixtures.patience import PATIENCE_S

COUNT = "SELECT count(), uniqExact(member) FROM uniques FINAL"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ChDB]:
    server = ChDB(tmp_path, process.free_port()).start()
    yield server
    server.kill()


def rows(first: int, count: int) -> dict[str, list[object]]:
    return {
        "namespace": ["n"] * count,
        "meter_id": [1] * count,
        "subject": ["s"] * count,
        "start": [0] * count,
        "member": [str(number) for number in range(first, first + count)],
    }


def request(server: ChDB, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """An answer of the server to a client with the password, unless `headers` say otherwise."""
    given = {"X-ClickHouse-Key": server.password}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection(process.HOST, server.port, timeout=30)
    connection.request(method, path, body, given)
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def insert_until_gone(store: ClickHouse, answered: list[int]) -> None:
    try:
        for batch in range(100_000):
            store.insert("uniques", rows(batch * 10, 10))
            answered.append(batch)
    except Unavailable:
        return


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_every_answered_insert_is_there_after_the_process_ends(server: ChDB, end: str) -> None:
    store = connect(server.url)
    store.ensure_schema()
    answered: list[int] = []
    writer = threading.Thread(target=insert_until_gone, args=(store, answered))
    writer.start()
    while len(answered) < 30:
        assert writer.is_alive()
        writer.join(0.01)
    getattr(server, end)()
    writer.join()
    server.start()
    count, distinct = store.query(COUNT)[0]
    assert count == distinct and count % 10 == 0  # each insert wholly or not at all
    assert len(answered) * 10 <= count <= len(answered) * 10 + 20  # with the one in progress, and its retry


def test_sigterm_ends_in_good_order_with_idle_connections(tmp_path: Path) -> None:
    server = ChDB(tmp_path, process.free_port())
    running = server.spawn()
    try:
        server.wait_until_up()
        connect(server.url).ensure_schema()
        os.kill(running.pid, signal.SIGTERM)
        assert running.wait(PATIENCE_S) == 0
    finally:
        server.kill()


def test_a_store_continues_after_a_restart(server: ChDB) -> None:
    store = connect(server.url)
    store.ensure_schema()
    store.insert("uniques", rows(0, 1))
    server.stop()
    with pytest.raises(Unavailable):
        store.ping()
    server.start()
    store.insert("uniques", rows(1, 1))
    assert store.query(COUNT) == [(2, 2)]


def test_two_processes_cannot_share_a_folder(server: ChDB, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="exited"):
        ChDB(tmp_path, process.free_port()).start()
    connect(server.url).ensure_schema()


def test_it_speaks_as_clickhouse_does(server: ChDB) -> None:
    assert request(server, "GET", "/?query=SELECT%201") == (200, b"1\n")
    assert request(server, "POST", "/", b"SELECT 1, 'a' FORMAT CSV") == (200, b'1,"a"\n')
    assert request(server, "POST", "/?query=SELECT%20{x:String}&param_x=a%5C%5C'%5Ctb") == (
        200,
        b"a\\\\\\'\\tb\n",
    )
    assert request(server, "GET", "/") == (200, b"Ok.\n")
    status, text = request(server, "POST", "/", b"SELECT nothing")
    assert status == 400 and text.startswith(b"Code: 47.")
    assert request(server, "POST", "/?database=no-such", b"SELECT 1")[0] == 400


@pytest.mark.parametrize("key", ["", "wrong", "é"])
def test_without_the_password_nothing_is_answered(server: ChDB, key: str) -> None:
    for method, path in (("GET", "/?query=SELECT%201"), ("POST", "/?query=SELECT%201&password=x")):
        status, text = request(server, method, path, b"x" * 100_000, X_ClickHouse_Key=key)
        assert status == 403 and text.startswith(b"Code: 516.")
    with pytest.raises(Unavailable, match="516"):
        connect(server.url.replace(server.password, key or "-")).ping()


def test_the_password_is_kept_for_its_owner_alone(server: ChDB, tmp_path: Path) -> None:
    assert (tmp_path / "clickhouse.secret").stat().st_mode & 0o777 == 0o600
    assert ChDB(tmp_path, 1).password == server.password
    assert not any(
        server.password in line for line in Path(f"/proc/{server.pid}/cmdline").read_text().split("\0")
    )


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('/etc/hostname', LineAsString)",
        "SELECT file('/etc/hostname')",
        "SELECT * FROM '/etc/hostname'",
        "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
        "SELECT 1 INTO OUTFILE 'OUT'",
        "SELECT 1; SELECT 2",
        "INSERT INTO FUNCTION file('OUT', CSV, 'a UInt8') VALUES (1)",
        "CREATE DATABASE fs ENGINE = Filesystem('/etc')",
        "SELECT * FROM {path:Identifier}",
        "SELECT hostname FROM default.x",
    ],
)
def test_sql_reaches_no_file_and_no_host(server: ChDB, tmp_path: Path, sql: str) -> None:
    connect(server.url).ensure_schema()
    out = tmp_path / "out"
    for database in ("system", "tallymark"):
        status, text = request(
            server,
            "POST",
            f"/?database={database}&param_path=/etc/hostname",
            sql.replace("OUT", str(out)).encode(),
        )
        assert status in (400, 403), text
        assert not out.exists()
    assert request(server, "POST", "/?database=default", b"SELECT 1")[0] == 400


def test_rows_cannot_end_an_insert_and_begin_a_statement(server: ChDB) -> None:
    store = connect(server.url)
    store.ensure_schema()
    path = "/?database=tallymark&query=INSERT%20INTO%20marks%20(mark)%20FORMAT%20JSONCompactColumns"
    assert request(server, "POST", path, b'[["a"]]; DROP TABLE marks')[0] == 400
    assert request(server, "POST", path, b'[["; DROP TABLE marks"]]')[0] == 200
    assert store.query("SELECT mark FROM marks") == [("; DROP TABLE marks",)]


def test_a_limit_on_the_answer_is_kept(server: ChDB) -> None:
    connect(server.url).ensure_schema()
    small = connect(server.url, patience=Patience(answer_bytes=1_000, execution_s=5))
    assert small.query("SELECT 1") == [(1,)]
    with pytest.raises(Rejected, match="too large") as refusal:
        small.query("SELECT number FROM numbers(1000)")
    assert refusal.value.reason == "answer-too-large"
    assert len(connect(server.url).query("SELECT number FROM numbers(1000)")) == 1_000


def test_a_browsers_page_is_refused(server: ChDB) -> None:
    assert request(server, "POST", "/", b"SELECT 1", Origin="https://example.org")[0] == 403
    assert request(server, "GET", "/?query=SELECT%201", Sec_Fetch_Mode="no-cors")[0] == 403


def test_it_listens_on_the_loopback_address_only(server: ChDB) -> None:
    listening = Path(f"/proc/{server.pid}/net/tcp").read_text().splitlines()[1:]
    addresses = [line.split()[1] for line in listening if line.split()[3] == "0A"]
    assert [one.split(":")[0] for one in addresses if one.endswith(f":{server.port:04X}")] == ["0100007F"]


def test_a_wrong_insert_leaves_the_connection_usable(server: ChDB) -> None:
    store = connect(server.url)
    store.ensure_schema()
    with pytest.raises(Broken):
        store.insert("uniques", rows(0, 2) | {"start": ["x", "y"]})
    store.insert("uniques", rows(0, 1))
    assert store.query(COUNT) == [(1, 1)]
