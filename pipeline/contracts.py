"""The published contracts, generated from the code: `python -m pipeline.contracts` writes the files.

Owns: `schemas/records/*.json`, `schemas/openapi.json`, `schemas/commands.md`, `deploy/metrics.md`, the names in the
schema of the Helm chart's values, and which record is on which topic. Does not own: the records (records), the API
(api), commands (command_reference), the metrics (engine, agents). A test compares files and code.
"""

from __future__ import annotations

import inspect
import json
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.metrics import MetricWrapperBase
from pydantic import SecretStr

from pipeline import command_reference, records
from pipeline.records import (
    AcceptedBatch,
    Alert,
    Audit,
    Backfill,
    Balance,
    BillDocument,
    BillingWork,
    Command,
    Counts,
    CustomerWindow,
    Definition,
    Delivery,
    Event,
    InvoiceRoot,
    LateUsage,
    LedgerTransaction,
    NumberWork,
    Reply,
    Settled,
    StripeReport,
    StripeUsage,
    StripeWork,
    TopicId,
    WebhookWork,
    Window,
    Worker,
)
from pipeline.stages import STAGES, STATELESS

ROOT = Path(__file__).parent.parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


@dataclass(frozen=True)
class Wire:
    """How a record travels. `listed`: on these topics a Kafka record's value is a JSON array of them."""

    record: type[msgspec.Struct]
    topics: tuple[str, ...]
    listed: bool = False


WIRES = {
    "accepted-batch": Wire(AcceptedBatch, ("events-accepted",)),
    "event": Wire(Event, ("events-unique",), listed=True),
    "settled": Wire(Settled, ("duplicates", "events-settled"), listed=True),
    "window": Wire(Window, ("usage",), listed=True),
    "customer-window": Wire(CustomerWindow, ("customer-usage",), listed=True),
    "balance": Wire(Balance, ("balances",)),
    "late-usage": Wire(LateUsage, ("late-usage",)),
    "counts": Wire(
        Counts,
        (*(f"{stage}-meta" for stage in STAGES if stage not in STATELESS), "counts"),
    ),
    "backfill": Wire(Backfill, ("backfill-work",)),
    "worker": Wire(Worker, ("workers",)),
    "command": Wire(Command, ("commands",)),
    "definition": Wire(Definition, ("control",)),
    "reply": Wire(Reply, ("replies",)),
    "audit": Wire(Audit, ("audit",)),
    "alert": Wire(Alert, ("alerts",)),
    "webhook-work": Wire(WebhookWork, ("webhook-work",)),
    "delivery": Wire(Delivery, ("deliveries",)),
    "stripe-work": Wire(StripeWork, ("stripe-work",)),
    "stripe-report": Wire(StripeReport, ("stripe-reports",)),
    "stripe-usage": Wire(StripeUsage, ("stripe-usage",), listed=True),
    "billing-work": Wire(BillingWork, ("billing-work",)),
    "number-work": Wire(NumberWork, ("number-requests",)),
    "invoice-root": Wire(InvoiceRoot, ("invoice-roots",)),
    "bill-document": Wire(BillDocument, ("subscriptions", "invoices", "credit-grants")),
    "ledger-transaction": Wire(LedgerTransaction, ("ledger",)),
    "topic-id": Wire(TopicId, ("topic-ids",)),
}

_ANY: Schema = {"type": ["object", "array", "string", "number", "boolean", "null"]}
_EVENT = {"$ref": "#/$defs/Event"}
_DECIMAL = {"type": "string", "pattern": r"^(0|-?[1-9][0-9]*|-?(0|[1-9][0-9]*)\.[0-9]*[1-9])$"}
# What the Python types do not express: raw JSON, and the form of a string.
_CLOSER: dict[tuple[str, str], Schema] = {
    ("AcceptedBatch", "events"): {"type": "array", "items": _EVENT},
    ("Event", "data"): {"type": ["object", "null"]},
    ("Settled", "event"): _EVENT,
    ("Window", "value"): _DECIMAL,
    ("Window", "change"): _DECIMAL,
    ("Window", "members"): {"type": "array", "items": {"type": "string", "pattern": "^[0-9a-f]{32}$"}},
}
CHART = Path("deploy/helm/tallymark")
_OF_THE_CHART = {"state_dir", "metrics_host", "metrics_port", "api_host", "api_port"}  # it sets them itself
_REFERENCE = re.compile(r"#/\$defs/(\w+)")
_FIELD = re.compile(r"^    (\w+): .*?(?:  # (.+))?$", re.MULTILINE)


def files() -> dict[Path, str]:
    """Every generated file, by its path from the repository's root."""
    made = {Path("schemas/records") / f"{name}.json": _json(schema(name)) for name in WIRES}
    made[Path("schemas/openapi.json")] = _json(openapi(), sort_keys=True)
    made[Path("schemas/commands.md")] = command_reference.markdown()
    made[Path("deploy/metrics.md")] = metrics_markdown()
    made[CHART / "values.schema.json"] = chart_schema()
    made[CHART / "files/alerts.yml"] = (ROOT / "deploy/alerts.yml").read_text(
        "utf-8"
    )  # a chart reads its own files
    return made


def chart_schema() -> str:
    """The schema of the Helm chart's values: the file as it is, with the names of settings, secrets and stages."""
    from pipeline.settings import Settings

    document = json.loads((ROOT / CHART / "values.schema.json").read_text("utf-8"))
    secrets = [name for name, field in Settings.model_fields.items() if field.annotation is SecretStr]
    values = document["properties"]
    values["settings"]["propertyNames"]["enum"] = [
        name for name in Settings.model_fields if name not in secrets and name not in _OF_THE_CHART
    ]
    values["secrets"]["propertyNames"]["enum"] = secrets
    values["stages"]["propertyNames"]["enum"] = list(STAGES)
    values["networkPolicy"]["properties"]["internet"]["items"]["enum"] = [*STAGES, "api"]
    return _json(document)


def schema(name: str) -> Schema:
    """JSON Schema (draft 2020-12) of one record. Fields of an array have their name as `title`."""
    wire = WIRES[name]
    defined = _definitions()
    body = dict(defined[wire.record.__name__])
    where = "an array of them is a record's value on" if wire.listed else "a record's value on"
    topics = ", ".join(f"`{topic}`" for topic in wire.topics)
    body["description"] += f"\n\nIn Kafka {where} {topics}."
    whole: Schema = {"$schema": DIALECT, **body}
    if needed := _needed(body, defined):
        whole["$defs"] = {name: defined[name] for name in sorted(needed)}
    return whole


def _needed(body: Schema, defined: Mapping[str, Schema]) -> set[str]:
    """The records that a schema refers to, and those that they refer to."""
    found: set[str] = set()
    new = set(_REFERENCE.findall(json.dumps(body)))
    while new:
        found |= new
        new = {name for one in new for name in _REFERENCE.findall(json.dumps(defined[one]))} - found
    return found


@cache
def _definitions() -> Mapping[str, Schema]:
    types = [wire.record for wire in WIRES.values()]
    _, made = msgspec.json.schema_components(
        types, schema_hook=lambda _: dict(_ANY), ref_template="#/$defs/{name}"
    )
    return {name: _with_fields(getattr(records, name), made[name]) for name in made}


def _with_fields(kind: type[msgspec.Struct], made: Schema) -> Schema:
    """The schema with descriptions: the docstring of the record, and the comments of its fields."""
    comments = dict(_FIELD.findall(inspect.getsource(kind)))
    made["description"] = inspect.cleandoc(kind.__doc__ or "")
    ordered = made["prefixItems"] if made["type"] == "array" else list(made["properties"].values())
    for field, found in zip(msgspec.structs.fields(kind), ordered, strict=True):
        if closer := _CLOSER.get((kind.__name__, field.name)):
            found.clear()
            found.update(closer)
        if made["type"] == "array":
            found["title"] = field.name
        if comments[field.name]:
            found["description"] = comments[field.name]
    return made


def openapi() -> Schema:
    """The API's OpenAPI document."""
    from pipeline.api.app import create_app
    from pipeline.settings import Settings

    return create_app(Settings.model_construct()).openapi()


@dataclass(frozen=True)
class Metric:
    """One Prometheus metric. stage: the stage that exports it. name: as in a query; a histogram's has no suffix."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    stage: str


def metrics() -> list[Metric]:
    """Every metric of Tallymark's own, by name."""
    return sorted(_metrics(), key=lambda metric: metric.name)


def _metrics() -> Iterator[Metric]:
    known: set[int] = set()
    for package in (
        "pipeline.engine",
        "pipeline.agents",
        "pipeline.api",
    ):  # in this order: others import the engine's
        for name, members in _modules(package):
            for found in members.values():
                if isinstance(found, MetricWrapperBase) and id(found) not in known:
                    known.add(id(found))
                    yield _metric(found, {"engine": "each", "api": "api"}.get(package[9:]) or _stage(name))


def _stage(module: str) -> str:
    """The stage whose agent or helper a module is: helpers begin with the stage's name."""
    words = {one: one.partition("-")[0] for one in STAGES}
    (stage,) = (one for one, word in words.items() if module == one or module.startswith(f"{word}_"))
    return stage


def _modules(package: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
        yield module.name.rpartition(".")[2], vars(import_module(module.name))


def _metric(found: MetricWrapperBase, stage: str) -> Metric:
    family = next(iter(found.collect()))
    ending = "_total" if family.type == "counter" else ""
    return Metric(family.name + ending, family.type, tuple(found._labelnames), family.documentation, stage)


_METRICS_TEXT = """\
# Metrics

Generated by `python -m pipeline.contracts`; a test compares it with the code.

Each worker serves its metrics at `http://<metrics_host>:<metrics_port>/metrics`. Port 0, the default, selects a
free port, which the worker logs and publishes in its heartbeat on `workers` (`metrics_url`). So does the API (stage
`api` below), which prints the address; it serves the sum over its processes. `deploy/prometheus.yml` scrapes the
containers: the workers as the job `tallymark`, the API as `tallymark-api`. The Prometheus client adds `process_*` and
`python_*`. A histogram `x` is queried as `x_bucket`, `x_sum` and `x_count`. Metrics start at zero with each process.
The totals that must add up for ever are on `counts`, and `tallymark reconcile` checks them. With `--metrics FILE`,
`tallymark reconcile` writes `tallymark_reconcile_*` and `tallymark stripe drift` writes `tallymark_stripe_drift_*` for
a textfile collector. `deploy/alerts.yml` has alert rules, `deploy/runbook.md` what to do.

"""

QUERIES = {
    "events per second, by stage": "sum by (stage) (rate(tallymark_events_in_total[1m]))",
    "seconds from receipt to queryable usage, 99th percentile": (
        "histogram_quantile(0.99, sum by (le) (rate(tallymark_freshness_seconds_bucket[5m])))"
    ),
    "rejected events per second": 'sum(rate(tallymark_fates_total{fate="rejected"}[5m]))',
    "events per second that a meter refuses": (
        "sum by (namespace, meter, reason) (rate(tallymark_refused_total[5m]))"
    ),
    "ClickHouse inserts fail": "increase(tallymark_insert_failures_total[5m]) > 0",
}


def metrics_markdown() -> str:
    """`deploy/metrics.md`: one row per metric, and some queries to start with."""
    lines = ["| Metric | Type | Labels | Meaning | Stage |", "| --- | --- | --- | --- | --- |"]
    for metric in metrics():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} | {metric.stage} |")
    lines += ["", "| Question | Query |", "| --- | --- |"]
    lines += [f"| {question} | `{query}` |" for question, query in QUERIES.items()]
    return _METRICS_TEXT + "\n".join(lines) + "\n"


def _json(document: Schema, sort_keys: bool = False) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=sort_keys) + "\n"


def write(root: Path = ROOT) -> None:
    """Write every generated file, and remove the schemas of records that do not exist."""
    made = files()
    for path in (root / "schemas/records").glob("*.json"):
        if path.relative_to(root) not in made:
            path.unlink()
    for path, text in made.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, "utf-8")


if __name__ == "__main__":
    write()
