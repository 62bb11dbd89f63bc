"""The names of metrics: those that there are, and those that an expression of PromQL asks for."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import contracts
from pipeline.cli.reconcile_metrics import write_reconcile_metrics
from pipeline.cli.stripe_reports import write_metrics

# Of Prometheus itself and of its Python client.
FOREIGN = {"up", "process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"}
OF_TARGETS = {
    "stage",
    "instance",
    "job",
}  # labels that the scrape configuration gives to every metric of a worker
# Labels of the metrics that commands write.
_OF_FILES = {
    "tallymark_reconcile_differences": {"of"},
    "tallymark_reconcile_settled": {"of"},
    "tallymark_stripe_drift_windows": {"cause"},
}
_PARTS = {"histogram": ("_bucket", "_sum", "_count")}
_NAME = re.compile(r"\b(?:tallymark_\w+|process_\w+|up)\b(?!\s*[=(])")


@cache
def known() -> frozenset[str]:
    """Each name that a query may have: of workers, of files of the commands, of Prometheus."""
    workers = {
        metric.name + part for metric in contracts.metrics() for part in _PARTS.get(metric.kind, ("",))
    }
    return frozenset(workers | of_files() | FOREIGN)


@cache
def of_files() -> frozenset[str]:
    """The metrics that `reconcile --metrics` and `stripe drift --metrics` write."""
    same = {"differences": [], "settled": True}
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / "reconcile.prom", Path(folder) / "drift.prom"]
        write_reconcile_metrics(same, same, paths[0])
        write_metrics({"causes": {}, "windows": 0, "unread": []}, paths[1])
        text = "".join(path.read_text() for path in paths)
    return frozenset(re.findall(r"^# TYPE (\w+) gauge$", text, re.MULTILINE))


def asked(expression: str) -> set[str]:
    """The metrics in an expression."""
    return set(_NAME.findall(re.sub(r'"[^"]*"', '""', expression)))


def labels_of(name: str) -> set[str]:
    """The labels by which a metric can be summed."""
    known_ = {
        metric.name + part: {*metric.labels, *({"le"} if part == "_bucket" else ())}
        for metric in contracts.metrics()
        for part in _PARTS.get(metric.kind, ("",))
    }
    return OF_TARGETS | known_.get(name, set()) | _OF_FILES.get(name, set())


def wrong_labels(expression: str) -> set[str]:
    """Labels by which an expression sums or selects, that none of its metrics has."""
    by = {word for found in re.findall(r"by \(([^)]*)\)", expression) for word in re.split(r",\s*", found)}
    selected = set(re.findall(r"[{,]\s*(\w+)=~?\"", expression))
    return (by | selected) - set().union(*map(labels_of, asked(expression)))
