"""An add-on: rate cards that a customer can buy beside a plan.

Owns: the definition of a version of an add-on. Does not own: its commands (addon_commands), what is wrong with it
(addon_validation), to which plans it belongs (plan_addon).
"""

from __future__ import annotations

from pipeline.core.catalog.catalog_version import CatalogVersion
from pipeline.core.catalog.rate_card import RateCard
from pipeline.core.definitions.kinds import ADDON

INSTANCE_TYPES = ("single", "multiple")


class Addon(CatalogVersion, frozen=True, kw_only=True):
    """A version of an add-on, deleted ones too. instance_type: one of INSTANCE_TYPES: bought once or several times."""

    kind = ADDON

    instance_type: str
    rate_cards: tuple[RateCard, ...]
