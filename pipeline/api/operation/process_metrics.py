"""`/metrics` of the API's processes, on a port of its own: the only place where Prometheus sees what they count.

Owns: the sum over several processes. Does not own: the metrics (the modules that count), the server and its port
(engine.metrics_server), the events of a namespace (debug_metrics).

Several processes keep their values in files of one folder, as prometheus_client does when a variable names it. The
first process adds them up; the counts of a process that ended stay in them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from prometheus_client import REGISTRY, CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.multiprocess import MultiProcessCollector

from pipeline.engine import metrics_server
from pipeline.settings import Settings

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # read by the processes that start after this


@contextmanager
def served(settings: Settings, processes: int) -> Iterator[None]:
    """Serve the metrics on `metrics_host` and `metrics_port`; one that cannot listen is a warning.

    Args:
        settings: of the API.
        processes: that answer requests; with more than one, they are started inside of this context.
    """
    if processes == 1:
        _serve(settings, REGISTRY)
        yield
        return
    with TemporaryDirectory(prefix="tallymark-metrics-") as folder:
        os.environ[FOLDER] = folder
        registry = CollectorRegistry()
        MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
        ProcessCollector(registry=registry)
        _serve(settings, registry)
        try:
            yield
        finally:
            del os.environ[FOLDER]


def _serve(settings: Settings, registry: CollectorRegistry) -> None:
    url = metrics_server.serve(make_wsgi_app(registry), settings.metrics_host, settings.metrics_port)
    print(f"tallymark api serves its metrics at {url or 'no port'}", file=sys.stderr, flush=True)
