"""Makes calls of OpenMeter's Python client against TALLYMARK_URL with the key TALLYMARK_KEY.

Prints one JSON object a line: {call, outcome, note}. Runs where only `openmeter` is installed.
"""

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from corehttp.exceptions import HttpResponseError, ResourceNotFoundError
from openmeter import Client
from openmeter.models import Event

client: Any = Client(endpoint=os.environ["TALLYMARK_URL"], token=os.environ["TALLYMARK_KEY"])
SLUG = "foreign_py"
FROM = datetime.now(UTC) - timedelta(hours=1)
TO = datetime.now(UTC) + timedelta(hours=1)


def call(
    name: str, ask: Callable[[], Any], check: Callable[[Any], Any] = lambda _: True, differs: str = ""
) -> Any:
    """Asks, and says whether `check` of the answer is True. differs: how it is otherwise than users expect."""
    answer, outcome, note = None, "differs" if differs else "works", differs
    try:
        answer = ask()
        if (found := check(answer)) is not True:
            outcome, note = "fails", f"{found!r}"
    except Exception as error:
        outcome, note = "fails", f"{type(error).__name__}: {error}"[:400]
    print(json.dumps({"call": name, "outcome": outcome, "note": note}), flush=True)
    return answer


def refused(ask: Callable[[], Any]) -> Any:
    """The status of a refusal, or the answer."""
    try:
        return ask()
    except HttpResponseError as error:
        return error.status_code


def until(ask: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
    """The answer as soon as it is enough, or the last one after 240 s."""
    deadline = time.monotonic() + 240
    while True:
        answer = ask()
        if enough(answer) or time.monotonic() > deadline:
            return answer
        time.sleep(0.1)


def event(number: int, model: str) -> dict[str, Any]:
    """An event of the one meter."""
    return {
        "id": f"py-{number}",
        "source": "foreign",
        "specversion": "1.0",
        "type": "foreign-py",
        "subject": "py-a" if number % 2 else "py-b",
        "data": {"tokens": number, "model": model},
    }


def rows(answer: Any) -> list[Any]:
    """Rows of a query."""
    return [[row["subject"], row["value"]] for row in answer["data"]]


METER = {
    "slug": SLUG,
    "name": "Foreign",
    "eventType": "foreign-py",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
}
call("meters.create", lambda: client.meters.create(METER), lambda m: m["slug"] == SLUG or m)
call("meters.get", lambda: client.meters.get(SLUG), lambda m: m["aggregation"] == "SUM" or m)
call("meters.list", lambda: list(client.meters.list()), lambda ms: SLUG in [m["slug"] for m in ms] or ms)
call(
    "meters.update",
    lambda: client.meters.update(SLUG, {"name": "Changed", "groupBy": {"model": "$.model"}}),
    lambda m: m["name"] == "Changed" or m,
)
call("events.ingest_event", lambda: client.events.ingest_event(event(1, "large")))
call("events.ingest_events", lambda: client.events.ingest_events([event(2, "small"), event(3, "small")]))
call("events.ingest_events_json", lambda: client.events.ingest_events_json(Event(event(5, "small"))))
call(
    "meters.query_json",
    lambda: until(
        lambda: client.meters.query_json(
            SLUG, from_parameter=FROM, to=TO, subject=["py-a", "py-b"], group_by=["model"], window_size="DAY"
        ),
        lambda answer: sum(value for _, value in rows(answer)) == 11,
    ),
    lambda answer: rows(answer) == [["py-a", 1], ["py-a", 8], ["py-b", 2]] or answer,
)
call(
    "meters.query_json (filter_group_by)",
    lambda: refused(lambda: client.meters.query_json(SLUG, filter_group_by={"model": "large"})),
    lambda status: status == 400 or status,
    "the client sends Python's own spelling of the dict, which no server can read: we say 400. "
    "advanced_meter_group_by_filters, or meters.query with a body, do it",
)
call(
    "meters.query_json (advanced filters)",
    lambda: client.meters.query_json(SLUG, advanced_meter_group_by_filters={"model": {"$ne": "large"}}),
    lambda answer: rows(answer) == [[None, 10]] or answer,
)
call(
    "meters.query_csv",
    lambda: client.meters.query_csv(SLUG, from_parameter=FROM, to=TO),
    lambda answer: str(answer).splitlines()[0] == "window_start,window_end,value" or answer,
)
call(
    "meters.query",
    lambda: client.meters.query(
        SLUG, {"from": FROM.isoformat(), "advancedMeterGroupByFilters": {"model": {"$eq": "large"}}}
    ),
    lambda answer: rows(answer) == [[None, 1]] or answer,
)
call(
    "meters.list_subjects",
    lambda: client.meters.list_subjects(SLUG, from_parameter=FROM),
    lambda found: list(found) == ["py-a", "py-b"] or found,
)
call(
    "meters.list_group_by_values",
    lambda: client.meters.list_group_by_values(SLUG, "model", from_parameter=FROM),
    lambda found: list(found) == ["large", "small"] or found,
)
call(
    "events.list",
    lambda: until(lambda: list(client.events.list(id="py-", from_parameter=FROM)), lambda es: len(es) == 4),
    lambda es: sorted(e["event"]["id"] for e in es) == ["py-1", "py-2", "py-3", "py-5"] or es,
)
call(
    "events_v2.list",
    lambda: list(client.events_v2.list(filter={"subject": {"$like": "py-%"}}, limit=2)),  # two pages
    lambda es: sorted(e["event"]["id"] for e in es) == ["py-1", "py-2", "py-3", "py-5"] or es,
)
call(
    "subjects.upsert",
    lambda: client.subjects.upsert([{"key": "py-a", "displayName": "A"}]),
    lambda ss: ss[0]["key"] == "py-a" or ss,
)
call("subjects.get", lambda: client.subjects.get("py-a"), lambda s: s["displayName"] == "A" or s)
call("subjects.list", lambda: list(client.subjects.list()), lambda ss: "py-a" in [s["key"] for s in ss] or ss)
CUSTOMER = {"name": "Customer", "key": "py-customer", "usageAttribution": {"subjectKeys": ["py-a"]}}
customer = call(
    "customers.create", lambda: client.customers.create(CUSTOMER), lambda c: c["key"] == "py-customer" or c
)
call("customers.get", lambda: client.customers.get("py-customer"), lambda c: c["id"] == customer["id"] or c)
call("customers.list", lambda: client.customers.list(key="py-"), lambda p: p["totalCount"] == 1 or p)
call(
    "customers.update",
    lambda: client.customers.update("py-customer", CUSTOMER | {"name": "Renamed"}),
    lambda c: c["name"] == "Renamed" or c,
)
call(
    "meters.query_json (customer)",
    lambda: client.meters.query_json(SLUG, from_parameter=FROM, filter_customer_id=[customer["id"]]),
    lambda answer: [[r["customerId"], r["value"]] for r in answer["data"]] == [[customer["id"], 9]] or answer,
)
FEATURE = {"key": "py_feature", "name": "Feature", "meterSlug": SLUG}
feature = call(
    "features.create", lambda: client.features.create(FEATURE), lambda f: f["key"] == "py_feature" or f
)
call("features.get", lambda: client.features.get("py_feature"), lambda f: f["id"] == feature["id"] or f)
call("features.list", client.features.list, bool)
call("features.delete", lambda: client.features.delete(feature["id"]))
token = call(
    "portal.portal_tokens.create",
    lambda: client.portal.portal_tokens.create({"subject": "py-a", "allowedMeterSlugs": [SLUG]}),
    lambda t: bool(t["token"]) or t,
)
portal: Any = Client(endpoint=os.environ["TALLYMARK_URL"], token=token["token"] if token else "")
call(
    "portal.portal_meters.query_json",
    lambda: portal.portal.portal_meters.query_json(SLUG, from_parameter=FROM),
    lambda answer: rows(answer) == [["py-a", 9]] or answer,
)
call(
    "portal.portal_meters.query_csv",
    lambda: portal.portal.portal_meters.query_csv(SLUG, from_parameter=FROM),
    lambda answer: str(answer).startswith("window_start,") or answer,
)
call("portal.portal_tokens.list", client.portal.portal_tokens.list, lambda ts: bool(ts) or ts)
call("portal.portal_tokens.invalidate", lambda: client.portal.portal_tokens.invalidate(id=token["id"]))


def missing() -> Any:
    """What the client makes of a 404."""
    try:
        return client.meters.get("no_such_meter")
    except ResourceNotFoundError as error:
        return error
    except HttpResponseError as error:
        return repr(error)


call("errors are problems", missing, lambda error: isinstance(error, ResourceNotFoundError) or error)
call("customers.delete", lambda: client.customers.delete("py-customer"))
call("subjects.delete", lambda: client.subjects.delete("py-a"))
call("meters.delete", lambda: client.meters.delete(SLUG))
