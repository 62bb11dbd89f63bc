"""`POST /events`: events come in, all of a request or none, and the answer comes after the broker has them.

Owns: the route and its answers. Does not own: what an event is (core.metering.http_batch), the
log (stores.kafka.event_writer), rates (http.rate_limits).

`IngestFirst` answers before any router is asked, since the framework's way to a route costs more than an event does;
the route itself does the same and stands in the OpenAPI document.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson
from fastapi import Depends, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.body import read_body
from pipeline.api.http.described import OtherAnswer, described
from pipeline.api.http.parameters import refuse_unknown
from pipeline.api.http.paths import Router
from pipeline.api.http.problem import answer, problem
from pipeline.api.http.rate_limits import INGEST_PATH, STATE, Limited
from pipeline.api.http.services import services_of
from pipeline.api.metering.answers import AcceptedAnswer
from pipeline.api.metering.bodies import CloudEventBody, EventBatch
from pipeline.core.metering.event import Limits
from pipeline.core.metering.foreseen import refusals
from pipeline.core.metering.http_batch import InvalidEvent, RequestWarning, read, warnings
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.settings import Settings

WARNINGS_HEADER = "Tallymark-Warnings"
MAX_HEADER_CHARS = 4096

DESCRIBED = described(
    contents={
        "application/cloudevents+json": CloudEventBody,
        "application/cloudevents-batch+json": EventBatch,
        "application/json": CloudEventBody | EventBatch,
    },
    status=204,
    meaning="The events are accepted",
    reasons=["body-too-large", "too-many-events"],
    any_reason=True,
    more={
        200: OtherAnswer(
            "The events are accepted; requested by `Prefer: return=representation`", AcceptedAnswer
        ),
    },
    headers={
        WARNINGS_HEADER: {
            "description": "JSON array of warnings, if there are any, each with the members that the answer 200 shows",
            "schema": {"type": "string"},
        }
    },
)


router = Router(tags=["events"])
_may_ingest = needs("ingest")


@router.post(
    "/events",
    summary="Send events",
    status_code=204,
    response_class=Response,
    dependencies=[Depends(_may_ingest)],
    **DESCRIBED,
)
async def post_events(request: Request) -> Response:
    """CloudEvents 1.0 in JSON: one, a batch of up to 1,000, or one in binary mode (`ce-` headers).

    All events of a request are accepted or none, and the answer is sent once the broker has stored them. Retrying is
    safe, because an event is identified by its `source` and `id`: retry after 503, 429 or no answer.
    An accepted event may still not be counted. Warnings name events for which there is no meter, events that a meter
    will refuse (for example because the value is not a number), and events whose time is outside the limits.
    """
    services = services_of(request)
    namespace = namespace_of(request)
    raw = request.scope["headers"]
    headers = dict(raw)
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    try:
        body = await read_body(headers, request.receive)
        found = read(content_type, raw, body, services.settings.max_event_bytes)
    except ClientDisconnect:
        return Response(status_code=400)  # the client reads no response
    except Rejected as refusal:
        return _refused(request, refusal, content_type)
    limited = request.scope["state"].get(STATE)
    if isinstance(limited, Limited):
        await limited.take("events", len(found.types))
    if found.types:
        await services.events.append(namespace, found.packed)
    now_ms = time.time_ns() // 1_000_000
    metered = services.metered.of(namespace)
    refused = refusals(found, partial(services.metered.plan, namespace), now_ms)
    warned = warnings(found, metered, now_ms, limits_of(services.settings), refused)
    return _taken(headers, len(found.types), warned)


class IngestFirst:
    """ASGI middleware under authentication and rate limits: the short way to `post_events`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"] != INGEST_PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            await _may_ingest(request)
            if scope["query_string"]:
                refuse_unknown(request, ())
            response = await post_events(request)
        except (Rejected, Unavailable, Broken) as error:
            response = await answer(request, error)
        await response(scope, receive, send)


def limits_of(settings: Settings) -> Limits:
    """The limits of events as the ingest stage has them."""
    return Limits(settings.horizon_s, settings.future_limit_s, settings.max_event_bytes)


def _refused(request: Request, refusal: Rejected, content_type: str) -> Response:
    extensions: dict[str, Any] | None = None
    if isinstance(refusal, InvalidEvent):
        extensions = {"event": refusal.place}
    elif refusal.reason == "invalid-content-type":
        extensions = {"contentType": content_type[:100]}
    if extensions is None:
        raise refusal
    return problem(request, 400, refusal.reason, refusal.detail, extensions)


def _taken(headers: Mapping[bytes, bytes], events: int, warned: list[RequestWarning]) -> Response:
    rows = [{name: value for name, value in one._asdict().items() if value != ""} for one in warned]
    if b"return=representation" in headers.get(b"prefer", b"").replace(b" ", b"").lower():
        body = orjson.dumps({"accepted": events, "warnings": rows})
        applied = {"Preference-Applied": "return=representation"}
        return Response(body, 200, applied, media_type="application/json")
    response = Response(status_code=204)
    if rows:
        text = json.dumps(rows, separators=(",", ":"))
        while len(text) > MAX_HEADER_CHARS:
            rows.pop()
            text = json.dumps(rows, separators=(",", ":"))
        response.headers[WARNINGS_HEADER] = text
    return response
