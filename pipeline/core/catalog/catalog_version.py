"""Versions of a plan or an add-on: they share a key, and one of them at a time is sold.

Owns: the members that every version has, its status at an instant. Does not own: finding versions (catalog_now),
changing them (version_commands), phases and rate cards (plan, addon).
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.values import timestamp

VersionStatus = Literal["draft", "scheduled", "active", "archived"]


class CatalogVersion(DefinitionBody, frozen=True, kw_only=True):
    """One version, deleted ones too.

    Args:
        id: a ULID.
        version: from 1; the newest of the key has the highest.
        currency: ISO 4217.
        effective_from, effective_to: [from, to) in which it is sold; without from it is a draft. RFC 3339 in UTC with
            milliseconds, as all instants.
    """

    id: str
    key: str
    version: int
    name: str
    description: str | None = None
    metadata: dict[str, str] | None = None
    currency: str
    created_at: str
    updated_at: str
    effective_from: str | None = None
    effective_to: str | None = None
    deleted_at: str | None = None

    @cached_property
    def span_ms(self) -> tuple[int | None, int | None]:
        """[from, to) in ms since 1970."""
        from_, to = self.effective_from, self.effective_to
        return (
            None if from_ is None else timestamp.ms_of(from_),
            None if to is None else timestamp.ms_of(to),
        )

    def status_at(self, at_ms: int) -> VersionStatus:
        """The status at an instant, in ms since 1970.

        A process whose clock is behind the broker's shows a version that was just published as active: no instant
        before its last change is taken.
        """
        from_ms, to_ms = self.span_ms
        at_ms = max(at_ms, timestamp.ms_of(self.updated_at))
        if from_ms is None:
            return "draft"
        if to_ms is not None and to_ms <= at_ms:
            return "archived"
        return "active" if from_ms <= at_ms else "scheduled"
