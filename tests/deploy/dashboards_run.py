"""Every query of the dashboards against a running system: `python -m tests.deploy.dashboards_run --data DIR`.

Runs `tallymark demo` (events, quotas, webhooks, Stripe, invoices) with a real Prometheus that scrapes its workers, then
asks each expression and each statement: it must have data, with the labels of its legend. Draws what they answered.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pty
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.settings import Settings
from pipeline.stages import METRICS_FILE
from pipeline.stores.clickhouse.connect import connect
from tests.deploy import dashboards
from tests.deploy.dashboard_pictures import COLUMNS, Drawn, picture
from tests.deploy.prometheus_server import PrometheusServer, prometheus

DEMO_S, STOP_S = 900.0, 60.0
SCRAPED_S = 10.0  # a rate needs two scrapes of what came last
DAYS = 60  # of ClickHouse's rows
PICTURE = "pipeline.svg"  # deploy/grafana has a copy
SHOWN_ROWS = 2  # of the picture in the README
STEP_S, INTERVAL_S = 5, 20  # of the pictures, and of rates: the run is short
CONFIG = {
    "global": {"scrape_interval": "2s", "scrape_timeout": "2s"},
    "scrape_configs": [{"job_name": "tallymark", "file_sd_configs": [{"files": ["targets.json"]}]}],
}


@contextmanager
def demo(folder: Path, events: int) -> Iterator[subprocess.Popen[bytes]]:
    """`tallymark demo` in a terminal of its own, so that it stays; its output is in `demo.log`."""
    output = (folder / "demo.log").open("wb")
    leader, follower = pty.openpty()
    words = [
        sys.executable,
        "-m",
        "pipeline.cli",
        "demo",
        "--data",
        str(folder / "demo"),
        "--events",
        str(events),
    ]
    patient = os.environ | {"TALLYMARK_CLICKHOUSE_SILENCE_S": "60"}  # the machine may be slow
    child = subprocess.Popen(
        words, env=patient, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
    )
    os.close(follower)
    copying = subprocess.Popen(["cat"], stdin=leader, stdout=output, stderr=subprocess.DEVNULL)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        child.wait(STOP_S)
        os.close(leader)
        copying.kill()
        copying.wait()


def publish_targets(folder: Path) -> None:
    """The workers that run now, for Prometheus."""
    found = []
    for file in (folder / "demo/state").glob(f"*/{METRICS_FILE}"):
        address = re.search(r"http://([^/]+)/metrics", file.read_text())
        if address:
            stage = file.parent.name.rpartition("-")[0]
            found.append({"targets": [address[1]], "labels": {"stage": stage}})
    part = folder / "targets.part"
    part.write_text(json.dumps(found))
    part.replace(folder / "targets.json")


def wait_for_demo(folder: Path, child: subprocess.Popen[bytes]) -> None:
    """Until the demo has shown everything. Raises RuntimeError with the end of its output if it ends, or takes long."""
    deadline = time.monotonic() + DEMO_S
    while "The demo took" not in (text := (folder / "demo.log").read_text(errors="replace")):
        if child.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(text[-2000:])
        publish_targets(folder)
        time.sleep(0.5)


def ask_prometheus(server: PrometheusServer, start_s: float, end_s: float) -> tuple[list[Drawn], list[str]]:
    """What each panel shows, and what is wrong with it."""
    shown, wrong = [], []
    for one in dashboards.queries("expr"):
        expression = dashboards.promql(one.text, INTERVAL_S)
        found = server.query_range(expression, start_s, end_s, STEP_S)
        lines = {_named(one.legend, series["metric"]): _points(series["values"]) for series in found}
        lines = {name: points for name, points in lines.items() if points}
        shown.append(Drawn(one.board, one.panel, one.unit, one.description, lines, one.quiet))
        if bool(lines) == bool(one.quiet):
            wrong.append(f"{one.board}, {one.panel}: {'has' if lines else 'no'} data: {expression}")
        for label in re.findall(r"{{(\w+)}}", one.legend):
            if any(label not in series["metric"] for series in found):
                wrong.append(f"{one.board}, {one.panel}: a line has no label {label}")
    return shown, wrong


def _named(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda label: labels.get(label[1], "?"), legend)


def _points(values: list[list[Any]]) -> list[tuple[float, float]]:
    return [(float(at), float(value)) for at, value in values if math.isfinite(float(value))]


def ask_clickhouse(settings: Settings) -> tuple[list[Drawn], list[str]]:
    """The rows of each statement of the last DAYS days, and which has none. With a column `time` they are lines."""
    store = connect(settings.clickhouse, settings.clickhouse_password.get_secret_value())
    shown, wrong, now_s = [], [], int(time.time())
    for one in dashboards.queries("rawSql"):
        statement = dashboards.sql(one.text, now_s - DAYS * 86_400, now_s)
        columns = tuple(str(row[0]) for row in store.query(f"DESCRIBE ({statement})"))
        rows = store.query(statement)
        quiet = "no meter refuses an event that it matches" if one.panel == "Refused by a meter" else ""
        lines = _lines(rows) if columns[0] == "time" else {}
        cells = [] if lines else [tuple(_cell(value) for value in row) for row in rows]
        shown.append(Drawn(one.board, one.panel, one.unit, one.description, lines, quiet, cells, columns))
        if not rows and not quiet:
            wrong.append(f"{one.board}, {one.panel}: no rows: {one.text}")
    return shown, wrong


def _lines(rows: Iterable[tuple[Any, ...]]) -> dict[str, list[tuple[float, float]]]:
    """Rows of a time, a name and a value."""
    found: dict[str, list[tuple[float, float]]] = {}
    for at, name, value in rows:
        instant = at if isinstance(at, datetime) else datetime.fromisoformat(at)
        found.setdefault(str(name), []).append((instant.replace(tzinfo=UTC).timestamp(), float(value)))
    return found


def _cell(value: object) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def draw(folder: Path, shown: Sequence[Drawn]) -> None:
    """A picture of each dashboard, and PICTURE: full rows of health's panels that have data."""
    for name, document in dashboards.documents().items():
        panels = [one for one in shown if one.board == name]
        path = folder / name.replace(".json", ".svg")
        path.write_text(picture(document["title"], panels), "utf-8")
        print(path)
        if name == "health.json":
            titles = list(dict.fromkeys(one.panel for one in panels if not one.quiet))
            chosen = titles[: SHOWN_ROWS * COLUMNS]
            text = picture(document["title"], [one for one in panels if one.panel in chosen])
            (folder / PICTURE).write_text(text, "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a new folder")
    parser.add_argument("--events", type=int, default=60_000)
    given = parser.parse_args()
    folder = given.data.absolute()
    folder.mkdir(parents=True)
    (folder / "prometheus.yml").write_text(json.dumps(CONFIG))  # JSON is YAML
    (folder / "targets.json").write_text("[]")
    start_s = time.time()
    with prometheus(folder / "prometheus.yml", folder) as server, demo(folder, given.events) as child:
        wait_for_demo(folder, child)
        time.sleep(SCRAPED_S)
        values = tomllib.loads((folder / "demo/tallymark.toml").read_text())
        lines, wrong = ask_prometheus(server, start_s, time.time())
        rows, more = ask_clickhouse(Settings(**values))
    draw(folder, [*lines, *rows])
    quiet = sorted({f"{one.board}, {one.panel}: {one.quiet}" for one in (*lines, *rows) if one.quiet})
    print(
        f"{len(lines)} expressions, {len(rows)} statements; without data, as they should be:",
        *quiet,
        sep="\n  ",
    )
    print(*wrong, *more, sep="\n")
    sys.exit(1 if wrong or more else 0)


if __name__ == "__main__":
    main()
