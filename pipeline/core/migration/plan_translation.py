"""Plans of an OpenMeter as bodies of our API.

Owns: which versions of a plan are taken over, and their members. Does not own: whether one may be published (catalog).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pipeline.core.migration.translation import ObjectForm, Translation, key_of, taken

FORM = ObjectForm(
    ("key", "currency", "name", "description", "metadata", "billingCadence", "alignment", "proRatingConfig",
     "settlementMode", "phases"),
    frozenset({"version", "status", "effectiveFrom", "effectiveTo", "validationErrors", "addons"}),
)  # fmt: skip


class PlanVersions(NamedTuple):
    """What is taken over of a plan: the version that is sold, and the draft after it. left: sentences on the others."""

    key: str
    active: Mapping[str, Any] | None
    draft: Mapping[str, Any] | None
    left: tuple[str, ...]


def versions(rows: Iterable[Mapping[str, Any]]) -> list[PlanVersions]:
    """The versions of each plan, by key. Archived versions are history: subscriptions copy what they need of them."""
    by_key: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("deletedAt") is None:
            by_key.setdefault(key_of(row, "key"), []).append(row)
    return [_versions(key, of) for key, of in sorted(by_key.items())]


def _versions(key: str, rows: list[Mapping[str, Any]]) -> PlanVersions:
    active, draft = (
        next((row for row in reversed(rows) if row.get("status") == status), None)
        for status in ("active", "draft")
    )
    left = tuple(
        f"Version {row.get('version')} of the plan {key} is {row.get('status')}; only active versions and drafts are "
        "taken over."
        for row in rows
        if row.get("status") not in ("active", "draft")
    )
    return PlanVersions(key, active, draft, left)


def plan(row: Mapping[str, Any]) -> Translation:
    """A version as the body of a draft. A tax code's id is the source's own, so only Stripe's code is taken."""
    found = taken("plan", key_of(row, "key"), row, FORM)
    notes = list(found.notes)
    for phase in found.body.get("phases") or []:
        for card in phase.get("rateCards") or []:
            card.pop("featureId", None)
            tax = card.get("taxConfig")
            if isinstance(tax, dict) and tax.pop("taxCodeId", None) is not None:
                if not tax:
                    del card["taxConfig"]
                notes.append(
                    f"The rate card {card.get('key')} of the plan {found.key} has a taxCodeId, which is not taken over."
                )
    return found._replace(notes=tuple(notes))
