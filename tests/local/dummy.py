"""Stands in for a stage and for the API: answers GET with 200 until SIGTERM; `deaf` ignores SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


def port() -> int:
    if "TALLYMARK_METRICS_PORT" in os.environ:
        return int(os.environ["TALLYMARK_METRICS_PORT"])
    values = tomllib.loads(Path(os.environ["TALLYMARK_CONFIG"]).read_text())
    return int(values["api_port"])


if __name__ == "__main__":
    deaf = "deaf" in sys.argv
    signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else lambda *_: os._exit(0))
    HTTPServer(("127.0.0.1", port()), Answer).serve_forever()
