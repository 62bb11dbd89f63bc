"""`/keys`: who may ask this API what.

Owns: making secrets. Does not own: a key's rules and who may do what to which key (core.access.api_key), checking one
(http.auth). A plaintext exists in one answer only; the command, the log and every other answer know its hash or less.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import msgspec
from fastapi import Body, Depends, Request, Response

from pipeline.api.access.answers import KeyAnswer, KeyPage, NewKeyAnswer
from pipeline.api.access.bodies import KeyBody, KeyRotationBody
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.paging import Paged, ordered, paginated
from pipeline.api.http.paths import Router
from pipeline.api.http.submit import body_of, definitions, submit, with_id
from pipeline.core.access import api_key
from pipeline.errors import Rejected

router = Router(prefix="/keys", tags=["keys"], dependencies=[Depends(needs("keys:write"))])
ORDER_BY = ("createdAt", "name", "id")
ENVIRONMENT = "live"


class RotatedKeys(msgspec.Struct):
    """The reply to key.rotate: the members of the new key and of the old one."""

    key: dict[str, Any]
    old: dict[str, Any]


@router.get(
    "", summary="Keys, including expired and revoked ones", **described(answer=KeyPage, reasons=["bad-query"])
)
def list_keys(request: Request, page: Paged, orderBy: str | None = None) -> dict[str, Any]:
    """One page, without secrets: only the last four characters of a secret are known."""
    found = [key.shown for key in definitions(request).keys(namespace_of(request))]
    return paginated(ordered(found, orderBy, ORDER_BY, page), page)


@router.post(
    "",
    status_code=201,
    summary="Create a key",
    **described(KeyBody, NewKeyAnswer, status=201, reasons=["bad-key", "key-conflict"]),
)
def create_key(
    request: Request, response: Response, body: Annotated[dict[str, Any], Body()]
) -> dict[str, Any]:
    """`key` is the key itself, which only this answer shows. It can have only scopes of the key that creates it.

    A retry with the same `Idempotency-Key` is answered without `key`.
    """
    return _made(request, response, "key.create", body, "id")


@router.get("/{keyId}", summary="One key", **described(answer=KeyAnswer))
def get_key(request: Request, keyId: str) -> dict[str, Any]:
    """By its public part."""
    for key in definitions(request).keys(namespace_of(request)):
        if key.id == keyId:
            return key.shown
    raise Rejected("not-found", f"There is no key {keyId[:64]}.")


@router.post(
    "/{keyId}/rotate",
    status_code=201,
    summary="Replace a key by a new one",
    **described(
        KeyRotationBody, NewKeyAnswer, status=201, reasons=["bad-key", "key-conflict"], optional=True
    ),
)
def rotate_key(
    request: Request,
    response: Response,
    keyId: str,
    body: Annotated[dict[str, Any] | None, Body()] = None,
) -> dict[str, Any]:
    """The new key has the same name, scopes and expiry. The old key works for another `overlapS` seconds."""
    return _made(request, response, "key.rotate", with_id("key", body or {}, keyId), "newId")


@router.delete(
    "/{keyId}",
    status_code=204,
    summary="Revoke a key",
    **described(status=204, reasons=["bad-key", "key-conflict"]),
)
def revoke_key(request: Request, keyId: str) -> Response:
    """It stops working at once in this process and within a second in all others. Its entry keeps `revokedAt`.

    403: the key has a scope that the key of the request lacks. 409: it is the last admin key of the namespace.
    """
    submit(request, "key.revoke", {"id": keyId})
    return Response(status_code=204)


def _made(
    request: Request, response: Response, kind: str, asked: dict[str, Any], member: str
) -> dict[str, Any]:
    made = api_key.make(ENVIRONMENT, secrets.token_bytes(api_key.RANDOM_BYTES))
    added = {member: made.public, "hash": made.hash, "last4": made.last4}
    if taken := sorted(added.keys() & asked.keys()):
        raise Rejected("bad-key", f"key {taken[0]} is made by the server")
    reply = submit(request, kind, asked, added)
    body = body_of(reply)
    if kind == "key.rotate":
        rotated = msgspec.convert(body, RotatedKeys)
        body = {**rotated.key, "replaces": api_key.shown(rotated.old)}
    response.headers["cache-control"] = "no-store"
    return body if reply.repeated else {**body, "key": made.text}
