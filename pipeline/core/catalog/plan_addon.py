"""An add-on of a plan: customers of the plan can buy it from one of its phases on.

Owns: the definition. Does not own: the plan (plan), the add-on (addon), the commands (plan_addon_commands).
"""

from __future__ import annotations

from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import PLAN_ADDON


class PlanAddon(DefinitionBody, frozen=True, kw_only=True):
    """An assignment, deleted ones too. Instants are RFC 3339 in UTC with milliseconds.

    Args:
        id: a ULID.
        plan_id, addon_id: of one version of each.
        from_plan_phase: key of the phase.
        max_quantity: how many of the add-on a customer can buy; absent: any number.
    """

    kind = PLAN_ADDON

    id: str
    plan_id: str
    addon_id: str
    from_plan_phase: str
    max_quantity: int | None = None
    metadata: dict[str, str] | None = None
    created_at: str
    updated_at: str
    deleted_at: str | None = None
