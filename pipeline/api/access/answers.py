"""Answers about keys, portal tokens, and the audit log's entries, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (core.access).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.access.bodies import ScopeName
from pipeline.api.http.members import Instant, Ulid, page_of


class KeyAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A key without its secret."""

    id: Annotated[str, Meta(description="the public part of the key")]
    namespace: str
    name: str
    scopes: list[ScopeName]
    last4: Annotated[str, Meta(description="the last four characters of the secret")]
    createdAt: Instant
    updatedAt: Instant
    expiresAt: Instant | UnsetType = UNSET
    revokedAt: Instant | UnsetType = UNSET
    rotatedTo: Annotated[str, Meta(description="id of the key that replaced it")] | UnsetType = UNSET


class NewKeyAnswer(KeyAnswer, forbid_unknown_fields=True):
    """A key that was just made. A repeated answer has no `key`."""

    key: Annotated[str, Meta(description="the key itself, shown this once")] | UnsetType = UNSET
    replaces: KeyAnswer | UnsetType = UNSET


class PortalTokenAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A token without its text."""

    id: Ulid
    subject: str
    expiresAt: Instant
    createdAt: Instant
    expired: Annotated[bool, Meta(description="whether it has ended or was invalidated")]
    allowedMeterSlugs: list[str] | UnsetType = UNSET


class NewPortalTokenAnswer(PortalTokenAnswer, forbid_unknown_fields=True):
    token: Annotated[str, Meta(description="the token itself (JWT), shown this once")] | UnsetType = UNSET


KeyPage = page_of(KeyAnswer)
