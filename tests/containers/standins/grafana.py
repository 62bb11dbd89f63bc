"""The stand-in for Grafana: `/api/health` answers 200 if its provisioning is readable, and names the dashboards."""

from __future__ import annotations

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import yaml

PROVISIONING = Path("/etc/grafana/provisioning")


def provisioned() -> dict[str, object]:
    """What Grafana would load. Raises OSError or ValueError for a file that is missing or not readable."""
    assert os.environ["GF_SECURITY_ADMIN_PASSWORD"]
    (sources,) = [yaml.safe_load(file.read_text()) for file in PROVISIONING.glob("datasources/*.yml")]
    (providers,) = [yaml.safe_load(file.read_text()) for file in PROVISIONING.glob("dashboards/*.yml")]
    folder = Path(providers["providers"][0]["options"]["path"])
    Path("/var/lib/grafana/grafana.db").write_text("")
    return {
        "datasources": [one["uid"] for one in sources["datasources"]],
        "dashboards": sorted(json.loads(file.read_text())["title"] for file in folder.glob("*.json")),
    }


class Answer(BaseHTTPRequestHandler):
    """The only path."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(provisioned()).encode())

    def log_message(self, format: str, *args: object) -> None:
        return


signal.signal(
    signal.SIGTERM, lambda number, frame: sys.exit(0)
)  # it is the first process: nothing else ends it
HTTPServer(("", 3000), Answer).serve_forever()
