"""What an edit of a subscription may do: one Struct for each `op`.

Owns: their members. Does not own: reading a client's request, what each does (edit). `discounts` of a phase is not a
member: no price takes it into account.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from pipeline.core.catalog.rate_card import RateCard

PhaseShift = Literal["next", "prev"]


class AddItem(msgspec.Struct, frozen=True, rename="camel", tag_field="op", tag="add_item"):
    """Begin an item in a phase. It replaces the version that is in force."""

    phase_key: str
    rate_card: RateCard


class RemoveItem(msgspec.Struct, frozen=True, rename="camel", tag_field="op", tag="remove_item"):
    """End an item of a phase."""

    phase_key: str
    item_key: str


class AddedPhase(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A phase without items.

    Args:
        start_after: an ISO 8601 duration from the start of the subscription; None: when the last phase ends.
        duration: an ISO 8601 duration; None for the last phase.
    """

    key: str
    name: str
    description: str | None = None
    start_after: str | None
    duration: str | None = None


class AddPhase(msgspec.Struct, frozen=True, tag_field="op", tag="add_phase"):
    """Insert a phase. The phase in which it begins ends there, and later ones begin when the new one ends."""

    phase: AddedPhase


class RemovePhase(msgspec.Struct, frozen=True, rename="camel", tag_field="op", tag="remove_phase"):
    """Remove a phase that has not begun. next: later ones begin sooner; prev: the one before is longer."""

    phase_key: str
    shift: PhaseShift


class StretchPhase(msgspec.Struct, frozen=True, rename="camel", tag_field="op", tag="stretch_phase"):
    """Make a phase longer, or shorter by a negative duration. Later ones begin later or sooner."""

    phase_key: str
    extend_by: str


class UnscheduleEdit(msgspec.Struct, frozen=True, tag_field="op", tag="unschedule_edit"):
    """Take back the changes of items that are scheduled in the current phase."""


Customization: TypeAlias = AddItem | RemoveItem | AddPhase | RemovePhase | StretchPhase | UnscheduleEdit
