"""One alert on its whole way: a worker's metrics, Prometheus with deploy/alerts.yml, Alertmanager, a webhook."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.agents import health
from pipeline.stores.readiness import ServiceAnswer
from tests.deploy.alertmanager_start import configured
from tests.deploy.prometheus_server import alertmanager, prometheus
from tests.deploy.runbook_text import DEPLOY

pytestmark = pytest.mark.services
MOST_S = 90.0


@contextmanager
def receiver() -> Iterator[tuple[str, queue.Queue[dict[str, Any]]]]:
    """A webhook: its address, and what was posted to it."""
    posted: queue.Queue[dict[str, Any]] = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", posted
    finally:
        server.shutdown()
        server.server_close()


def alertmanager_config(folder: Path, url: str) -> Path:
    """The configuration that containers use with this receiver, and no patience."""
    path, _ = configured(folder, url)
    config = yaml.safe_load(path.read_text())
    config["route"] |= {"group_wait": "0s", "group_interval": "1s"}
    path.write_text(yaml.safe_dump(config))
    return path


def prometheus_config(folder: Path, manager: str, worker: str) -> Path:
    """deploy/prometheus.yml with another target; of the rules only how long they wait is changed."""
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
    (folder / "alerts.yml").write_text(yaml.safe_dump(rules))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [manager]
    job, _ = config["scrape_configs"]  # the other one is the API
    config["scrape_configs"] = [job]
    del job["dns_sd_configs"], job["relabel_configs"]
    job["static_configs"] = [{"targets": [worker], "labels": {"stage": "live"}}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def of_redis(posted: queue.Queue[dict[str, Any]]) -> dict[str, Any]:
    """The next message about Redis; this process is no whole worker, so there are other alerts about it."""
    while True:
        message = posted.get(timeout=MOST_S)
        if message["groupLabels"] == {"alertname": "TallymarkRedisUnavailable", "stage": "live"}:
            return message


def test_an_alert_reaches_the_webhook_and_is_resolved(tmp_path: Path) -> None:
    answers = {"kafka": ServiceAnswer(True), "redis": ServiceAnswer(False, "MISCONF, says Redis")}
    worker = health.serve("127.0.0.1", 0, lambda: dict(answers))
    target = worker.removeprefix("http://").removesuffix("/metrics")
    with (
        receiver() as (url, posted),
        alertmanager(alertmanager_config(tmp_path, url), tmp_path) as manager,
        prometheus(prometheus_config(tmp_path, manager, target), tmp_path),
    ):
        fired = of_redis(posted)
        assert fired["status"] == "firing"
        (alert,) = fired["alerts"]
        assert alert["labels"]["severity"] == "critical"
        assert alert["annotations"]["runbook_url"] == "deploy/runbook.md#tallymarkredisunavailable"

        answers["redis"] = ServiceAnswer(True)
        assert of_redis(posted)["status"] == "resolved"
