"""A worker's small HTTP server: `/metrics` for Prometheus, `/ready` and `/alive` for a supervisor or Kubernetes.

`/alive` asks no service: a worker whose ClickHouse is unavailable is not ready, and must not be killed for it. It asks
whether the worker's own loop runs.

Owns: what it answers. Does not own: the server and its port (engine.metrics_server), the metrics, the checks of
services (readiness).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

import prometheus_client

from pipeline.engine import metrics_server
from pipeline.engine.metrics import NEED_UP
from pipeline.stores.readiness import ServiceAnswer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ReportReadiness = Callable[[], dict[str, ServiceAnswer]]
Stopped = Callable[[], str]


def serve(host: str, port: int, report: ReportReadiness, stopped: Stopped = lambda: "") -> str:
    """Start the server; returns its URL as other hosts see it, or "" if it cannot listen.

    port: 0 selects a free one, and a taken port is replaced by a free one. report: checks the worker's services.
    stopped: why the worker has to be restarted, or an empty text.
    """
    return metrics_server.serve(_app(report, stopped), host, port)


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
