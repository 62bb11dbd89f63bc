"""Errors as `application/problem+json` (RFC 7807).

Owns: which status an error has and the body's members; that an unexpected error is a problem too, and is logged
under its request's id. Does not own: the sentences, which the errors bring.
Members: type, title, status, detail, instance, and `reason`, a stable slug to program against.
"""

from __future__ import annotations

import logging
import re
import uuid
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from pipeline.errors import Broken, Rejected, Unavailable

log = logging.getLogger("tallymark.api")

MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "x-request-id"
RETRY_AFTER_S = "5"
CONFLICT = "-conflict"  # how every reason of a 409 ends
STATUS_OF_REASON = {
    "not-found": 404,
    "not-acceptable": 406,
    "unauthorized": 401,
    "forbidden": 403,
    "portal-off": 501,
    "oauth2-off": 501,
    "pdf-off": 501,
    "subscription_transition_not_allowed": 403,
    "entitlement_managed_by_subscription": 403,
    "only_single_subscription_allowed_per_customer_at_a_time": 409,
    "only_single_subscription_item_allowed_at_a_time": 409,
    "subscription_addon_already_bought": 409,
    "deleting_customer_with_active_subscriptions": 409,
}
STATUS_OF_REASON |= {
    "profile_not_found": 404,
    "customer_override_not_found": 404,
    "customer_not_found": 404,
}
STATUS_OF_REASON |= {"credit_grant_key_exists": 409, "credit_grant_has_ended": 409}
STATUS_OF_REASON |= {
    "body-too-large": 413,
    "too-many-events": 413,
    "unsupported-encoding": 415,
    "idempotency-key-reused": 422,
    "rate-limited": 429,
}
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CHALLENGES = {401: "invalid_token", 403: "insufficient_scope"}


def problem(
    request: Request, status: int, reason: str, detail: str, extensions: dict[str, Any] | None = None
) -> Response:
    """The response for one error; `extensions` holds further facts, such as which parameters were wrong."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": one_line(detail),
        "instance": request.scope["path"],  # request.url fails where the Host header is none
        "reason": reason,
    }
    if extensions:
        body["extensions"] = extensions
    return Response(orjson.dumps(body), status, media_type=MEDIA_TYPE)


def one_line(text: str) -> str:
    """The text with control characters escaped: a sentence may repeat what a client sent."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def register(app: FastAPI) -> None:
    """Makes every error of `app` a problem."""
    app.add_exception_handler(Rejected, _rejected)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(Broken, _broken)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def answer(request: Request, error: Rejected | Unavailable | Broken) -> Response:
    """The response for one of the three errors, for who answers outside the framework."""
    by_kind = {Rejected: _rejected, Unavailable: _unavailable, Broken: _broken}
    return await next(to for kind, to in by_kind.items() if isinstance(error, kind))(request, error)


async def _rejected(request: Request, error: Exception) -> Response:
    assert isinstance(error, Rejected)
    response = problem(request, status_of(error.reason), error.reason, error.detail, error.facts)
    if (challenge := _CHALLENGES.get(response.status_code)) is not None:
        response.headers["www-authenticate"] = f'Bearer realm="tallymark", error="{challenge}"'
    return response


def status_of(reason: str) -> int:
    """The HTTP status of a refusal: what is not named here is the client's mistake, 400."""
    return STATUS_OF_REASON.get(reason, 409 if reason.endswith(CONFLICT) else 400)


async def _unavailable(request: Request, error: Exception) -> Response:
    response = problem(request, 503, "unavailable", str(error))
    response.headers["retry-after"] = RETRY_AFTER_S
    return response


async def _broken(request: Request, error: Exception) -> Response:
    log.error("request %s: %s", _trace(request), error)
    return problem(request, 500, "broken", str(error))


async def _unexpected(request: Request, error: Exception) -> Response:
    """The answer to an error that is none of ours; the framework raises it again, so that it is never swallowed."""
    trace = _trace(request)
    log.critical("request %s, %s %s, failed", trace, request.method, request.scope["path"], exc_info=error)
    detail = f"The request failed by a fault of the server; its log has the cause under {trace}."
    response = problem(request, 500, "unexpected", detail, {"requestId": trace})
    response.headers[REQUEST_ID] = trace
    return response


def _trace(request: Request) -> str:
    """The request's id; a new one where it failed before it had one."""
    known = request.scope.get("state", {}).get("request_id")
    return known if isinstance(known, str) else uuid.uuid4().hex


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [
        {
            "field": ".".join(str(part) for part in found["loc"][1:]),
            "in": str(found["loc"][0]),
            "detail": found["msg"],
        }
        for found in error.errors()
    ]
    first = wrong[0]
    detail = f"{first['field'] or 'The body'}: {first['detail']}."
    return problem(request, 400, "bad-request", detail, {"validationErrors": wrong})


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "bad-request")
    detail = f"{request.method} {request.scope['path']}: {error.detail}."
    if error.status_code == 404:
        detail += " A / within a key or an id is sent as %2F."
    return problem(request, error.status_code, reason, detail)
