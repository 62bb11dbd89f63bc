"""Bodies of requests about keys and portal tokens, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: the rules (core.access).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.http.members import InstantText, Written

ScopeName = Literal[
    "ingest", "query", "meters:write", "customers:write", "entitlements:write", "webhooks:write", "billing:write",
    "keys:write", "audit:read", "admin",
]  # fmt: skip


class KeyBody(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    scopes: Annotated[
        list[ScopeName],
        Meta(min_length=1, max_length=10, description="what it allows; `admin` holds all others"),
    ]
    expiresAt: InstantText | UnsetType | None = UNSET


class KeyRotationBody(msgspec.Struct, forbid_unknown_fields=True):
    overlapS: (
        Annotated[
            int,
            Meta(ge=0, le=2_592_000, description="seconds that the old key still works; 86400 by default"),
        ]
        | UnsetType
        | None
    ) = UNSET


class PortalTokenBody(msgspec.Struct, forbid_unknown_fields=True):
    subject: Annotated[str, Meta(min_length=1, max_length=1024, description="whose usage the token reads")]
    allowedMeterSlugs: (
        Annotated[list[str], Meta(description="slugs of meters; all meters by default")] | UnsetType | None
    ) = UNSET
    expiresAt: (
        Annotated[str, Meta(description="RFC 3339; in an hour by default, and at most")] | UnsetType | None
    ) = UNSET
    id: Written | UnsetType = UNSET
    createdAt: Written | UnsetType = UNSET


class InvalidationBody(msgspec.Struct, forbid_unknown_fields=True):
    """One of the two, or both."""

    id: Annotated[str, Meta(description="of one token")] | UnsetType | None = UNSET
    subject: Annotated[str, Meta(description="all tokens of this subject")] | UnsetType | None = UNSET
