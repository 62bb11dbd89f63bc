"""The catalog of a namespace at an instant: its features, plans and add-ons, and which version is meant by a key.

Owns: these look-ups. Does not own: the definitions (definitions.index), whether a change is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

from pipeline.core.catalog.addon import Addon
from pipeline.core.catalog.catalog_version import CatalogVersion
from pipeline.core.catalog.feature import Feature
from pipeline.core.catalog.plan_addon import PlanAddon
from pipeline.core.definitions.index import DefinitionIndex
from pipeline.core.definitions.kinds import FEATURE_KEY, METER, PLAN_ADDON_ADDON, PLAN_ADDON_PLAN

V = TypeVar("V", bound=CatalogVersion)


@dataclass(frozen=True, slots=True)
class CatalogNow:
    """The definitions of a namespace at an instant (ms since 1970)."""

    index: DefinitionIndex
    namespace: str
    at_ms: int

    def feature(self, key: str | None, id: str | None) -> Feature | None:
        """The feature with an id, archived or not; without one the current feature with the key."""
        if id is None and key is not None:
            id = self.index.one(self.namespace, FEATURE_KEY, key)
        return None if id is None else self.index.find(Feature, self.namespace, id)

    def has_meter(self, feature: Feature) -> bool:
        """Whether usage of the feature is metered."""
        slug = feature.meter_slug
        return slug is not None and self.index.body(self.namespace, METER, slug) is not None

    def versions(self, kind: type[V], key: str) -> list[V]:
        """All versions of a key in their order, deleted ones too."""
        found = self.index.having(kind, self.namespace, f"{kind.kind}/key", key)
        return sorted(found, key=lambda one: one.version)

    def newest(self, kind: type[V], key: str) -> V | None:
        """The newest version of a key that is not deleted."""
        return next((one for one in reversed(self.versions(kind, key)) if not one.is_deleted), None)

    def active(self, kind: type[V], key: str) -> V | None:
        """The version of a key that is sold at the instant."""
        versions = self.versions(kind, key)
        return next((one for one in versions if not one.is_deleted and self.status(one) == "active"), None)

    def named(
        self, kind: type[V], wanted: str, key_means: Literal["newest", "active"] = "newest"
    ) -> V | None:
        """The version with an id, deleted or not; else a version of a key."""
        by_key = self.newest if key_means == "newest" else self.active
        return self.index.find(kind, self.namespace, wanted) or by_key(kind, wanted)

    def status(self, version: CatalogVersion) -> str:
        """The status of a version at the instant."""
        return version.status_at(self.at_ms)

    def assignments(self, plan_id: str) -> list[PlanAddon]:
        """The add-ons of a plan, oldest first."""
        return self.index.having(PlanAddon, self.namespace, PLAN_ADDON_PLAN, plan_id)

    def assigned(self, plan_id: str, wanted: str) -> tuple[PlanAddon, Addon] | None:
        """An add-on of a plan, by the id of its assignment, or the id or key of the add-on."""
        for one in self.assignments(plan_id):
            addon = self.index.find(Addon, self.namespace, one.addon_id)
            if addon is not None and wanted in (one.id, addon.id, addon.key):
                return one, addon
        return None

    def assignments_of(self, addon_id: str) -> list[PlanAddon]:
        """Where an add-on is assigned, oldest first."""
        return self.index.having(PlanAddon, self.namespace, PLAN_ADDON_ADDON, addon_id)
