"""What an operation takes and answers, as OpenAPI shows it: its body, its answer and the reasons of its refusals.

Owns: how a route declares them (`described`) and how they become a part of the document (`write`). Does not own: the
types (`bodies.py`, `answers.py` of each subject), examples (`pipeline/api/examples.json`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from pipeline.api.http.auth import PORTAL_PREFIXES, is_public
from pipeline.api.http.members import Problem
from pipeline.api.http.problem import MEDIA_TYPE, status_of
from pipeline.errors import Broken

JSON, CSV, HTML, TEXT = "application/json", "text/csv", "text/html", "text/plain"
_DESCRIBED = "x-described"
_REF = "#/components/schemas/{name}"
_RESPONSE = "#/components/responses/{name}"
CHANGING = ("post", "put", "patch", "delete")
# Their bodies are questions or events, or a repeat of them does nothing more: they need no Idempotency-Key.
ASKING = frozenset({
    ("post", "/api/v1/events"),
    ("post", "/api/v1/apps/{appId}/stripe/webhook"),
    ("post", "/api/v1/billing/stripe/retry"),
    ("post", "/api/v1/customers/{customerIdOrKey}/stripe/portal"),
    ("post", "/api/v1/stripe/checkout/sessions"),
    ("post", "/api/v1/billing/customers/{customerIdOrKey}/invoices/simulate"),
    ("post", "/api/v1/billing/replay"),
    ("post", "/api/v1/entitlements/check"),
    ("post", "/api/v1/meters/{idOrSlug}/query"),
})  # fmt: skip
_WHY = {
    400: "The request is wrong. Nothing changed.",
    401: "There is no API key, or one that is unknown, expired or revoked.",
    403: "The API key may not do this.",
    404: "What the request names does not exist in this namespace.",
    409: "It conflicts with what exists. Nothing changed.",
    413: "The body is too large.",
    415: "The body has a content encoding that is not supported here.",
    422: "The Idempotency-Key was used for another request.",
    429: "The API key sends more than its rate allows; see `Retry-After`.",
    501: "This feature is switched off.",
    503: "A service is unavailable: send the same request again after `Retry-After` seconds.",
}
_MEANING = {200: "The answer", 201: "Created", 202: "Accepted: it is done soon", 204: "Done"}
_FAULT = "Fault"
_IN_PATH = re.compile(r"\{(\w+)\}").findall
PATHS = {
    "addonId": "id of a version of the add-on, or its key",
    "appId": "id of the app",
    "channelId": "id of the channel",
    "currency": "ISO 4217",
    "customerIdOrKey": "id or key of the customer",
    "deliveryId": "id of the delivery",
    "entitlementId": "id of the entitlement",
    "entitlementIdOrFeatureKey": "id of the entitlement, or key of its feature: the one in force",
    "eventId": "id of the event",
    "featureId": "id or key of the feature",
    "featureKey": "key of the feature",
    "grantId": "id of the grant",
    "creditNoteId": "id of the credit note",
    "id": "id of the event",
    "idOrSlug": "id or slug of the meter",
    "invoiceId": "id of the invoice",
    "key": "name of the dimension",
    "keyId": "the public part of the key",
    "lineId": "id of the line",
    "listingType": "type of the listing",
    "mappingId": "id of the mapping",
    "meterIdOrSlug": "id or slug of the meter",
    "meterSlug": "slug of the meter",
    "planAddonId": "id of the assignment, or the id or key of the add-on",
    "planId": "id of a version of the plan, or its key",
    "planIdOrKey": "id of a version of the plan, or its key",
    "profileId": "id of the billing profile",
    "ruleId": "id of the rule",
    "slug": "id or slug of the meter",
    "source": "source of the event",
    "subjectIdOrKey": "id or key of the subject",
    "subscriptionAddonId": "id of the purchase, or of the add-on",
    "subscriptionId": "id of the subscription",
}
# Refusals that any request meets before its route sees it: one response each for all operations.
SHARED = {401: "unauthorized", 403: "forbidden", 413: "body-too-large", 415: "unsupported-encoding",
          422: "idempotency-key-reused", 429: "rate-limited", 503: "unavailable"}  # fmt: skip


class OtherAnswer(NamedTuple):
    """One more answer that an operation has. form: type of its JSON; None for an empty answer."""

    meaning: str
    form: Any = None
    headers: Mapping[str, Any] = {}


class _Operation(NamedTuple):
    """What one route declares. The schemas of its types are made when the document is asked for, not at each start."""

    bodies: Mapping[str, Any]
    answers: Mapping[int, OtherAnswer]
    status: int
    reasons: list[str]
    optional: bool
    csv: bool
    media_type: str
    any_reason: bool


_operations: list[_Operation] = []  # what a route declares is found by its place, which FastAPI can copy


def described(
    body: Any = None,
    answer: Any = None,
    *,
    status: int = 200,
    reasons: Iterable[str] = (),
    optional: bool = False,
    csv: bool = False,
    media_type: str = JSON,
    meaning: str = "",
    any_reason: bool = False,
    contents: Mapping[str, Any] | None = None,
    headers: Mapping[str, Any] | None = None,
    more: Mapping[int, OtherAnswer] | None = None,
) -> dict[str, Any]:
    """What a route declares: `@router.post("", **described(CustomerBody, CustomerAnswer, status=201))`.

    Args:
        body: type of the JSON body; None for none.
        answer: type of the JSON answer; None for an empty one.
        status: of the answer.
        reasons: of refusals that are the operation's own; each reason has one status.
        optional: whether the body may be absent or null.
        csv: whether the answer may be CSV too.
        media_type: of the answer.
        meaning: what the answer is, where its status does not say it.
        any_reason: whether 400 has reasons that are not listed.
        headers: of the answer, as OpenAPI writes them.
        contents: types of the body by content type, instead of `body`.
        more: further answers by status.
    """
    bodies = contents or ({} if body is None else {JSON: body})
    answers = {status: OtherAnswer(meaning or _MEANING[status], answer, headers or {}), **(more or {})}
    declared = _Operation(bodies, answers, status, sorted(reasons), optional, csv, media_type, any_reason)
    _operations.append(declared)
    return {"openapi_extra": {_DESCRIBED: len(_operations) - 1}}


def _written(operation: _Operation) -> dict[str, Any]:
    """As OpenAPI shows it: `schemas`, `reasons`, `any_reason`, `answers` by status, and `body` if it has one."""
    bodies, status = operation.bodies, operation.status
    forms = [one.form for one in operation.answers.values() if one.form is not None]
    schemas, components = msgspec.json.schema_components([*bodies.values(), *forms], ref_template=_REF)
    rest = iter(schemas)
    found: dict[str, Any] = {
        "schemas": components,
        "reasons": operation.reasons,
        "any_reason": operation.any_reason,
    }
    if bodies:
        content = {name: {"schema": next(rest)} for name in bodies}
        if operation.optional:
            content[JSON] = {"schema": {"anyOf": [content[JSON]["schema"], {"type": "null"}]}}
        found["body"] = {"required": not operation.optional, "content": content}
    found["answers"] = {str(number): _answer(one, rest) for number, one in operation.answers.items()}
    if operation.media_type != JSON:
        content = found["answers"][str(status)]["content"]
        content[operation.media_type] = content.pop(JSON)
    if operation.csv:
        found["answers"][str(status)]["content"][CSV] = {"schema": {"type": "string"}}
    return found


def _answer(answer: OtherAnswer, schemas: Iterator[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"description": answer.meaning}
    if answer.form is not None:
        found["content"] = {JSON: {"schema": next(schemas)}}
    if answer.headers:
        found["headers"] = dict(answer.headers)
    return found


def write(document: dict[str, Any], examples: Mapping[str, Any]) -> None:
    """Puts what the routes declare into the OpenAPI document, and the refusals that all of them have.

    Args:
        document: as FastAPI makes it; it is changed.
        examples: by operation, as `POST /api/v1/events`: `bodies` by content type and `answers` by status; of shared
            refusals in `refusals`, by reason.

    Raises:
        Broken: an operation declares nothing.
    """
    components = document.setdefault("components", {})
    schemas: dict[str, Any] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            place = operation.pop(_DESCRIBED, None)
            if place is None:
                raise Broken(f"{method.upper()} {path} does not declare what it answers.")
            found = _written(_operations[place])
            schemas |= found["schemas"]
            operation["parameters"] = list(_parameters(path, operation))
            operation.pop("requestBody", None)
            if "body" in found:
                operation["requestBody"] = found["body"]
            operation["responses"] = found["answers"] | _refusals(method, path, operation, found["reasons"])
            if found["any_reason"]:
                operation["responses"]["400"] = _problem(_WHY[400], 400, [])
            _show(operation, examples.get(f"{method.upper()} {path}", {}))
    _, problem = msgspec.json.schema_components([Problem], ref_template=_REF)
    components["schemas"] = dict(sorted((schemas | problem).items()))
    shown = examples.get("refusals", {})
    components["responses"] = {
        _name(reason): _shared(status, reason, shown.get(reason)) for status, reason in SHARED.items()
    } | {_FAULT: _problem("A fault of the server. Its log has the cause.", None, ["broken", "unexpected"])}


def _parameters(path: str, operation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Those of the path first: some routes read them through a dependency."""
    for name in _IN_PATH(path):
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "description": PATHS[name],
        }
    yield from (one for one in operation.get("parameters", ()) if one["in"] != "path")


def _show(operation: dict[str, Any], examples: Mapping[str, Any]) -> None:
    """The examples of one operation."""
    body = operation.get("requestBody", {}).get("content", {})
    for content_type, example in examples.get("bodies", {}).items():
        if content_type in body:
            body[content_type]["example"] = example
    for status, example in examples.get("answers", {}).items():
        content = operation["responses"].get(status, {}).get("content", {})
        for described_form in content.values():
            described_form.setdefault("example", example)
            break


def _refusals(method: str, path: str, operation: Mapping[str, Any], own: Iterable[str]) -> dict[str, Any]:
    """The answers to what is refused, by status; `default` is for what is a fault of the server."""
    reasons = {*own, *_of_all(method, path, operation)}
    by_status: dict[int, list[str]] = {}
    for reason in sorted(reasons):
        by_status.setdefault(503 if reason == "unavailable" else status_of(reason), []).append(reason)
    found: dict[str, Any] = {}
    for status, listed in sorted(by_status.items()):
        alone = SHARED.get(status) == listed[0] and len(listed) == 1
        shared = {"$ref": _RESPONSE.format(name=_name(listed[0]))}
        found[str(status)] = shared if alone else _problem(_WHY[status], status, listed)
    found["default"] = {"$ref": _RESPONSE.format(name=_FAULT)}
    return found


def _of_all(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    """The reasons that every operation of its kind has."""
    parameters = [(one["in"], one["name"]) for one in operation.get("parameters", [])]
    if not is_public(path):
        yield "bad-query"
    if any(place == "query" for place, _ in parameters):
        yield "bad-request"
    if any(place == "path" for place, _ in parameters):
        yield from ("bad-path", "not-found")
    if method != "get":
        yield from ("bad-request", "body-too-large", "unsupported-encoding")
    if method in CHANGING and (method, path) not in ASKING:
        yield from ("bad-idempotency-key", "idempotency-key-reused")
    if not is_public(path):
        yield from ("unauthorized", "rate-limited", "unavailable")
        if not path.startswith(PORTAL_PREFIXES):
            yield "forbidden"


def _shared(status: int, reason: str, example: Any) -> dict[str, Any]:
    found = _problem(_WHY[status], status, [reason])
    if example is not None:
        found["content"][MEDIA_TYPE]["example"] = example
    if status in (429, 503):
        found["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return found


def _problem(meaning: str, status: int | None, reasons: list[str]) -> dict[str, Any]:
    members: dict[str, Any] = {"reason": {"enum": reasons}} if reasons else {}
    if status is not None:
        members["status"] = {"const": status}
    schema = {"allOf": [{"$ref": _REF.format(name=Problem.__name__)}, {"properties": members}]}
    return {"description": meaning, "content": {MEDIA_TYPE: {"schema": schema}}}


def _name(reason: str) -> str:
    """The name of a shared response."""
    return reason.title().replace("-", "")
