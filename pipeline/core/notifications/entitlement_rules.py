"""The rules about entitlements that are in force, and customers for the payloads of their alerts.

Owns: which rules are about an account. Does not own: what a rule is (rule), what it fires (balance_alerts).
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.changes import Changes
from pipeline.core.notifications.rule import (
    BalanceRule,
    EntitlementRule,
    ExpiringRule,
    ResetRule,
    Rule,
)


class Watching(NamedTuple):
    """The rules about entitlements of one feature that are on, by type and id."""

    balance: list[BalanceRule]
    reset: list[ResetRule]
    expiring: list[ExpiringRule]


class Rules:
    """The rules in force by namespace and type, and customers for payloads."""

    def __init__(self) -> None:
        self._rules: dict[tuple[str, str], Rule] = {}  # namespace, id
        self._of_namespace: dict[str, list[EntitlementRule]] = {}
        self._watching: dict[tuple[str, str, str], Watching] = {}
        self._customers: dict[tuple[str, str], Customer] = {}

    def update(self, changes: Changes) -> set[str]:
        """Apply changes of definitions.

        Returns:
            The namespaces whose rules have changed.
        """
        for customer in changes.of(Customer):
            if customer.body is not None:
                self._customers[customer.namespace, customer.body.id] = customer.body
        touched = set()
        for changed in changes.of(Rule):
            if changed.body is not None:
                self._rules[changed.namespace, changed.body.id] = changed.body
                touched.add(changed.namespace)
        if touched:
            self._of_namespace, self._watching = {}, {}
            for (namespace, _), rule in sorted(self._rules.items(), key=lambda item: item[0]):
                if rule.is_on and isinstance(rule, EntitlementRule):
                    self._of_namespace.setdefault(namespace, []).append(rule)
        return touched

    def watching(self, namespace: str, feature_id: str, feature: str) -> Watching:
        """The rules about entitlements of a feature."""
        place = (namespace, feature_id, feature)
        found = self._watching.get(place)
        if found is None:
            every = [one for one in self._of_namespace.get(namespace, ()) if one.watches(feature_id, feature)]
            found = self._watching[place] = Watching(
                [one for one in every if isinstance(one, BalanceRule)],
                [one for one in every if isinstance(one, ResetRule)],
                [one for one in every if isinstance(one, ExpiringRule)],
            )
        return found

    def customer(self, namespace: str, id: str) -> Customer | None:
        """A customer, deleted or not."""
        return self._customers.get((namespace, id))
