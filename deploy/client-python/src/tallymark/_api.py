"""Each call of the API as logic without I/O: it yields requests, receives responses, returns the result.

Owns: paths, parameters and bodies. Does not own: ingest (_ingest), retries (_retry), the wire (the clients).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from itertools import count
from typing import Any, TypeAlias
from urllib.parse import urlencode

from tallymark._json import dumps
from tallymark._models import JSON, Meter, StoredEvent, Usage, read_event, read_meter, read_usage
from tallymark._request import Answer, Asking, Params, Request, path
from tallymark._time import asked

At: TypeAlias = datetime | date | str
OneOrMore: TypeAlias = str | Iterable[str]
_LONG_QUERY = 4_000  # characters; proxies may refuse a longer URL, so the query is sent as a body
_PAGE = 1_000
_V3 = "/api/v3/openmeter"


def query(
    meter: str,
    *,
    from_: At | None,
    to: At | None,
    window: str | None,
    tz: str | None,
    subject: OneOrMore,
    customers: OneOrMore,
    group_by: OneOrMore,
    filters: Mapping[str, OneOrMore],
) -> Asking[list[Usage]]:
    single = {
        "from": None if from_ is None else asked("from_", from_),
        "to": None if to is None else asked("to", to),
        "windowSize": window,
        "windowTimeZone": tz,
    }
    lists = {
        "subject": several(subject),
        "filterCustomerId": several(customers),
        "groupBy": several(group_by),
    }
    wanted = {name: several(values) for name, values in filters.items()}
    given = {name: value for name, value in single.items() if value is not None}
    params: Params = (
        *given.items(),
        *((name, value) for name, values in lists.items() for value in values),
        *((f"filterGroupBy[{name}]", value) for name, values in wanted.items() for value in values),
    )
    place = path("meters", meter, "query")
    if len(urlencode(params)) <= _LONG_QUERY:
        answer = yield Request("GET", place, params, repeatable=True)
    else:
        body = {**given, **{name: values for name, values in lists.items() if values}}
        answer = yield _send(
            "POST", place, {**body, "filterGroupBy": wanted} if wanted else body, repeatable=True
        )
    return [read_usage(row) for row in answer.json()["data"]]


def several(texts: OneOrMore) -> list[str]:
    """One text is a list of one."""
    return [texts] if isinstance(texts, str) else list(texts)


def list_meters() -> Asking[list[Meter]]:
    return [read_meter(body) for body in (yield from every("meters"))]


def get_meter(slug: str) -> Asking[Meter]:
    return read_meter((yield _get("meters", slug)).json())


def create_meter(body: Mapping[str, Any]) -> Asking[Meter]:
    return read_meter((yield _send("POST", path("meters"), _given(body))).json())


def update_meter(slug: str, body: Mapping[str, Any]) -> Asking[Meter]:
    answer = yield _send("PUT", path("meters", slug), _given(body), repeatable=True)
    return read_meter(answer.json())


def meter_subjects(slug: str, from_: At | None, to: At | None) -> Asking[list[str]]:
    return list((yield _get("meters", slug, "subjects", params=_range(from_, to))).json())


def meter_values(slug: str, dimension: str, from_: At | None, to: At | None) -> Asking[list[str]]:
    place = ("meters", slug, "group-by", dimension, "values")
    return list((yield _get(*place, params=_range(from_, to))).json())


def list_events(
    conditions: Mapping[str, str | int | None], from_: At | None, to: At | None
) -> Asking[list[StoredEvent]]:
    params = tuple((name, str(value)) for name, value in conditions.items() if value is not None)
    answer = yield _get("events", params=params + _range(from_, to))
    return [read_event(row) for row in _items(answer)]


def get_event(source: str, id: str) -> Asking[StoredEvent]:
    return read_event((yield _get("events", source, id)).json())


def get(*segments: str) -> Asking[JSON]:
    found: JSON = (yield _get(*segments)).json()
    return found


def create(body: object, *segments: str) -> Asking[JSON]:
    found: JSON = (yield _send("POST", path(*segments), body)).json()
    return found


def replace(body: object, *segments: str) -> Asking[JSON]:
    found: JSON = (yield _send("PUT", path(*segments), body, repeatable=True)).json()
    return found


def upsert(body: object, *segments: str) -> Asking[list[JSON]]:
    """POST a list of the wanted state, so that a repeat has no further effect."""
    found: list[JSON] = (yield _send("POST", path(*segments), body, repeatable=True)).json()
    return found


def delete(*segments: str) -> Asking[None]:
    yield Request("DELETE", path(*segments))


def invalidate(body: object, *segments: str) -> Asking[None]:
    yield _send("POST", path(*segments), body, repeatable=True)


def whole(*segments: str, **conditions: str | int | bool | None) -> Asking[list[JSON]]:
    """All items of a list that has no pages."""
    return _items((yield _get(*segments, params=_conditions(conditions))))


def every(*segments: str, **conditions: str | int | bool | None) -> Asking[list[JSON]]:
    """All items of a list that has pages, page by page."""
    given = _conditions(conditions)
    found: list[JSON] = []
    for page in count(1):
        place = (("page", str(page)), ("pageSize", str(_PAGE)))
        more = _items((yield _get(*segments, params=(*given, *place))))
        if page > 1 and more == found[-_PAGE:]:
            break  # a server that ignores pages
        found += more
        if len(more) != _PAGE:
            break
    return found


def credits(customer: str, *segments: str, **conditions: str | None) -> Asking[JSON]:
    """What is below the credits of a customer (id or key)."""
    asked_for = _get("customers", customer, "credits", *segments, params=_conditions({**conditions}))
    found: JSON = (yield dataclasses.replace(asked_for, below=_V3)).json()
    return found


def change_credits(body: object, customer: str, *segments: str) -> Asking[JSON]:
    """A change of the credits of a customer (id or key)."""
    place = path("customers", customer, "credits", *segments)
    sent = Request("POST", place) if body is None else _send("POST", place, body)
    found: JSON = (yield dataclasses.replace(sent, below=_V3)).json()
    return found


def _items(answer: Answer) -> list[JSON]:
    body = answer.json()
    return list(body if isinstance(body, list) else body["items"])


def _conditions(conditions: dict[str, str | int | bool | None]) -> Params:
    return tuple((name, _text(value)) for name, value in conditions.items() if value is not None)


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _range(from_: At | None, to: At | None) -> Params:
    bounds = {"from": from_, "to": to}
    return tuple((name, asked(name, at)) for name, at in bounds.items() if at is not None)


def _get(*segments: str, params: Params = ()) -> Request:
    return Request("GET", path(*segments), params, repeatable=True)


def _send(method: str, place: str, body: object, *, repeatable: bool = False) -> Request:
    headers = {"content-type": "application/json"}
    return Request(method, place, content=dumps(body), headers=headers, repeatable=repeatable)


def _given(body: Mapping[str, Any]) -> JSON:
    return {
        name: asked(name, value) if isinstance(value, datetime) else value
        for name, value in body.items()
        if value is not None
    }
