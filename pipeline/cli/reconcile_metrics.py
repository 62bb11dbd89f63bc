"""The result of `tallymark reconcile` as metrics, for the textfile collector of Prometheus' node exporter.

Owns: their names and the file. Does not own: the comparisons (core.metering.reconcile, core.bills).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

EVENTS, MONEY = "events", "money"


def write_reconcile_metrics(events: Mapping[str, Any], money: Mapping[str, Any], path: Path) -> None:
    """Replace the file by the newest result, in Prometheus' text format.

    Args:
        events: the answer of `/reconcile`.
        money: that of `/reconcile/money`, of all customers.
        path: a file that ends in `.prom`, or the collector ignores it.
    """
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    registry = CollectorRegistry()
    found = Gauge(
        "tallymark_reconcile_differences", "sentences on what does not add up", ["of"], registry=registry
    )
    settled = Gauge(
        "tallymark_reconcile_settled",
        "whether nothing was in flight, so that what is stored was compared too",
        ["of"],
        registry=registry,
    )
    for of, report in ((EVENTS, events), (MONEY, money)):
        found.labels(of).set(len(report["differences"]))
        settled.labels(of).set(report["settled"])
    at = Gauge("tallymark_reconcile_timestamp_seconds", "when it was compared", registry=registry)
    at.set_to_current_time()
    write_to_textfile(str(path), registry)
