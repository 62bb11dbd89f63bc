"""Usage and events over HTTP, on rows that the sink's mapping wrote."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipeline.api.instant import instant_ns
from pipeline.errors import Rejected
from pipeline.stores.clickhouse import ClickHouse
from tests.api.decider import Decider
from tests.api.rows import write

TOKENS: dict[str, Any] = {
    "slug": "tokens",
    "eventType": "prompt",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
}


@pytest.fixture(scope="module")
def filled(api: TestClient, store: ClickHouse, decider: Decider) -> TestClient:
    assert api.post("/meters", json=TOKENS).status_code == 201
    write(store, [("acme", 0, "small"), ("acme", 0, "small"), ("acme", 1, "large"), ("zeta", 90, "small")])
    return api


def data(response: Any) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    rows: list[dict[str, Any]] = response.json()["data"]
    return rows


def test_one_total(filled: TestClient) -> None:
    (row,) = data(filled.get("/meters/tokens/query"))
    assert row == {
        "value": "6",
        "count": 4,
        "windowStart": "2026-01-01T12:00:00Z",
        "windowEnd": "2026-01-01T13:31:00Z",
        "subject": None,
        "groupBy": {},
    }


def test_windows_zone_group_and_filter(filled: TestClient) -> None:
    rows = data(filled.get("/meters/tokens/query?windowSize=HOUR&groupBy=model,subject"))
    assert [
        (r["windowStart"], r["subject"], r["groupBy"]["model"], r["value"], r["count"]) for r in rows
    ] == [
        ("2026-01-01T12:00:00Z", "acme", "large", "1.5", 1),
        ("2026-01-01T12:00:00Z", "acme", "small", "3", 2),
        ("2026-01-01T13:00:00Z", "zeta", "small", "1.5", 1),
    ]
    one = "/meters/tokens/query?windowSize=DAY&windowTimeZone=Asia/Kolkata"
    one += "&subject=acme&filterGroupBy[model]=small"
    (row,) = data(filled.get(one))
    assert (row["windowStart"], row["subject"], row["value"]) == ("2025-12-31T18:30:00Z", "acme", "3")
    both = "/meters/tokens/query?filterGroupBy[model]=small&filterGroupBy[model]=large"
    assert data(filled.get(both))[0]["count"] == 4
    since = "/meters/tokens/query?from=2026-01-01T12:01:00Z&to=2026-01-02"
    assert data(filled.get(since))[0]["value"] == "3"


def test_csv(filled: TestClient) -> None:
    query = "/meters/tokens/query?windowSize=MINUTE&subject=acme&groupBy=model"
    response = filled.get(query, headers={"accept": "text/csv"})
    assert response.headers["content-type"].startswith("text/csv")
    assert response.text.splitlines() == [
        "window_start,window_end,subject,model,value",
        "2026-01-01T12:00:00Z,2026-01-01T12:01:00Z,acme,small,3",
        "2026-01-01T12:01:00Z,2026-01-01T12:02:00Z,acme,large,1.5",
    ]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("from=2026-01-01&to=2026-01-01", "from and to cannot be equal"),
        ("from=2026-01-02&to=2026-01-01", "from must be before to"),
        ("groupBy=kind", "invalid group by: kind"),
        ("filterGroupBy[kind]=a", "invalid group by filter: kind"),
        ("windowTimeZone=Mars/Base", "invalid time zone: Mars/Base"),
        ("windowSize=WEEK", "invalid window: WEEK"),
        ("form=2026-01-01", "there is no parameter 'form'"),
        ("from=yesterday", "from is 'yesterday'"),
        ("from=2026-02-30", "from is '2026-02-30'"),
    ],
)
def test_a_wrong_query_is_refused(filled: TestClient, query: str, detail: str) -> None:
    response = filled.get(f"/meters/tokens/query?{query}")
    assert (response.status_code, response.json()["reason"]) == (400, "bad-query")
    assert response.json()["detail"].startswith(detail)


@pytest.mark.parametrize(
    ("text", "tz", "expected_s"),
    [
        ("2026-01-01", "UTC", 1_767_225_600),
        ("2026-01-01", "Asia/Kolkata", 1_767_205_800),
        ("2026-07-01", "America/New_York", 1_782_878_400),
        ("2026-01-01T00:00:00+01:00", "Asia/Kolkata", 1_767_222_000),
    ],
)
def test_a_date_is_midnight_in_the_zone(text: str, tz: str, expected_s: int) -> None:
    assert instant_ns("from", text, tz) == expected_s * 1_000_000_000


def test_no_instant_and_an_unknown_zone() -> None:
    assert instant_ns("from", None) is None
    with pytest.raises(Rejected, match="invalid time zone"):
        instant_ns("from", "2026-01-01", "Mars/Base")


def test_events_and_their_filters(filled: TestClient) -> None:
    rows = filled.get("/events").json()
    assert [row["event"]["id"] for row in rows] == ["3", "2", "1", "0"]
    assert rows[0]["fate"] == "counted" and rows[0]["meters"] == ["tokens"]
    assert rows[0]["event"]["data"] == {"tokens": "1.5", "model": "small"}
    for query, expected in (
        ("subject=zeta", 1),
        ("id=2", 1),
        ("source=s", 4),
        ("type=other", 0),
        ("fate=duplicate", 0),
        ("from=2026-01-01T12:01:00Z", 2),
        ("to=2026-01-01T12:01:00Z", 2),
        ("limit=3", 3),
    ):
        assert len(filled.get(f"/events?{query}").json()) == expected, query
    assert filled.get("/events?fate=lost").status_code == 400
    assert filled.get("/events?limit=0").status_code == 400
    assert filled.get("/events?subjects=zeta").status_code == 400
