"""Answers about features, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (core.catalog.feature).
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from pipeline.api.catalog.bodies import FeatureFilters, LlmUnitCost, ManualUnitCost, PlainFilters
from pipeline.api.http.members import Instant, Metadata, Ulid, page_of


class FeatureAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    key: str
    name: str
    createdAt: Instant
    updatedAt: Instant
    meterSlug: str | UnsetType = UNSET
    meterGroupByFilters: PlainFilters | UnsetType = UNSET
    advancedMeterGroupByFilters: FeatureFilters | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    unitCost: ManualUnitCost | LlmUnitCost | UnsetType = UNSET
    archivedAt: Instant | UnsetType = UNSET


FeaturePage = page_of(FeatureAnswer)
