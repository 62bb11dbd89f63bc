"""From a request to a decided command: who wants it, what became of it, and that this process knows the result.

Owns: what every changing route does in the same way. Does not own: sending and waiting (stores.kafka.commands), rules
(core). Routes check nothing that the control stage decides, so that a refused wish stands in the audit log too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
from fastapi import Request

from pipeline.api.http.auth import principal, request_id
from pipeline.api.http.services import Neighbours, neighbours
from pipeline.errors import Broken, Unavailable
from pipeline.records import Reply
from pipeline.stores.kafka.definitions import Definitions

OWN_WRITE_S = 10.0
IDEMPOTENCY_KEY = "idempotency-key"
Body = dict[str, object]


def decided(request: Request, kind: str, body: Mapping[str, object]) -> Reply:
    """The reply to a command in the name of the request's principal, once this process knows its result.

    Raises Rejected as decided, Unavailable when nobody decides in time.
    """
    have, who = neighbours(request), principal(request)
    client = request.client
    reply = have.commands.run(
        kind,
        who.namespace,
        dict(body),
        actor=who.actor,
        request_id=request_id(request),
        ip=client.host if client else "",
        id=_idempotent(request.headers.get(IDEMPOTENCY_KEY, ""), kind, body),
    )
    read_own(have, reply.revision)
    return reply


def _idempotent(key: str, kind: str, body: Mapping[str, object]) -> str:
    """The id of a command that a client may send again; with another body it is another command."""
    if not key:
        return ""
    said = msgspec.json.encode([key, kind, body], order="deterministic")
    return hashlib.blake2b(said, digest_size=20).hexdigest()


def known(request: Request, kind: str, body: Mapping[str, object]) -> Reply:
    """As `decided`, once every running worker that reads definitions knows it too, so that what comes next meets it."""
    reply = decided(request, kind, body)
    neighbours(request).commands.until_known(reply.revision)
    return reply


def body_of(reply: Reply) -> Body:
    """What a reply must have brought."""
    if reply.body is None:
        raise Broken(f"The reply to the command {reply.id} has no body.")
    return reply.body


def read_own(have: Neighbours, revision: int) -> None:
    """Returns when this process has read `revision`. Raises Unavailable."""
    if not have.definitions.wait_revision(revision, OWN_WRITE_S):
        raise Unavailable(
            f"The change holds (revision {revision}), but this process did not read it back in {OWN_WRITE_S:g} s."
        )


def definitions(request: Request) -> Definitions:
    """The definitions, read to their end once. Raises Unavailable."""
    have = neighbours(request)
    have.definitions.wait_loaded()
    return have.definitions
