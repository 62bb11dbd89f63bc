"""Every statement of the dashboards, on each ClickHouse."""

from __future__ import annotations

import pytest

from pipeline.stores.clickhouse.client import ClickHouse
from tests.deploy import dashboards


@pytest.mark.parametrize("query", dashboards.queries("rawSql"), ids=lambda one: f"{one.board}-{one.panel}")
def test_it_is_understood(store: ClickHouse, query: dashboards.PanelQuery) -> None:
    store.query(dashboards.sql(query.text, 1_700_000_000, 1_800_000_000))
