"""From a request to a decided command: who asks, under which idempotency key, and that this process has the result.

Owns: what every changing route does in the same way, the header `Idempotency-Key`. Does not own: sending and waiting
(stores.kafka.commands), rules (core), when two requests are the same (core.definitions.idempotency).
Routes check nothing that the control stage decides, so that refused commands are in the audit log too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fastapi import Request

from pipeline.api.http.auth import REPLAYED, principal, request_id
from pipeline.api.http.services import Services, services_of
from pipeline.core.definitions import idempotency
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.records import Reply
from pipeline.stores.kafka.definitions import Definitions

OWN_WRITE_S = 10.0
IDEMPOTENCY_KEY = "idempotency-key"
_KEY = re.compile(r"[ -~]{1,255}", re.ASCII).fullmatch
CommandBody = dict[str, object]


def submit(
    request: Request, kind: str, asked: Mapping[str, object], added: Mapping[str, object] | None = None
) -> Reply:
    """The reply to a command in the name of the request's principal, once this process knows its result.

    asked: what the client asks, in path and body: a later request with the same idempotency key has to ask the same.
    added: what the server puts into the command, such as a secret that it made; another one for each request.
    Raises Rejected as decided, Unavailable when nothing is decided in time.
    """
    services, who = services_of(request), principal(request)
    client, key = request.client, _idempotency_key(request)
    reply = services.commands.run(
        kind,
        who.namespace,
        {**asked, **(added or {})},
        actor=who.actor,
        request_id=request_id(request),
        ip=client.host if client else "",
        id="" if key is None else idempotency.command_id(key),
        request="" if key is None else idempotency.request_of(kind, asked),
    )
    request.scope["state"][REPLAYED] = reply.repeated
    read_own(services, reply.revision)
    return reply


def _idempotency_key(request: Request) -> str | None:
    sent = request.headers.getlist(IDEMPOTENCY_KEY)
    if not sent:
        return None
    if len(sent) > 1 or not _KEY(sent[0]):
        raise Rejected(
            "bad-idempotency-key", "The Idempotency-Key is one header of 1 to 255 printable ASCII characters."
        )
    return sent[0]


def with_id(
    kind: str, body: Mapping[str, object], named: str, stored: Mapping[str, object] | None = None
) -> CommandBody:
    """The body with the id that the path names.

    stored: what the path names, if it has an id that clients send back. Raises Rejected `bad-<kind>` for another id.
    """
    sent = body.get("id")
    if sent not in (None, named) and sent != (stored or {}).get("id"):
        raise Rejected(f"bad-{kind}", f"{kind} id is named by the path: leave it out of the body")
    return {**body, "id": named}


def submit_and_wait_for_workers(request: Request, kind: str, asked: Mapping[str, object]) -> Reply:
    """As `submit`, once every running worker that reads definitions knows it too, so that what comes next meets it."""
    reply = submit(request, kind, asked)
    services_of(request).commands.until_known(reply.revision)
    return reply


def body_of(reply: Reply) -> CommandBody:
    """What a reply must have brought."""
    if reply.body is None:
        raise Broken(f"The reply to the command {reply.id} has no body.")
    return reply.body


def read_own(services: Services, revision: int) -> None:
    """Returns when this process has read `revision`. Raises Unavailable."""
    if not services.definitions.wait_revision(revision, OWN_WRITE_S):
        raise Unavailable(
            f"The change holds (revision {revision}), but this process did not read it back in {OWN_WRITE_S:g} s."
        )


def definitions(request: Request) -> Definitions:
    """The definitions, read to their end once. Raises Unavailable."""
    services = services_of(request)
    services.definitions.wait_loaded()
    return services.definitions
