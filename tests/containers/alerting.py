"""An alert that the running Alertmanager posts to the receiver of ALERT_WEBHOOK_URL.

Owns: the receiver, which is in this process, and the alert. Does not own: the rules (tests/deploy).
"""

from __future__ import annotations

import json
import os
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.containers.compose import wait_for

ALERT = {
    "labels": {"alertname": "TallymarkContainers", "severity": "critical", "stage": "none"},
    "annotations": {"summary": "A test."},
}


def check() -> None:
    """Raises Failed when an alert does not arrive with its labels."""
    with _receiver() as posted:
        manager = f"http://127.0.0.1:{os.environ['TALLYMARK_ALERTMANAGER_PORT']}/api/v2/alerts"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(manager, json.dumps([ALERT]).encode(), headers)
        urllib.request.urlopen(request, timeout=10).close()
        wait_for(
            "Alertmanager posts an alert", lambda: any(ALERT["labels"] == labels for labels in list(posted))
        )


@contextmanager
def _receiver() -> Iterator[list[dict[str, str]]]:
    """Listens where ALERT_WEBHOOK_URL leads to; the labels of the alerts that were posted."""
    posted: list[dict[str, str]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            posted.extend(one["labels"] for one in body["alerts"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    port = urlsplit(os.environ["ALERT_WEBHOOK_URL"]).port or 80
    with ThreadingHTTPServer(("", port), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield posted
        finally:
            server.shutdown()
