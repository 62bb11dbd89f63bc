"""Usage over HTTP, on rows that the sink's mapping wrote."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipeline.api.metering.usage_json import csv_text
from pipeline.core.metering.meter import define
from pipeline.core.metering.usage_query import usage_query
from pipeline.core.values.user_time import instant_ns
from pipeline.errors import Rejected
from pipeline.stores.clickhouse.client import ClickHouse
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.stored_rows import write

TOKENS: dict[str, Any] = {
    "slug": "tokens",
    "eventType": "prompt",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
}
QUERY = "/meters/tokens/query"


@pytest.fixture(scope="module")
def filled(api: TestClient, store: ClickHouse, decider: ControlStage) -> TestClient:
    assert api.post("/meters", json=TOKENS).status_code == 201
    write(store, [("acme", 0, "small"), ("acme", 0, "small"), ("acme", 1, "large"), ("zeta", 90, "small")])
    return api


@pytest.fixture(scope="module")
def customers(filled: TestClient) -> dict[str, str]:
    """Ids of three customers: two subjects; a key that is its subject; none."""
    bodies: list[dict[str, Any]] = [
        {"name": "Both", "usageAttribution": {"subjectKeys": ["acme", "other"]}},
        {"name": "Key", "key": "zeta", "usageAttribution": {"subjectKeys": []}},
        {"name": "None", "usageAttribution": {"subjectKeys": []}},
    ]
    found = {}
    for body in bodies:
        response = filled.post("/customers", json=body)
        assert response.status_code == 201, response.text
        found[str(body["name"])] = str(response.json()["id"])
    return found


def data(response: Any) -> list[dict[str, Any]]:
    """The rows, values as their text."""
    assert response.status_code == 200, response.text
    rows: list[dict[str, Any]] = json.loads(response.text, parse_float=str, parse_int=str)["data"]
    return rows


def test_one_total(filled: TestClient) -> None:
    response = filled.get(QUERY)
    assert response.json() == {
        "data": [
            {
                "value": 6,
                "count": 4,
                "windowStart": "2026-01-01T12:00:00Z",
                "windowEnd": "2026-01-01T13:31:00Z",
                "subject": None,
                "groupBy": {},
            }
        ]
    }


def test_windows_zone_group_and_filter(filled: TestClient) -> None:
    rows = data(filled.get(QUERY + "?windowSize=HOUR&groupBy=model,subject"))
    assert [
        (r["windowStart"], r["subject"], r["groupBy"]["model"], r["value"], r["count"]) for r in rows
    ] == [
        ("2026-01-01T12:00:00Z", "acme", "large", "1.5", "1"),
        ("2026-01-01T12:00:00Z", "acme", "small", "3", "2"),
        ("2026-01-01T13:00:00Z", "zeta", "small", "1.5", "1"),
    ]
    one = QUERY + "?windowSize=DAY&windowTimeZone=Asia/Kolkata&subject=acme&filterGroupBy[model]=small"
    (row,) = data(filled.get(one))
    assert (row["windowStart"], row["subject"], row["value"]) == ("2025-12-31T18:30:00Z", "acme", "3")
    both = QUERY + "?filterGroupBy[model]=small&filterGroupBy[model]=large"
    assert data(filled.get(both))[0]["count"] == "4"


def test_a_range_is_exact_also_within_a_minute(filled: TestClient) -> None:
    for query, value, start in (
        ("from=2026-01-01T12:01:00Z&to=2026-01-02", "3", "2026-01-01T12:01:00Z"),
        ("from=2026-01-01T12:01:00.000000005Z", "3", "2026-01-01T12:01:00.000000005Z"),
        ("from=2026-01-01T12:01:00.000000006Z", "1.5", "2026-01-01T12:01:00.000000006Z"),
        ("from=2026-01-01T12:00:00.5Z&to=2026-01-01T12:01:30Z", "1.5", "2026-01-01T12:00:00.5Z"),
    ):
        (row,) = data(filled.get(QUERY + "?" + query))
        assert (row["value"], row["windowStart"]) == (value, start), query


def test_what_was_asked_is_repeated(filled: TestClient) -> None:
    query = "from=2026-01-01&to=2026-02-01T00:00:00%2B01:00&windowSize=MONTH&windowTimeZone=Europe/Berlin"
    answer = filled.get(QUERY + "?" + query).json()
    del answer["data"]
    assert answer == {
        "from": "2025-12-31T23:00:00Z",
        "to": "2026-01-31T23:00:00Z",
        "windowSize": "MONTH",
        "windowTimeZone": "Europe/Berlin",
    }


def test_customers_have_the_usage_of_their_subjects(filled: TestClient, customers: dict[str, str]) -> None:
    both, key, none = customers.values()
    (row,) = data(filled.get(f"{QUERY}?filterCustomerId={both}"))
    assert (row["customerId"], row["subject"], row["value"]) == (both, None, "4.5")
    rows = data(filled.get(QUERY, params={"filterCustomerId": [both, key, none], "groupBy": "subject"}))
    assert {(r["customerId"], r["subject"], r["value"]) for r in rows} == {
        (both, "acme", "4.5"),
        (key, "zeta", "1.5"),
    }
    assert data(filled.get(f"{QUERY}?filterCustomerId={none}")) == []
    assert data(filled.get(f"{QUERY}?filterCustomerId={key}&subject=acme")) == []
    edge = f"{QUERY}?filterCustomerId={key}&from=2026-01-01T13:30:00.000000001Z"
    assert data(filled.get(edge))[0]["value"] == "1.5"
    unknown = filled.get(f"{QUERY}?filterCustomerId={both}&filterCustomerId=01G65Z755AFWAKHE12NY0CQ9FH")
    assert (unknown.status_code, unknown.json()["detail"]) == (
        404,
        "customer with id 01G65Z755AFWAKHE12NY0CQ9FH not found",
    )


@pytest.mark.parametrize(
    "params",
    [
        {"advancedMeterGroupByFilters": '{"model": {"$like": "s%"}}'},
        {"advancedMeterGroupByFilters[model][$ilike]": "SM%"},
        {"advancedMeterGroupByFilters[model][$in]": ["small", "x"]},
        {"advancedMeterGroupByFilters[model][$nin][0]": "large"},
        {"filterGroupBy[model]": "small"},
    ],
)
def test_filters_in_every_spelling(filled: TestClient, params: dict[str, Any]) -> None:
    (row,) = data(filled.get(QUERY, params=params))
    assert (row["value"], row["count"]) == ("4.5", "3")


def test_by_post(filled: TestClient, customers: dict[str, str]) -> None:
    body: dict[str, Any] = {
        "clientId": "me",
        "from": "2026-01-01T00:00:00Z",
        "windowSize": "DAY",
        "windowTimeZone": "Europe/Berlin",
        "subject": None,
        "filterCustomerId": [customers["Both"]],
        "filterGroupBy": {"model": ["small", "large"]},
        "groupBy": ["model"],
    }
    by_body = filled.post(QUERY, json=body)
    assert [(row["groupBy"], row["value"]) for row in data(by_body)] == [
        ({"model": "large"}, "1.5"),
        ({"model": "small"}, "3"),
    ]
    params = {**body, "filterGroupBy[model]": ["small", "large"]}
    del params["filterGroupBy"], params["subject"]
    assert filled.get(QUERY, params=params).json() == by_body.json()
    advanced = {"advancedMeterGroupByFilters": {"model": {"$or": [{"$eq": "large"}, {"$exists": False}]}}}
    assert data(filled.post(QUERY, json=advanced))[0]["value"] == "1.5"
    assert data(filled.post(QUERY, json={}))[0]["value"] == "6"
    csv = filled.post(QUERY, json=body, headers={"accept": "text/csv"})
    assert csv.text.splitlines()[0] == "window_start,window_end,model,customer_id,value"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"form": "2026"}, "the body is no query: Object contains unknown field `form`"),
        ({"subject": "acme"}, "the body is no query: Expected `array | null`, got `str` - at `$.subject`"),
        ({"groupBy": ["model", 1]}, "the body is no query: Expected `str`, got `int` - at `$.groupBy[1]`"),
        ({"subject": ["a"] * 101}, "subjects: at most 100 are allowed"),
        ({"advancedMeterGroupByFilters": {"model": "x"}}, "the filter model must be an object such as"),
        ({"filterGroupBy": {"kind": ["a"]}}, "invalid group by filter: kind"),
        ({"filterGroupBy": {"model": []}}, "the filter model needs a value"),
        ({"subject": []}, "subject must not be empty"),
        ({"subject": [""]}, "subject must not be empty"),
        ({"filterCustomerId": []}, "filterCustomerId must not be empty"),
        ({"groupBy": ["model", ""]}, "groupBy must not be empty"),
        ({"windowTimeZone": ""}, "windowTimeZone must not be empty"),
        ({"clientId": ""}, "clientId must not be empty"),
        ({"csvSafe": "yes"}, "the body is no query: Expected `bool | null`"),
    ],
)
def test_a_wrong_body_is_refused(filled: TestClient, body: dict[str, Any], detail: str) -> None:
    response = filled.post(QUERY, json=body)
    assert (response.status_code, response.json()["reason"]) == (400, "bad-query"), response.text
    assert response.json()["detail"].startswith(detail)


def test_a_body_that_is_no_json_is_refused(filled: TestClient) -> None:
    for content in (b"{", b"[]", b"", b"\xff"):
        response = filled.post(QUERY, content=content, headers={"content-type": "application/json"})
        assert response.status_code == 400, content


def test_values_have_all_their_digits(filled: TestClient, store: ClickHouse) -> None:
    store.query("INSERT INTO windows (namespace, meter, meter_id, subject, dimensions, start, value, count)"
                " VALUES ('default', 'tokens', 1, 'exact', '{}', '2020-01-01 00:00:00',"
                " '12345678901234567890.123456789012345678', 1)")  # fmt: skip
    response = filled.get(QUERY + "?subject=exact")
    assert '"value":12345678901234567890.123456789012345678,' in response.text
    (row,) = json.loads(response.text, parse_float=Decimal)["data"]
    assert row["value"] == Decimal("12345678901234567890.123456789012345678")
    assert isinstance(response.json()["data"][0]["value"], float)


def test_csv(filled: TestClient) -> None:
    query = QUERY + "?windowSize=MINUTE&subject=acme&groupBy=model"
    response = filled.get(query, headers={"accept": "text/csv"})
    assert response.headers["content-type"].startswith("text/csv")
    assert response.headers["content-disposition"] == 'attachment; filename="tokens.csv"'
    rows = [
        "window_start,window_end,subject,model,value",
        "2026-01-01T12:00:00Z,2026-01-01T12:01:00Z,acme,small,3",
        "2026-01-01T12:01:00Z,2026-01-01T12:02:00Z,acme,large,1.5",
    ]
    assert response.text.splitlines() == rows


def test_csv_names_subjects_that_have_a_name(filled: TestClient) -> None:
    query = QUERY + "?groupBy=subject&from=2026-01-01"
    assert filled.post("/subjects", json=[{"key": "zeta", "displayName": "=Zeta"}]).is_success
    try:
        lines = filled.get(query, headers={"accept": "text/csv"}).text.splitlines()
    finally:
        filled.delete("/subjects/zeta")
    assert lines[0] == "window_start,window_end,subject,subject_display_name,value"
    assert [line.split(",")[2:] for line in lines[1:]] == [["acme", "", "4.5"], ["zeta", "=Zeta", "1.5"]]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json, text/csv;q=0.1", "application/json"),
        ("text/csv;q=0.1, application/json;q=0.05", "text/csv"),
        ("text/csv, */*;q=0.1", "text/csv"),
        ("*/*", "application/json"),
    ],
)
def test_the_form_is_the_one_that_is_accepted_best(filled: TestClient, accept: str, kind: str) -> None:
    for response in (
        filled.get(QUERY, headers={"accept": accept}),
        filled.post(QUERY, json={}, headers={"accept": accept}),
    ):
        assert response.headers["content-type"].partition(";")[0] == kind


PHONES = ["+4915112345678", "-5", "@home", "=1+1"]


def test_csv_has_keys_as_they_are_unless_it_is_to_be_safe(filled: TestClient, store: ClickHouse) -> None:
    write(store, [(subject, -525_600, "small") for subject in PHONES])
    query, csv = (
        f"{QUERY}?groupBy=subject&from=2025-01-01T00:00:00Z&to=2025-01-02T00:00:00Z",
        {"accept": "text/csv"},
    )
    subjects = [line.split(",")[2] for line in filled.get(query, headers=csv).text.splitlines()[1:]]
    assert sorted(subjects) == sorted(PHONES)
    safe = filled.get(f"{query}&csvSafe=true", headers=csv)
    assert sorted(line.split(",")[2] for line in safe.text.splitlines()[1:]) == sorted(
        "'" + one for one in PHONES
    )
    assert filled.get(f"{query}&csvSafe=false", headers=csv).text == filled.get(query, headers=csv).text
    body = {
        "groupBy": ["subject"],
        "from": "2025-01-01T00:00:00Z",
        "to": "2025-01-02T00:00:00Z",
        "csvSafe": True,
    }
    assert filled.post(QUERY, json=body, headers=csv).text == safe.text
    for wrong in (filled.get(f"{query}&csvSafe=true"), filled.post(QUERY, json=body)):
        assert (wrong.status_code, wrong.json()["reason"]) == (400, "bad-query")
        assert "Accept: text/csv" in wrong.json()["detail"]


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_a_text_that_is_a_formula_is_defused_where_that_is_asked_for(text: str) -> None:
    query = usage_query(define(TOKENS, 1), group_by=["subject", "model"])
    row = {
        "start": "a",
        "end": "b",
        "subject": text,
        "customer": None,
        "group": {"model": text},
        "value": "-1",
    }
    line = csv_text(query, [row], {text: text}, safe=True).split("\r\n", 1)[1].removesuffix("\r\n")
    cell = f"'{text}" if "\r" not in text else f'"\'{text}"'
    assert line == f"a,b,{cell},{cell},{cell},-1"


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("from=2026-01-01&to=2026-01-01", "from and to cannot be equal"),
        ("from=2026-01-02&to=2026-01-01", "from must be before to"),
        ("groupBy=kind", "invalid group by: kind"),
        ("groupBy=customer_id", "customer filter is required with customer_id group by"),
        ("filterGroupBy[kind]=a", "invalid group by filter: kind"),
        (
            'filterGroupBy[model]=a&advancedMeterGroupByFilters={"model":{"$eq":"a"}}',
            "advanced meter group by filters and filter group by cannot be used together",
        ),
        ("advancedMeterGroupByFilters={", "advancedMeterGroupByFilters is no JSON"),
        ("advancedMeterGroupByFilters=[]", "advancedMeterGroupByFilters must be one object"),
        ("advancedMeterGroupByFilters[kind][$eq]=a", "invalid group by filter: kind"),
        ("windowTimeZone=Mars/Base", "invalid time zone: Mars/Base"),
        ("windowSize=WEEK", "invalid window: WEEK"),
        ("clientId=" + "a" * 37, "clientId must have 1 to 36 characters"),
        ("clientId=", "clientId must have 1 to 36 characters"),
        ("&".join(["subject=a"] * 101), "subjects: at most 100 are allowed"),
        ("&".join(["filterCustomerId=a"] * 101), "customers: at most 100 are allowed"),
        ("form=2026-01-01", "there is no parameter 'form'"),
        *(
            (f"{name}=", f"{name} must not be empty")
            for name in (
                "subject",
                "filterCustomerId",
                "groupBy",
                "from",
                "to",
                "windowSize",
                "windowTimeZone",
            )
        ),
        ("subject=acme&subject=", "subject must not be empty"),
        ("groupBy=model,", "groupBy must not be empty"),
        ("windowSize=DAY&windowSize=HOUR", "windowSize must be given once only"),
        ("from=2026-01-01&from=2026-01-02", "from must be given once only"),
        ("csvSafe=1&subject=acme", "csvSafe must be true or false"),
        ("windowTimeZone=localtime", "invalid time zone: localtime"),
        ("windowTimeZone=posixrules&from=2026-01-01", "invalid time zone: posixrules"),
        ("windowTimeZone=Factory", "invalid time zone: Factory"),
        (
            "from=2026-01-01T00:00:00+01:00",
            "from is '2026-01-01T00:00:00 01:00', which is no RFC 3339 time and no date: "
            "time '2026-01-01T00:00:00 01:00' has a space before its offset: in a URL a + has to be sent as %2B.",
        ),
        ("from=yesterday", "from is 'yesterday'"),
        ("from=2026-02-30", "from is '2026-02-30'"),
    ],
)
def test_a_wrong_query_is_refused(filled: TestClient, query: str, detail: str) -> None:
    response = filled.get(f"{QUERY}?{query}")
    assert (response.status_code, response.json()["reason"]) == (400, "bad-query")
    assert response.json()["detail"].startswith(detail)


def test_subjects_and_values(filled: TestClient) -> None:
    until = "from=2026-01-01&to=2026-12-31"
    assert filled.get(f"/meters/tokens/subjects?{until}").json() == ["acme", "zeta"]
    assert filled.get("/meters/tokens/subjects?from=2026-01-01T12:01:30Z").json() == ["zeta"]
    cut = "from=2026-01-01T12:01:00.000000005Z&to=2026-01-01T12:01:00.000000006Z"
    assert filled.get(f"/meters/tokens/subjects?{cut}").json() == ["acme"]
    values = "/meters/tokens/group-by/model/values"
    assert filled.get(f"{values}?{until}").json() == ["large", "small"]
    assert filled.get(f"{values}?{until}&search=ARG").json() == ["large"]
    assert filled.get(values).json() == []  # of the last 24 hours
    assert filled.get("/meters/tokens/group-by/kind/values").status_code == 404
    assert filled.get("/meters/tokens/group-by/subject/values").status_code == 404
    assert filled.get("/meters/other/subjects").status_code == 404
    assert filled.get("/meters/tokens/subjects?form=1").status_code == 400


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
