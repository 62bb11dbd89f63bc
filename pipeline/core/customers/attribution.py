"""Whose usage it is: which customer had a subject at the start of a minute.

Owns: the rule, and the definition that keeps which customers had a subject from when on. Does not own: customers
(core.customers.customer), the stage (agents).

Usage of a minute belongs to the customer that had its subject when the minute began. The first customer that ever had
a subject has all of its usage from the beginning; the next one has it from the next full minute on. So a late event of
an earlier minute goes to the earlier customer, whenever it arrives, and a replay attributes alike.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

from pipeline.core.definitions.changes import Changes
from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import ATTRIBUTION, STRIPE_METER
from pipeline.core.values.time_window import MINUTE_S
from pipeline.records import CustomerWindow, Window

NO_CUSTOMER = ""
FROM_EVER_S = 0
_MINUTE_MS = MINUTE_S * 1000


class Holding(NamedTuple):
    """`customer` (id, or NO_CUSTOMER) has the subject from minute `from_s` (seconds since 1970) to the next holding."""

    from_s: int
    customer: str


class Attribution(DefinitionBody, frozen=True, kw_only=True):
    """Which customer had a subject when. subject: its key, which is also the definition's name.

    holders: oldest first. No command is about it: customer.* change it.
    """

    kind = ATTRIBUTION

    subject: str
    holders: list[Holding]


def hand_over(holdings: Sequence[Holding], customer: str, at_ms: int) -> list[Holding]:
    """The holdings after the subject went to another customer.

    Args:
        holdings: before, oldest first.
        customer: the id of the one that has it now, or NO_CUSTOMER.
        at_ms: when it went, in ms since 1970: the change counts from the next full minute on.

    >>> first = hand_over([], "a", 90_000)
    >>> hand_over(first, "b", 90_000)
    [Holding(from_s=0, customer='a'), Holding(from_s=120, customer='b')]

    Back to the same customer before the minute is over is no change:

    >>> hand_over(hand_over(first, "b", 90_000), "a", 100_000)
    [Holding(from_s=0, customer='a')]
    """
    if not holdings:
        return [Holding(FROM_EVER_S, customer)] if customer else []
    if holdings[-1].customer == customer:
        return list(holdings)
    from_s = -(-at_ms // _MINUTE_MS) * MINUTE_S
    earlier = [one for one in holdings if one.from_s < from_s]
    if earlier and earlier[-1].customer == customer:
        return earlier
    return [*earlier, Holding(max(from_s, FROM_EVER_S), customer)]


def holder(holdings: Sequence[Holding], start_s: int) -> str:
    """The customer (id) that had the subject at `start_s` (seconds since 1970), or NO_CUSTOMER.

    >>> holdings = [Holding(0, "a"), Holding(120, "b"), Holding(300, NO_CUSTOMER)]
    >>> [holder(holdings, start_s) for start_s in (60, 120, 240, 300)]
    ['a', 'b', 'b', '']
    """
    place = bisect_right(holdings, start_s, key=lambda one: one.from_s)
    return holdings[place - 1].customer if place else NO_CUSTOMER


class Watched:
    """The meters that a feature or a rule names, as (namespace, slug): balances and volumes follow their usage.

    A mapping to Stripe names a meter too, but its usage goes elsewhere.
    """

    def __init__(self) -> None:
        self._watching: dict[str, tuple[str, str]] = {}  # key on `control` -> meter
        self.meters: frozenset[tuple[str, str]] = frozenset()

    def update(self, changes: Changes) -> None:
        """Apply changes of definitions, of every kind that may name a meter."""
        before = len(self._watching)
        touched = False
        for key, definition in changes.records.items():
            is_mapping = definition is not None and definition.kind == STRIPE_METER
            slug = None if definition is None or is_mapping else (definition.body or {}).get("meterSlug")
            if definition is not None and isinstance(slug, str):
                self._watching[key] = (definition.namespace, slug)
                touched = True
            else:
                self._watching.pop(key, None)
        if touched or len(self._watching) != before:
            self.meters = frozenset(self._watching.values())


class Holders:
    """Which customer has which subject, and which meters are watched, by the definitions that were read."""

    def __init__(self) -> None:
        self._holdings: dict[tuple[str, str], list[Holding]] = {}
        self._watched = Watched()

    @property
    def watched(self) -> frozenset[tuple[str, str]]:
        return self._watched.meters

    def update(self, changes: Changes) -> None:
        """Apply changes of definitions."""
        for changed in changes.of(Attribution):
            if changed.body is not None:
                self._holdings[changed.namespace, changed.name] = changed.body.holders
        self._watched.update(changes)

    def of(self, namespace: str, subject: str, start_s: int) -> str:
        """The customer (id) that had a subject at `start_s` (seconds since 1970), or NO_CUSTOMER."""
        holdings = self._holdings.get((namespace, subject))
        return NO_CUSTOMER if holdings is None else holder(holdings, start_s)


def attribute(
    windows: Iterable[Window], holders: Holders, mapped: Set[int] = frozenset()
) -> list[CustomerWindow]:
    """The windows of watched and mapped meters whose subject a customer had when they began, with that customer.

    Args:
        windows: of any meters.
        holders: the customers, and the watched meters.
        mapped: the numbers of more meters whose windows are returned.
    """
    watched = holders.watched
    attributed = []
    for window in windows:
        if (window.namespace, window.meter) in watched or window.meter_id in mapped:
            customer = holders.of(window.namespace, window.subject, window.start_s)
            if customer:
                attributed.append(CustomerWindow(customer, window))
    return attributed
