"""How fast usage is answered over HTTP: `python -m tests.bench.query --windows 10000000`.

A real broker, one API process, chDB with windows that ClickHouse makes by itself: a meter with 1,000 subjects and two
models over 90 days. `whale` has a window every minute, the others one now and then. Each kind of query is asked one
after the other over one keep-alive connection, with another subject, customer or range each time; the first one is not
measured.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from pipeline.errors import Unavailable
from pipeline.local.clickhouse import ChDB
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.connect import connect
from tests.bench.http_ingest import served
from tests.fixtures.control_stage import ControlStage

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, SUBJECTS, MODELS = 90, 1_000, ("large", "small")
METER = {
    "slug": "tokens",
    "eventType": "prompt",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
}
_SLICE = 1_000_000
_SELECT = (
    "INSERT INTO windows (namespace, meter, meter_id, subject, dimensions, dimension_names, dimension_values, start,"
    " value, count, latest_order, revision, received_at_ms, stored_at_ms)"
    " SELECT 'default', 'tokens', 1, {subject}, concat('{{\"model\":\"', model, '\"}}'), ['model'], [model],"
    " toDateTime({first_s} + ({minute}) * 60, 'UTC'), toDecimal128(number % 1000, 18) / 8, 3, '', number, 1, 1"
    " FROM (SELECT number, if(number % 2 = 0, 'large', 'small') AS model FROM numbers({begin}, {count}))"
)


def fill(store: ClickHouse, windows: int) -> None:
    """Distinct windows: the whale's, then those of the others, spread evenly over the days."""
    minutes = DAYS * 1440
    whale = min(windows, minutes * 2)
    each = (windows - whale) // (SUBJECTS - 1) // 2 + 1
    if each > minutes:
        raise SystemExit(f"at most {minutes * 2 * SUBJECTS:,} windows")
    parts = [("'whale'", "intDiv(number, 2)", 0, whale)]
    subject = f"concat('customer-', toString(intDiv(intDiv(number, 2), {each})))"
    parts += [
        (subject, f"intDiv(modulo(intDiv(number, 2), {each}) * {minutes}, {each})", begin, min(_SLICE, left))
        for begin in range(0, windows - whale, _SLICE)
        if (left := windows - whale - begin)
    ]
    for subject, minute, begin, count in parts:
        made = {"subject": subject, "minute": minute, "begin": begin, "count": count}
        store.query(_SELECT.format(first_s=int(FIRST.timestamp()), **made))


def queries(customers: list[str]) -> dict[str, Callable[[random.Random], dict[str, Any]]]:
    """Kinds of queries by name: the parameters of one, chosen by dice."""

    def month(dice: random.Random, days: int = 30) -> dict[str, Any]:
        begin = FIRST + timedelta(days=dice.randrange(DAYS - days + 1))
        return {"from": begin.isoformat(), "to": (begin + timedelta(days=days)).isoformat()}

    def by_day(dice: random.Random) -> dict[str, Any]:
        return month(dice) | {"windowSize": "DAY", "windowTimeZone": "Europe/Berlin"}

    return {
        "a month by day, one subject": lambda d: (
            by_day(d) | {"subject": f"customer-{d.randrange(SUBJECTS - 1)}"}
        ),
        "a month by day, one customer": lambda d: by_day(d) | {"filterCustomerId": d.choice(customers)},
        "a month by day, the whale": lambda d: by_day(d) | {"subject": "whale"},
        "a month by day and model, the whale": lambda d: by_day(d) | {"subject": "whale", "groupBy": "model"},
        "a day by hour, one subject": lambda d: (
            month(d, 1) | {"windowSize": "HOUR", "subject": f"customer-{d.randrange(SUBJECTS - 1)}"}
        ),
        "a month in total, one subject": lambda d: (
            month(d) | {"subject": f"customer-{d.randrange(SUBJECTS - 1)}"}
        ),
        "a day in total, all subjects": lambda d: month(d, 1),
        "a month by day, all subjects": by_day,
        "a month in total, each subject": lambda d: month(d) | {"groupBy": "subject"},
    }


def ask(client: httpx.Client, params: dict[str, Any]) -> float:
    """Seconds that the answer took."""
    began_s = time.perf_counter()
    response = client.get("/meters/tokens/query", params=params)
    taken_s = time.perf_counter() - began_s
    if response.status_code != 200 or not response.json()["data"]:
        raise RuntimeError(f"{params}: {response.text[:500]}")
    return taken_s


def measured(client: httpx.Client, times: int) -> Iterator[str]:
    """A line for each kind of query."""
    made = [f"customer-{2 * number}" for number in range(20)]
    customers = []
    for number, subject in enumerate(made):
        keys = [subject, f"customer-{2 * number + 1}"]
        body = {"name": subject, "usageAttribution": {"subjectKeys": keys}}
        customers.append(client.post("/customers", json=body).raise_for_status().json()["id"])
    for name, choose in queries(customers).items():
        dice = random.Random(1)
        ask(client, choose(dice))
        taken_ms = sorted(1000 * ask(client, choose(dice)) for _ in range(times))
        p99 = taken_ms[min(len(taken_ms) - 1, round(0.99 * len(taken_ms)))]
        yield f"{name:<38} p50 {statistics.median(taken_ms):8.1f} ms   p99 {p99:8.1f} ms"


def main() -> None:
    """Prints p50 and p99 of each kind of query."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.query", description=__doc__)
    parser.add_argument("--windows", type=int, default=10_000_000)
    parser.add_argument("--times", type=int, default=100, help="queries of each kind")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tallymark-bench-") as name, served(Path(name)) as (_, settings):
        server = ChDB(Path(name), urlsplit(settings.clickhouse).port or 0).start()
        try:
            store = connect(settings.clickhouse)
            _wait_until_up(store)
            began_s = time.perf_counter()
            fill(store, arguments.windows)
            taken_s = time.perf_counter() - began_s
            rows = store.query("SELECT count() FROM windows")[0][0]
            print(f"{rows:,} windows made in {taken_s:.0f} s", flush=True)
            url = f"http://127.0.0.1:{settings.api_port}/api/v1"
            with ControlStage(settings), httpx.Client(base_url=url, timeout=120) as client:
                client.post("/meters", json=METER).raise_for_status()
                for line in measured(client, arguments.times):
                    print(line, flush=True)
        finally:
            server.stop()


def _wait_until_up(store: ClickHouse) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            store.ensure_schema()
            return
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    main()
