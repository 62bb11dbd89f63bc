"""Bodies of requests about features, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: the rules (core.catalog.feature).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.http.members import Metadata, Written

TokenType = Literal["input", "output", "cache_read", "cache_write", "reasoning"]
FeatureFilters = Annotated[
    dict[str, dict[str, Any]],
    Meta(
        max_length=50,
        description="by dimension of the meter, a filter: one of `$eq $ne $in $nin $like $nlike $ilike $nilike $gt "
        "$gte $lt $lte`, or `$and` or `$or` of filters",
    ),
]
PlainFilters = Annotated[
    dict[str, str], Meta(max_length=50, description="by dimension of the meter, the one value that counts")
]


class ManualUnitCost(msgspec.Struct, tag_field="type", tag="manual", forbid_unknown_fields=True):
    amount: Annotated[str, Meta(description="plain decimal, not negative")]


class LlmUnitCost(msgspec.Struct, tag_field="type", tag="llm", forbid_unknown_fields=True):
    """Each of provider, model and tokenType is given, or read from the dimension that `...Property` names."""

    provider: str | UnsetType = UNSET
    providerProperty: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    modelProperty: str | UnsetType = UNSET
    tokenType: TokenType | UnsetType = UNSET
    tokenTypeProperty: str | UnsetType = UNSET


class FeatureBody(msgspec.Struct, forbid_unknown_fields=True):
    key: Annotated[
        str, Meta(min_length=1, max_length=64, pattern="^[a-z0-9]+(_[a-z0-9]+)*$", description="unique")
    ]
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    meterSlug: Annotated[
        str, Meta(description="the meter whose usage counts: of SUM, COUNT, UNIQUE_COUNT or LATEST")
    ] | (UnsetType | None) = UNSET
    meterGroupByFilters: PlainFilters | UnsetType | None = UNSET
    advancedMeterGroupByFilters: FeatureFilters | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    unitCost: ManualUnitCost | LlmUnitCost | UnsetType | None = UNSET
    id: Written | UnsetType = UNSET
    createdAt: Written | UnsetType = UNSET
    updatedAt: Written | UnsetType = UNSET
    archivedAt: Written | UnsetType = UNSET
