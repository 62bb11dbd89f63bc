"""The dashboards: generated, laid out without gaps of meaning, and every query is one that its store understands.

`python -m tests.deploy.dashboards_run` asks a running system each of them; tests/stores/clickhouse has the statements.
"""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana.source.boards import boards
from tests.deploy import dashboards, metric_names
from tests.deploy.test_alerts import run

DOCUMENTS = dashboards.documents()
EXPRESSIONS = dashboards.queries("expr")
every_board = pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)


def test_the_files_are_what_the_source_says() -> None:
    made = {name: (dashboards.FOLDER / name).read_text("utf-8") for name in DOCUMENTS}
    assert made == boards(), "`python -m deploy.grafana.source` writes them"


@every_board
def test_panels_do_not_overlap_and_say_what_they_show(document: dict[str, Any]) -> None:
    taken = [
        {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        for at in (panel["gridPos"] for panel in document["panels"])
    ]
    assert not any(one & other for one, other in combinations(taken, 2))
    assert max(x for one in taken for x, _ in one) < 24
    titles = [panel["title"] for panel in document["panels"]]
    assert len(set(titles)) == len(titles)
    for panel in document["panels"]:
        assert panel["description"].endswith(".") and panel["fieldConfig"]["defaults"]["unit"]


@every_board
def test_the_sources_of_data_are_chosen_by_the_reader(document: dict[str, Any]) -> None:
    names = {variable["name"] for variable in document["templating"]["list"]}
    used = {
        target["datasource"]["uid"].strip("${}")
        for panel in document["panels"]
        for target in panel["targets"]
    }
    assert used <= names <= {"prometheus", "clickhouse"}


def test_a_dashboard_has_a_fixed_address() -> None:
    assert {document["uid"] for document in DOCUMENTS.values()} == {
        f"tallymark-{name.removesuffix('.json')}" for name in DOCUMENTS
    }


@pytest.mark.parametrize("query", EXPRESSIONS, ids=lambda one: f"{one.board}-{one.panel}-{one.legend}")
def test_a_panel_asks_for_metrics_that_there_are_and_keeps_the_labels_of_its_legend(
    query: dashboards.PanelQuery,
) -> None:
    asked = metric_names.asked(query.text)
    assert asked and asked <= metric_names.known()
    assert metric_names.wrong_labels(query.text) == set()
    kept = {word for by in re.findall(r"by \(([^)]*)\)", query.text) for word in re.split(r",\s*", by)}
    assert set(re.findall(r"{{(\w+)}}", query.legend)) == kept - {"le"}


def test_every_metric_is_on_a_dashboard() -> None:
    asked = set().union(*(metric_names.asked(one.text) for one in EXPRESSIONS))
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert {metric.name for metric in metric_names.contracts.metrics()} - shown == {
        "tallymark_chunks_total",  # events in a chunk and chunk times have the same count
        "tallymark_records_in_total",  # events are what people ask for
        "tallymark_unexplained_lines_total",  # of the API, and always 0; it has an alert
        "tallymark_unreadable_records_total",  # always 0; it has an alert
    }


def test_prometheus_can_read_every_expression(tmp_path: Path) -> None:
    dashboards.write_rules(tmp_path / "rules.yml")
    run("promtool", "check", "rules", "rules.yml", folder=tmp_path)
