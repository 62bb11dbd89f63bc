"""A worker's small HTTP server: `/metrics` for Prometheus, `/ready` and `/alive` for a supervisor or Kubernetes.

`/alive` asks no service: a worker whose ClickHouse is unavailable is not ready, and must not be killed for it. It asks
whether the worker's own loop runs.

Owns: the server and its port. Does not own: the metrics, the checks of services (readiness).
It is auxiliary: a worker also works without it.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import prometheus_client

from pipeline.engine.metrics import NEED_UP
from pipeline.stores.readiness import ServiceAnswer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

EVERYWHERE = ("0.0.0.0", "::")
ReportReadiness = Callable[[], dict[str, ServiceAnswer]]
Stopped = Callable[[], str]

log = logging.getLogger("tallymark.worker")


def serve(host: str, port: int, report: ReportReadiness, stopped: Stopped = lambda: "") -> str:
    """Start the server; returns its URL as other hosts see it, or "" if it cannot listen.

    port: 0 selects a free one, and a taken port is replaced by a free one. report: checks the worker's services.
    stopped: why the worker has to be restarted, or an empty text.
    """
    app = _app(report, stopped)
    try:
        server = _listen(host, port, app)
    except OSError as error:
        log.warning("cannot serve metrics on %s:%d, using a free port: %s", host, port, error)
        try:
            server = _listen(host, 0, app)
        except OSError as again:
            log.warning("cannot serve metrics on %s: %s", host, again)
            return ""
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    seen = socket.gethostname() if host in EVERYWHERE else host
    return f"http://{f'[{seen}]' if ':' in seen else seen}:{server.server_port}/metrics"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without the name look-up of HTTPServer, which may take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        return


def _listen(host: str, port: int, app: Any) -> WSGIServer:
    kind = _Server6 if ":" in host else _Server
    return make_server(host, port, app, kind, handler_class=_Silent)


def _app(report: ReportReadiness, stopped: Stopped) -> Any:
    metrics = prometheus_client.make_wsgi_app()

    def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == "/alive":
            why = stopped()
            start("503 Service Unavailable" if why else "200 OK", [("Content-Type", "text/plain")])
            return [f"{why or 'alive'}\n".encode()]
        answers = report()
        for name, answer in answers.items():
            NEED_UP.labels(name).set(answer.ok)
        if environ.get("PATH_INFO") != "/ready":
            return cast(Iterable[bytes], metrics(environ, start))
        ok = all(answer.ok for answer in answers.values())
        body = {"ready": ok, "needs": {name: one.detail or "ok" for name, one in answers.items()}}
        start("200 OK" if ok else "503 Service Unavailable", [("Content-Type", "application/json")])
        return [json.dumps(body).encode() + b"\n"]

    return app
