"""Whose usage it is: which customer held a subject at the start of a minute.

Owns: the rule, and the history of a subject's holders. Does not own: customers (core.customers.customer), the stage
(agents).

Usage of a minute belongs to the customer that held its subject when the minute began. The first customer that ever
held a subject has all of its usage from the beginning; who takes it over has it from the next full minute on. So a
late event of an earlier minute goes to the earlier holder, whenever it arrives, and a replay attributes alike.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from pipeline.core.definitions.attribution_history import NOBODY, Holding, read
from pipeline.core.definitions.kinds import ATTRIBUTION
from pipeline.core.values.time_window import MINUTE_S
from pipeline.records import CustomerWindow, Definition, Window

FROM_EVER_S = 0
_MINUTE_MS = MINUTE_S * 1000


def hand_over(holdings: Sequence[Holding], customer: str, at_ms: int) -> list[Holding]:
    """The history after the subject went to `customer` at `at_ms`.

    >>> once = hand_over([], "a", 90_000)
    >>> hand_over(once, "b", 90_000)
    [Holding(from_s=0, customer='a'), Holding(from_s=120, customer='b')]
    """
    if not holdings:
        return [Holding(FROM_EVER_S, customer)] if customer else []
    if holdings[-1].customer == customer:
        return list(holdings)
    from_s = -(-at_ms // _MINUTE_MS) * MINUTE_S
    kept = [one for one in holdings if one.from_s < from_s]
    if kept and kept[-1].customer == customer:  # back within the same minute
        return kept
    return [*kept, Holding(max(from_s, FROM_EVER_S), customer)]


def holder(holdings: Sequence[Holding], start_s: int) -> str:
    """The customer that held the subject at `start_s`, or NOBODY."""
    place = bisect_right(holdings, start_s, key=lambda one: one.from_s)
    return holdings[place - 1].customer if place else NOBODY


class Watched:
    """Meters that a feature or a rule names, as (namespace, slug): only their usage is worth re-keying."""

    def __init__(self) -> None:
        self._watching: dict[str, tuple[str, str]] = {}  # key on `control` -> meter
        self.meters: frozenset[tuple[str, str]] = frozenset()

    def update(self, changes: Mapping[str, Definition | None]) -> None:
        """Takes what was read from `control`, by its key there."""
        before = len(self._watching)
        touched = False
        for key, definition in changes.items():
            slug = None if definition is None else (definition.body or {}).get("meterSlug")
            if definition is not None and isinstance(slug, str):
                self._watching[key] = (definition.namespace, slug)
                touched = True
            else:
                self._watching.pop(key, None)
        if touched or len(self._watching) != before:
            self.meters = frozenset(self._watching.values())


class Holders:
    """Who holds which subject, and which meters are watched, as far as the control log was read."""

    def __init__(self) -> None:
        self._holdings: dict[tuple[str, str], list[Holding]] = {}
        self._watched = Watched()

    @property
    def watched(self) -> frozenset[tuple[str, str]]:
        return self._watched.meters

    def update(self, changes: Mapping[str, Definition | None]) -> None:
        """Takes what was read from `control`, by its key there."""
        for definition in changes.values():
            if definition is not None and definition.kind == ATTRIBUTION:
                self._holdings[definition.namespace, definition.name] = read(definition)
        self._watched.update(changes)

    def of(self, namespace: str, subject: str, start_s: int) -> str:
        """The customer that held the subject at `start_s`, or NOBODY."""
        holdings = self._holdings.get((namespace, subject))
        return NOBODY if holdings is None else holder(holdings, start_s)


def attribute(windows: Iterable[Window], holders: Holders) -> list[CustomerWindow]:
    """The windows of watched meters whose subject somebody held, with the customer."""
    watched = holders.watched
    found = []
    for window in windows:
        if (window.namespace, window.meter) in watched:
            customer = holders.of(window.namespace, window.subject, window.start_s)
            if customer:
                found.append(CustomerWindow(customer, window))
    return found
