"""Entitlements over HTTP, in the shapes that OpenMeter's clients expect."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.core.values import timestamp
from pipeline.records import Balance, Window
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.rows import unique_columns, window_columns
from pipeline.stores.redis_balances import BalanceReader
from tests.fixtures.control_stage import ControlStage

ACME = {"key": "acme", "name": "ACME", "usageAttribution": {"subjectKeys": ["prod", "test"]}}
METERED: dict[str, Any] = {"type": "metered", "featureKey": "tokens", "usagePeriod": {"interval": "DAY"}}
V2 = "http://testserver/api/v2"
PATHS = ("/customers/acme/entitlements", V2 + "/customers/acme/entitlements", "/subjects/prod/entitlements")


@pytest.fixture(scope="module")
def copy() -> Copy:
    return Copy()


@pytest.fixture(scope="module")
def api(served: Settings, copy: Copy) -> Iterator[TestClient]:
    app = create_app(served, balances=cast(BalanceReader, copy))
    with TestClient(app, base_url="http://testserver/api/v1") as client:
        yield client


@pytest.fixture(scope="module", autouse=True)
def catalog(api: TestClient, decider: ControlStage) -> None:
    """Two meters, a customer and its features."""
    for slug, how in (("tokens", "SUM"), ("users", "UNIQUE_COUNT"), ("level", "LATEST")):
        wanted = {"slug": slug, "eventType": "x", "aggregation": how, "valueProperty": "$.v",
                  "groupBy": {"model": "$.model"}}  # fmt: skip
        assert api.post("/meters", json=wanted).status_code == 201
        feature = {"key": slug, "name": slug, "meterSlug": slug, "meterGroupByFilters": {"model": "a"}}
        assert api.post("/features", json=feature).status_code == 201
    assert api.post("/features", json={"key": "sso", "name": "SSO"}).status_code == 201
    assert api.post("/customers", json=ACME).status_code == 201


@pytest.fixture(autouse=True)
def nothing_yet(api: TestClient) -> Iterator[None]:
    yield
    for row in api.get("/entitlements?page=1&pageSize=1000").json()["items"]:
        api.delete(f"/customers/{row['customerId']}/entitlements/{row['id']}")


def refused(response: Any) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["reason"]


def minute(before_s: int = 0) -> int:
    return int(time.time()) // 60 * 60 - before_s


def text(at_s: int) -> str:
    return timestamp.text_of(at_s * 1000)


@pytest.mark.parametrize("path", PATHS, ids=("v1", "v2", "subject"))
def test_an_entitlement_from_creation_to_its_end(api: TestClient, path: str) -> None:
    wanted = METERED | {"issueAfterReset": 12.5, "issueAfterResetPriority": 3, "metadata": {"a": "b"}}
    created = api.post(path, json=wanted)
    assert created.status_code == 201, created.text
    made = created.json()
    assert made["issueAfterReset"] == 12.5 and made["issue"] == {"amount": 12.5, "priority": 3}
    assert made["customerKey"] == "acme" and made["subjectKey"] == "prod" and len(made["id"]) == 26
    assert made["usagePeriod"] == {"interval": "DAY", "intervalISO": "P1D", "anchor": made["activeFrom"]}
    assert made["currentUsagePeriod"]["from"] == made["lastReset"] == made["measureUsageFrom"]
    assert (made["isSoftLimit"], made["preserveOverageAtReset"]) == (False, False)
    for name in (made["id"], "tokens"):
        assert api.get(f"{path}/{name}").json() == made
    listed = api.get(path).json()
    assert (listed if isinstance(listed, list) else listed["items"]) == [made]
    assert api.get(f"/entitlements/{made['id']}").json()["id"] == made["id"]
    conflict = api.post(path, json=wanted)
    assert refused(conflict) == (409, "entitlement-conflict") and made["id"] in conflict.json()["detail"]

    assert api.delete(f"{path}/tokens").status_code == 204
    assert refused(api.get(f"{path}/tokens")) == refused(api.delete(f"{path}/tokens")) == (404, "not-found")
    assert api.get(f"/entitlements/{made['id']}").json()["deletedAt"]
    listed = api.get(path).json()
    assert (listed if isinstance(listed, list) else listed["items"]) == []
    listed = api.get(f"{path}?includeDeleted=true").json()
    assert made["id"] in [row["id"] for row in (listed if isinstance(listed, list) else listed["items"])]


@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        ({"type": "other"}, "entitlement type must be one of boolean, static, metered"),
        ({"type": "metered", "featureKey": "tokens"}, "usagePeriod is required for metered entitlements"),
        ({**METERED, "featureKey": "sso"}, "feature sso has no meter: a metered entitlement needs one"),
        ({"type": "static", "featureKey": "sso"}, "config is required for static entitlements"),
        (
            {**METERED, "measureUsageFrom": "2999-01-01T00:00:00Z"},
            "measureUsageFrom must not be after the entitlement becomes active",
        ),
        ({**METERED, "issueAfterReset": 0.1234567890123456789}, "too many digits for a JSON number"),
        ({**METERED, "subscriptionId": "s"}, "entitlement subscriptionId is written by the server"),
        ({**METERED, "customerId": "other"}, "entitlement customerId is named by the path"),
    ],
    ids=lambda part: str(part)[:40],
)
def test_a_wrong_entitlement_is_refused(api: TestClient, wrong: dict[str, Any], detail: str) -> None:
    response = api.post(PATHS[0], json=wrong)
    assert refused(response) == (400, "bad-entitlement")
    assert detail in response.json()["detail"]


def test_who_is_not_there(api: TestClient) -> None:
    for path in ("/customers/unknown", V2 + "/customers/unknown", "/subjects/unknown"):
        assert refused(api.get(f"{path}/entitlements")) == (404, "not-found")
        assert refused(api.post(f"{path}/entitlements", json=METERED)) == (404, "not-found")
        assert refused(api.get(f"{path}/entitlements/tokens/history")) == (404, "not-found")
    assert refused(api.get("/entitlements/nothing")) == (404, "not-found")
    assert refused(api.post(PATHS[0], json=METERED | {"featureKey": "nothing"})) == (404, "not-found")


@pytest.mark.parametrize("path", PATHS, ids=("v1", "v2", "subject"))
def test_an_override_ends_what_was(api: TestClient, path: str) -> None:
    old = api.post(path, json=METERED).json()
    new = api.put(f"{path}/tokens/override", json=METERED | {"isSoftLimit": True, "issueAfterReset": 1})
    assert new.status_code == 201, new.text
    assert new.json()["isSoftLimit"] and new.json()["id"] != old["id"]
    assert api.get(f"{path}/tokens").json() == new.json()
    assert refused(api.put(f"{path}/sso/override", json=METERED)) == (404, "not-found")


@pytest.mark.parametrize("path", PATHS, ids=("v1", "v2", "subject"))
def test_a_reset_begins_a_new_period(api: TestClient, path: str) -> None:
    start_s = minute(7200)
    wanted = METERED | {"usagePeriod": {"interval": "DAY", "anchor": text(start_s)}}
    api.post(path, json=wanted | {"measureUsageFrom": text(start_s)})
    assert refused(api.post(f"{path}/tokens/reset", json={"effectiveAt": text(minute() + 600)}))[0] == 400
    at_s = minute()
    reset = {"effectiveAt": text(at_s), "retainAnchor": False}
    assert api.post(f"{path}/tokens/reset", json=reset).status_code == 204
    now = api.get(f"{path}/tokens").json()
    assert now["lastReset"] == text(at_s) == now["currentUsagePeriod"]["from"] == now["usagePeriod"]["anchor"]
    again = api.post(f"{path}/tokens/reset", json=reset)
    assert (again.status_code, again.json()["detail"]) == (400, "reset time must be after the last reset")


@pytest.mark.parametrize("path", PATHS, ids=("v1", "v2", "subject"))
def test_an_anchor_keeps_its_offset(api: TestClient, path: str) -> None:
    anchor = "2026-03-01T00:00:00.000+01:00"
    for zone in ({}, {"timeZone": "Asia/Tokyo"}):  # midnight in one is 8 o'clock in the other
        wanted = METERED | {"usagePeriod": {"interval": "MONTH", "anchor": anchor, **zone}}
        made = api.post(path, json=wanted).json()
        assert made["usagePeriod"] == {"interval": "MONTH", "intervalISO": "P1M", "anchor": anchor, **zone}
        assert made["currentUsagePeriod"]["to"][10:16] == "T23:00"
        assert api.get(f"{path}/tokens").json() == made
        api.delete(f"{path}/tokens")


@pytest.mark.parametrize("path", PATHS, ids=("v1", "v2", "subject"))
def test_grants_of_an_override_roll_over_as_those_of_a_new_one(api: TestClient, path: str) -> None:
    api.post(path, json=METERED)
    made = api.put(f"{path}/tokens/override", json=METERED | {"grants": [{"amount": 7}]}).json()
    rows = [one for one in api.get("/grants").json() if one["entitlementId"] == made["id"]]
    assert [row["maxRolloverAmount"] for row in rows] == [7]


def test_entitlements_of_all(api: TestClient) -> None:
    api.post(PATHS[0], json=METERED)
    api.post(PATHS[0], json={"type": "static", "featureKey": "sso", "config": '{"a": 1}'})
    other = api.post("/customers", json={"key": "other", "name": "Other"}).json()
    future = {"type": "boolean", "featureKey": "sso", "activeFrom": text(minute() + 3600)}
    assert api.post("/customers/other/entitlements", json=future).status_code == 201

    def found(query: str, version: str = "") -> set[tuple[str, str]]:
        rows = api.get(f"{version}/entitlements?{query}").json()
        rows = rows if isinstance(rows, list) else rows["items"]
        return {(row["customerKey"], row["featureKey"]) for row in rows}

    every = {("acme", "tokens"), ("acme", "sso"), ("other", "sso")}
    assert found("") == found("", V2) == every
    assert found("feature=sso") == found("feature=sso", V2) == every - {("acme", "tokens")}
    assert found("subject=prod") == found("customerKeys=acme", V2) == every - {("other", "sso")}
    assert found(f"customerIds={other['id']}", V2) == {("other", "sso")}
    assert found("entitlementType=metered,static") == every - {("other", "sso")}
    assert found("excludeInactive=true") == every - {("other", "sso")}
    assert found("subject=unknown") == found("feature=nothing") == set()
    assert len(api.get("/entitlements?limit=1&offset=1").json()) == 1
    assert api.get("/entitlements?page=1&pageSize=1").json()["totalCount"] == 3
    assert refused(api.get("/entitlements?orderBy=config")) == (400, "bad-query")
    assert api.get("/customers/acme/entitlements/sso").json()["config"] == '{"a": 1}'


class Copy:
    """A copy of balances, as Redis has it."""

    def __init__(self) -> None:
        self.hold()

    def hold(self, *held: Balance) -> None:
        """From now on it has these only."""
        self.held = {(one.customer, one.feature): one for one in held}

    async def read(self, namespace: str, wanted: Any) -> list[list[Balance | None]]:
        return [[self.held.get((customer, feature)) for feature in features] for customer, features in wanted]


def test_values(api: TestClient, copy: Copy) -> None:
    made = {key: api.post(PATHS[0], json=wanted).json() for key, wanted in {
        "tokens": METERED | {"issueAfterReset": 5},
        "sso": {"type": "static", "featureKey": "sso", "config": "[1]"},
    }.items()}  # fmt: skip
    customer = made["sso"]["customerId"]
    live = Balance("default", customer, "tokens", made["tokens"]["id"], "metered", 1, True, 1,
                   balance="0.000000000000000001", usage="4.5", overage="0",
                   total_available="12345678901234567.5")  # fmt: skip
    copy.hold(live)
    for path in PATHS[1:]:
        for name in ("tokens", made["tokens"]["id"]):
            value = json.loads(api.get(f"{path}/{name}/value").text, parse_float=Decimal)
            assert value == {
                "hasAccess": True,
                "balance": Decimal("1E-18"),
                "usage": Decimal("4.5"),
                "overage": 0,
                "totalAvailableGrantAmount": Decimal("12345678901234567.5"),
            }
        # No balance is there yet: from the definitions.
        assert api.get(f"{path}/sso/value").json() == {"hasAccess": True, "config": "[1]"}
        assert refused(api.get(f"{path}/users/value")) == (404, "not-found")
    copy.hold()
    value = api.get(f"{PATHS[1]}/tokens/value").json()
    assert value == {
        "hasAccess": True,
        "balance": 5,
        "usage": 0,
        "overage": 0,
        "totalAvailableGrantAmount": 5,
    }


def test_checks_say_what_is_not_there(api: TestClient, copy: Copy) -> None:
    made = api.post(PATHS[0], json=METERED).json()
    customer = made["customerId"]
    live = Balance("default", customer, "tokens", made["id"], "metered", 1, True, 1,
                   balance="5", usage="0", overage="0", total_available="5")  # fmt: skip
    ended = Balance("default", customer, "users", "e", "", 1, False, 1)
    copy.hold(live, ended)
    checks = [("acme", "tokens"), (customer, "tokens"), ("acme", "users"), ("acme", "level"), ("acme", "none"),
              ("unknown", "tokens"), ("unknown", "none")]  # fmt: skip
    wanted = {"checks": [{"customer": one, "feature": feature} for one, feature in checks]}
    results = api.post("/entitlements/check", json=wanted).json()["results"]
    assert [(row["customer"], row["feature"]) for row in results] == checks
    assert [row["hasAccess"] for row in results] == [True, True, False, False, False, False, False]
    assert [row.get("reason") for row in results] == [
        None, None, "no-entitlement", "no-entitlement", "feature-not-found", "customer-not-found", "customer-not-found",
    ]  # fmt: skip
    for wrong in ({"checks": [], "at": 1}, {"checks": [{"customer": "a", "feature": "b", "usage": 1}]}):
        assert refused(api.post("/entitlements/check", json=wrong)) == (400, "bad-request")


def use(api: TestClient, store: ClickHouse, slug: str, *used: tuple[str, int, str, Any]) -> None:
    """Usage as the sink writes it: subject, instant, model, and the value or the member."""
    have = api.app.state.services  # type: ignore[attr-defined]
    _, meter = have.definitions.meter("default", slug)
    windows = []
    for revision, (subject, at_s, model, value) in enumerate(used, 1):
        members = [value] if slug == "users" else []
        shown = "1" if slug == "users" else str(value)
        order = f"{at_s:020d}"
        windows.append(Window("default", slug, meter.meter_id, subject, {"model": model}, at_s // 60 * 60, shown, 1,
                              shown, order, members, revision, 1))  # fmt: skip
    store.insert("windows", window_columns(windows, 1))
    store.insert("uniques", unique_columns(windows))


@pytest.mark.parametrize("path", PATHS, ids=("v1", "v2", "subject"))
def test_the_history_of_a_balance(api: TestClient, store: ClickHouse, path: str) -> None:
    start_s = minute(7200)
    wanted = METERED | {"usagePeriod": {"interval": "DAY", "anchor": text(start_s)}, "issueAfterReset": 100}
    assert api.post(path, json=wanted | {"measureUsageFrom": text(start_s)}).status_code == 201
    store.query("TRUNCATE TABLE windows")
    use(api, store, "tokens", ("prod", start_s + 60, "a", "30.25"), ("test", start_s + 3660, "a", 89),
        ("prod", start_s + 120, "b", 1000), ("another", start_s + 60, "a", 1000))  # fmt: skip
    (grant,) = api.get("/grants").json()[-1:]

    answer = api.get(f"{path}/tokens/history?windowSize=HOUR")
    assert answer.status_code == 200, answer.text
    history = json.loads(answer.text, parse_float=Decimal)
    windowed, (burnt,) = history["windowedHistory"], history["burndownHistory"]
    assert sum(row["usage"] for row in windowed) == Decimal("119.25")
    assert windowed[0]["period"]["from"] == text(start_s) and windowed[0]["balanceAtStart"] == 100
    at_s = (start_s + 3660) // 3600 * 3600
    (second,) = [row for row in windowed if row["period"]["from"] == text(at_s)]
    assert second["balanceAtStart"] == Decimal("69.75")
    assert burnt["grantBalancesAtStart"] == {grant["id"]: 100} and burnt["grantBalancesAtEnd"] == {
        grant["id"]: 0
    }
    assert burnt["grantUsages"] == [{"grantId": grant["id"], "usage": 100}]
    assert (burnt["usage"], burnt["overage"]) == (Decimal("119.25"), Decimal("19.25"))
    assert (burnt["balanceAtStart"], burnt["balanceAtEnd"]) == (100, 0)

    for kind in ("windowedHistory", "burndownHistory"):
        assert history[kind][0]["period"]["from"] == text(start_s)
        assert history[kind][-1]["period"]["to"] == windowed[-1]["period"]["to"]

    cut = f"from={text(start_s + 60)}&to={text(start_s + 120)}&windowSize=MINUTE"
    (row,) = api.get(f"{path}/tokens/history?{cut}").json()["windowedHistory"]
    assert row["usage"] == 30.25
    before = f"from={text(start_s - 60)}&windowSize=DAY"
    response = api.get(f"{path}/tokens/history?{before}")
    assert (response.status_code, response.json()["detail"]) == (
        400,
        "from must not be before measureUsageFrom",
    )
    if path != PATHS[0]:
        then = api.get(f"{path}/tokens/value?time={text(start_s + 120)}").json()
        assert (then["balance"], then["usage"], then["hasAccess"]) == (
            69.75,
            30.25,
            False,
        )  # not yet in force
        now = api.get(f"{path}/tokens/value?time={text(minute())}").json()
        assert (now["balance"], now["overage"], now["hasAccess"]) == (0, 19.25, False)


@pytest.mark.parametrize("path", PATHS, ids=("v1", "v2", "subject"))
def test_a_history_begins_at_the_last_reset(api: TestClient, store: ClickHouse, path: str) -> None:
    start_s = minute(7200)
    wanted = METERED | {"usagePeriod": {"interval": "DAY", "anchor": text(start_s)}, "issueAfterReset": 100}
    assert api.post(path, json=wanted | {"measureUsageFrom": text(start_s)}).status_code == 201
    reset_s = minute()
    reset = {"effectiveAt": text(reset_s), "retainAnchor": True}
    assert api.post(f"{path}/tokens/reset", json=reset).status_code == 204
    store.query("TRUNCATE TABLE windows")
    use(api, store, "tokens", ("prod", start_s + 60, "a", 30), ("prod", reset_s, "a", 7))
    asked = {"": (reset_s, 7), f"&to={text(reset_s)}": (start_s, 30), f"&from={text(start_s)}": (start_s, 37)}
    for query, (from_s, used) in asked.items():
        history = api.get(f"{path}/tokens/history?windowSize=DAY{query}").json()
        for rows in (history["windowedHistory"], history["burndownHistory"]):
            assert rows[0]["period"]["from"] == text(from_s)
            assert sum(row["usage"] for row in rows) == used
        assert (
            history["windowedHistory"][-1]["period"]["to"] == history["burndownHistory"][-1]["period"]["to"]
        )


@pytest.mark.parametrize(
    ("slug", "first", "second", "usages"), [("users", "00" * 16, "00" * 16, [1, 0]), ("level", 7, 4, [7, 4])]
)
def test_the_history_of_what_does_not_add_up(
    api: TestClient, store: ClickHouse, slug: str, first: Any, second: Any, usages: list[int]
) -> None:
    start_s = minute(600)
    wanted = {"type": "metered", "featureKey": slug, "measureUsageFrom": text(start_s),
              "usagePeriod": {"interval": "DAY", "anchor": text(start_s)}}  # fmt: skip
    assert api.post(PATHS[0], json=wanted).status_code == 201
    use(api, store, slug, ("prod", start_s, "a", first), ("test", start_s + 60, "a", second))
    asked = f"from={text(start_s)}&to={text(start_s + 120)}&windowSize=MINUTE"
    history = api.get(f"{PATHS[0]}/{slug}/history?{asked}").json()
    assert [row["usage"] for row in history["windowedHistory"]] == usages


@pytest.mark.parametrize(
    "query",
    ["from=x", "to=x", "windowSize=WEEK", "windowTimeZone=Mars/Base", "windowTimeZone=../../etc/passwd",
     "to=2999-01-01", "from=1970-01-01&windowSize=MINUTE", "from=2026-01-02&to=2026-01-01"],
)  # fmt: skip
def test_a_wrong_question_about_history(api: TestClient, query: str) -> None:
    api.post(PATHS[0], json=METERED)
    assert refused(api.get(f"{PATHS[0]}/tokens/history?{query}")) == (400, "bad-query")


def test_only_metered_ones_have_a_history(api: TestClient) -> None:
    api.post(PATHS[0], json={"type": "boolean", "featureKey": "sso"})
    assert refused(api.get(f"{PATHS[0]}/sso/history")) == (400, "bad-entitlement")
    assert refused(api.post(f"{PATHS[0]}/sso/reset", json={})) == (400, "bad-entitlement")
