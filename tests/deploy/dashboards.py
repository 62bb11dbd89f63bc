"""The queries of the dashboards as Grafana would send them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from tests.deploy.runbook_text import DEPLOY

FOLDER = DEPLOY / "grafana/dashboards"

# Expressions without data where all is well, and why.
QUIET = {
    "tallymark_refused_total": "no meter refuses an event that it matches",
    "tallymark_stripe_unsendable_units_total": "Stripe takes every unit",
    "tallymark_stripe_drift_windows": "a timer writes it for a node exporter",
    "tallymark_reconcile_differences": "a timer writes it for a node exporter",
}


class PanelQuery(NamedTuple):
    """One expression of PromQL, or a statement of SQL."""

    board: str
    panel: str
    unit: str
    legend: str
    text: str
    description: str

    @property
    def quiet(self) -> str:
        """Why it has no data where all is well; empty: it has."""
        return next((why for name, why in QUIET.items() if name in self.text), "")


def documents() -> dict[str, dict[str, Any]]:
    """Each dashboard by the name of its file."""
    return {path.name: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def queries(member: str) -> list[PanelQuery]:
    """member: `expr` of Prometheus, `rawSql` of ClickHouse."""
    return [
        PanelQuery(
            name,
            panel["title"],
            panel["fieldConfig"]["defaults"]["unit"],
            target.get("legendFormat", ""),
            target[member],
            panel["description"],
        )
        for name, document in documents().items()
        for panel in document["panels"]
        for target in panel["targets"]
        if member in target
    ]


def promql(text: str, interval_s: int = 60) -> str:
    """An expression with Grafana's variables replaced."""
    return text.replace("$__rate_interval", f"{interval_s}s")


def sql(text: str, start_s: int, end_s: int) -> str:
    """A statement with Grafana's macros replaced, as its data source for ClickHouse does it."""
    span = rf"\1 >= toDateTime({start_s}) AND \1 <= toDateTime({end_s})"
    return re.sub(r"\$__timeFilter\(([\w.]+)\)", span, text)


def write_rules(path: Path) -> None:
    """Each expression as a rule, so that promtool parses it."""
    lines = ["groups:", "  - name: dashboards", "    rules:"]
    for number, one in enumerate(queries("expr")):
        lines += [f"      - record: panel_{number}", f"        expr: {json.dumps(promql(one.text))}"]
    path.write_text("\n".join(lines) + "\n")
