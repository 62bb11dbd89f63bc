"""The meters whose usage is billed: those that a feature names.

Owns: which meters these are. Does not own: features (catalog.feature), what is owed for their usage (rating), where
their windows go (agents.attribute).

An archived feature counts too: subscriptions that began before bill it until they end. A price may begin after its
usage, so the windows of a feature's meter are wanted from the feature's first day on.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.core.catalog.feature import Feature
from pipeline.core.definitions.changes import Changes
from pipeline.core.metering.meter import Meter


class FeatureMeters:
    """All meters that a feature names, by the definitions that were read so far.

    meters: their numbers. named: each with its namespace.

    >>> from pipeline.records import Definition
    >>> body = dict.fromkeys(["id", "key", "name", "createdAt", "updatedAt"], "f") | {"meterSlug": "m", "meterId": 7}
    >>> found = FeatureMeters()
    >>> found.update(Changes({"default/feature/f": Definition(1, "feature", "default", "f", "", 0, body)}))
    >>> found.meters
    frozenset({7})
    """

    def __init__(self) -> None:
        self.meters: frozenset[int] = frozenset()
        self.named: frozenset[tuple[str, int]] = frozenset()
        self._features: dict[
            tuple[str, str], tuple[str, int | None]
        ] = {}  # (slug, number) by namespace and id
        self._numbers: dict[tuple[str, str], int] = {}  # of meters by namespace and slug

    def update(self, changes: Changes) -> None:
        """Apply changes of definitions. It is called by one thread at a time."""
        for namespace, slug, meter, _ in changes.of(Meter):
            if meter is None:
                self._numbers.pop((namespace, slug), None)
            else:
                self._numbers[namespace, slug] = meter.meter_id
        for namespace, id, feature, _ in changes.of(Feature):
            if feature is None or feature.meter_slug is None:
                self._features.pop((namespace, id), None)
            else:
                self._features[namespace, id] = (feature.meter_slug, feature.meter_id)
        if changes.has(Meter) or changes.has(Feature):
            self.named = frozenset(self._found())
            self.meters = frozenset(number for _, number in self.named)

    def _found(self) -> Iterator[tuple[str, int]]:
        for (namespace, _), (slug, number) in self._features.items():
            found = number or self._numbers.get((namespace, slug))
            if found:
                yield namespace, found
