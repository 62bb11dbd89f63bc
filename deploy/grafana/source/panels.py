"""The parts of the dashboards: a dashboard from panels, a panel from queries of PromQL or SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, table, timeseries
from grafana_foundation_sdk.cog import builder, encoder, variants
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${prometheus}")
CLICKHOUSE = DataSourceRef(type_val="grafana-clickhouse-datasource", uid="${clickhouse}")
WIDTH, HEIGHT = 12, 8  # of a panel; the page is 24 wide
RATE = "$__rate_interval"


class Graph(NamedTuple):
    """Lines over time of Prometheus. queries: a legend (`{{label}}` or text) for each expression."""

    title: str
    unit: str
    description: str
    queries: dict[str, str]


class Rows(NamedTuple):
    """Rows of ClickHouse; with a column `time` they are lines over time."""

    title: str
    unit: str
    description: str
    sql: str


class Sql(variants.Dataquery):
    """A query in the form of Grafana's data source for ClickHouse."""

    def __init__(self, sql: str, is_series: bool) -> None:
        self._sql, self._is_series = sql, is_series

    def to_json(self) -> dict[str, Any]:
        return {
            "refId": "A",
            "datasource": CLICKHOUSE.to_json(),
            "editorType": "sql",
            "queryType": "timeseries" if self._is_series else "table",
            "format": 0 if self._is_series else 1,
            "rawSql": self._sql,
        }


class _Built(builder.Builder[Any]):
    def __init__(self, made: Any) -> None:
        self._made = made

    def build(self) -> Any:
        return self._made


def board(uid: str, title: str, description: str, panels: Sequence[Graph | Rows]) -> str:
    """The JSON of a dashboard, as Grafana's provisioning reads it."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["tallymark"])
        .timezone("browser")
        .refresh("30s")
        .time("now-1h", "now")
        .readonly()
        .with_variable(dashboard.DatasourceVariable("prometheus").label("Prometheus").type("prometheus"))
    )
    if any(isinstance(one, Rows) for one in panels):
        clickhouse = dashboard.DatasourceVariable("clickhouse").label("ClickHouse")
        made = made.with_variable(clickhouse.type("grafana-clickhouse-datasource"))
    for number, one in enumerate(panels, start=1):
        made = made.with_panel(_graph(one, number) if isinstance(one, Graph) else _rows(one, number))
    return json.dumps(made.build(), cls=encoder.JSONEncoder, indent=2) + "\n"


def _lines(number: int, one: Graph | Rows) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    return (
        timeseries.Panel()
        .id(number)
        .title(one.title)
        .description(one.description)
        .unit(one.unit)
        .min(0)
        .line_width(1)
        .fill_opacity(10)
        .legend(legend.show_legend(True))
        .span(WIDTH)
        .height(HEIGHT)
    )


def _graph(one: Graph, number: int) -> timeseries.Panel:
    panel = _lines(number, one).datasource(PROMETHEUS)
    for letter, (legend, expression) in zip("ABCDEFGH", one.queries.items(), strict=False):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(letter)
        panel = panel.with_target(query.datasource(PROMETHEUS))
    return panel


def _rows(one: Rows, number: int) -> timeseries.Panel | table.Panel:
    if " AS time" in one.sql:
        return _lines(number, one).datasource(CLICKHOUSE).with_target(_Built(Sql(one.sql, True)))
    panel = table.Panel().id(number).title(one.title).description(one.description).unit(one.unit)
    panel = panel.span(WIDTH).height(HEIGHT).datasource(CLICKHOUSE)
    return panel.with_target(_Built(Sql(one.sql, False)))


def quantile(share: float, metric: str, by: str = "", where: str = "") -> str:
    """A quantile of a histogram, by a label or over all."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{where}[{RATE}])))"


def rate(metric: str, by: str = "", where: str = "") -> str:
    """The rate of a counter in 1/s, by a label or over all."""
    return f"sum{f' by ({by}) ' if by else ''}(rate({metric}{where}[{RATE}]))"


def mean(metric: str, by: str) -> str:
    """The mean of a histogram, by a label."""
    return f"{rate(metric + '_sum', by)} / {rate(metric + '_count', by)}"


def percentiles(metric: str, where: str = "") -> dict[str, str]:
    """Median and 99th percentile of a histogram."""
    return {
        "median": quantile(0.5, metric, where=where),
        "99th percentile": quantile(0.99, metric, where=where),
    }
