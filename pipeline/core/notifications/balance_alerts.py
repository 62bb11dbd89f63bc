"""Alerts about balances: from rules and an account that moved, to alerts with their payloads.

Owns: which rules are about an account, what fires with a record, what is stored of it. Does not own: when a threshold
is met (threshold), what a rule is (rule), events and their alerts (balance_events), sending (the webhook stage).

An alert belongs to an entitlement. For the next entitlement of the same account all thresholds are armed again, and
what has fired for the one before resolves when it ends.

In the state (ids have 26 characters):
    m + account + rule + entitlement   what has fired for the entitlement (threshold.FiredThresholds)
    e + account + rule                 grants for which the rule has fired (threshold.WarnedGrants)
    o + account                        the entitlements for which anything has fired, the newest last
    r + account                        the newest resets, each with the position of the record that fired it
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import msgspec

from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.changes import Changes
from pipeline.core.notifications import threshold
from pipeline.core.notifications.balance_events import alert, expiring_event, reset_event, threshold_event
from pipeline.core.notifications.rule import (
    BalanceRule,
    EntitlementRule,
    ExpiringRule,
    ResetRule,
    Rule,
)
from pipeline.core.notifications.threshold import (
    FiredThresholds,
    Firing,
    Lead,
    Level,
    WarnedGrants,
)
from pipeline.core.quota import account_balance
from pipeline.core.quota.accounts import Account
from pipeline.core.quota.balance_result import BalanceStatus
from pipeline.core.quota.balance_update import BalanceMoved
from pipeline.core.quota.entitlement import Entitlement
from pipeline.core.quota.grant import GrantDefinition
from pipeline.core.quota.terms import Terms
from pipeline.core.values.calendar import NEVER_S
from pipeline.core.values.table import KeyedBytes
from pipeline.records import Alert

R = TypeVar("R", bound=EntitlementRule)
MARKS, WARNED, OPEN, RESETS = b"m", b"e", b"o", b"r"
MOST_OPEN = 16  # entitlements of an account; the ones before have ended long ago
_encode = msgspec.msgpack.Encoder().encode
_marks = msgspec.msgpack.Decoder(FiredThresholds | None).decode
_warned = msgspec.msgpack.Decoder(WarnedGrants).decode
_open = msgspec.msgpack.Decoder(list[str]).decode


class FiredReset(NamedTuple):
    """A usage period [since_s, at_s) of an entitlement that has ended. position: of the record that fired it."""

    position: int
    entitlement: str
    since_s: int
    at_s: int


class AlertAt(NamedTuple):
    """The record that is evaluated.

    Args:
        position: its offset.
        at_ms: the broker's time, in milliseconds since 1970.
        first: the first offset that may be read again.
    """

    position: int
    at_ms: int
    first: int


_resets = msgspec.msgpack.Decoder(list[FiredReset]).decode


class Rules:
    """The rules in force by namespace and type, and customers for payloads."""

    def __init__(self) -> None:
        self._rules: dict[tuple[str, str], Rule] = {}  # namespace, id
        self._of_type: dict[tuple[str, type[Rule]], list[Rule]] = {}
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
            self._of_type = {}
            for (namespace, _), rule in sorted(self._rules.items(), key=lambda item: item[0]):
                if rule.is_on:
                    self._of_type.setdefault((namespace, type(rule)), []).append(rule)
        return touched

    def watching(self, kind: type[R], namespace: str, feature_id: str, feature: str) -> list[R]:
        """The rules of a type that are on and about entitlements of this feature, by id."""
        rules = self._of_type.get((namespace, kind), ())
        return [rule for rule in rules if isinstance(rule, kind) and rule.watches(feature_id, feature)]

    def customer(self, namespace: str, id: str) -> Customer | None:
        """A customer, deleted or not."""
        return self._customers.get((namespace, id))


def evaluate(table: KeyedBytes, moved: BalanceMoved, rules: Rules, at: AlertAt) -> list[Alert]:
    """The alerts that fire with a record. A record that is read again fires the same alerts.

    Args:
        table: the state; what has fired is written to it.
        moved: the account after the record.
        rules: in force.
        at: the record.
    """
    alerts, terms = _resolved(table, moved, rules, at), moved.terms
    if moved.outcome is None or terms is None or moved.entitlement is None:
        return alerts
    namespace, _, feature = moved.account.name
    feature_id = moved.entitlement.feature_id
    for rule in rules.watching(BalanceRule, namespace, feature_id, feature):
        alerts += _thresholds(table, moved, rule, rules, at)
    watching = rules.watching(ResetRule, namespace, feature_id, feature)
    for reset in _fired_resets(table, moved, at) if watching else ():
        event = reset_event(reset.since_s, reset.at_s)
        of = moved._replace(entitlement=moved.account.entitlements[reset.entitlement])
        for one in watching:
            alerts.append(alert(event, of, one, _customer(rules, moved.account), at.at_ms))
    for expiring in rules.watching(ExpiringRule, namespace, feature_id, feature):
        alerts += _expiring(table, moved, terms, expiring, rules, at)
    return alerts


def _resolved(table: KeyedBytes, moved: BalanceMoved, rules: Rules, at: AlertAt) -> list[Alert]:
    """Resolve what has fired for entitlements before the present one, when they have ended."""
    account, at_s = moved.account, at.at_ms // 1000
    (stored,) = table.get_many([OPEN + account.key])
    alerts: list[Alert] = []
    current = None if moved.entitlement is None or moved.outcome is None else moved.entitlement.id
    for id in [] if stored is None else _open(stored):
        if id == current:
            continue
        entitlement = account.entitlements[id]
        for rule in rules.watching(BalanceRule, account.name[0], entitlement.feature_id, account.name[2]):
            key = _key(MARKS, account, rule, id)
            (marked,) = table.get_many([key])
            if marked is not None:
                marks = _marks(marked)
                after, firings = threshold.close(marks, at.position)
                if not account.ended(id, at_s):  # the record is read again, after newer ones
                    again = [one for one in firings if one.position == at.position and one in marks.firings]
                    after, firings = marks, again
                if after != marks:
                    table.put(key, _encode(after))
                alerts += _threshold_alerts(_ended(moved, id, marks.since_s, at), rule, rules, firings, at)
    return alerts


def _ended(moved: BalanceMoved, id: str, since_s: int, at: AlertAt) -> BalanceMoved:
    """An account at the end of an entitlement: nothing is left in its last usage period, which began at `since_s`."""
    account, entitlement = moved.account, moved.account.entitlements[id]
    balance = account_balance.no_access(account, entitlement, at.position, at.at_ms // 1000, NEVER_S)
    balance.balance = balance.usage = balance.overage = balance.total_available = "0"
    balance.period_from_ms, balance.period_to_ms = since_s * 1000, account.spans[id][1] * 1000
    return BalanceMoved(account, entitlement, balance, NEVER_S)


def _fired_resets(table: KeyedBytes, moved: BalanceMoved, at: AlertAt) -> list[FiredReset]:
    """The resets that the record fires, also when it is read again."""
    assert moved.outcome is not None
    key = RESETS + moved.account.key
    (stored,) = table.get_many([key])
    resets = [] if stored is None else _resets(stored)
    if not any(reset.position >= at.position for reset in resets) and moved.outcome.resets:
        resets = [reset for reset in resets if reset.position >= at.first]
        id = moved.outcome.status.entitlement
        resets += [FiredReset(at.position, id, done.since_s, done.at_s) for done in moved.outcome.resets]
        table.put(key, _encode(resets))
    return [reset for reset in resets if reset.position == at.position]


def next_warning_s(moved: BalanceMoved, rules: Rules, now_s: int) -> int:
    """When a grant of the account comes close enough to its end for a rule.

    Args:
        moved: the account.
        rules: in force.
        now_s: the broker's time, in seconds since 1970.

    Returns:
        Seconds since 1970; NEVER_S if never.
    """
    terms = moved.terms
    if moved.entitlement is None or terms is None:
        return NEVER_S
    namespace, _, feature = moved.account.name
    watching = rules.watching(ExpiringRule, namespace, moved.entitlement.feature_id, feature)
    leads = (_lead(rule, terms) for rule in watching)
    return min((threshold.next_warning_s(terms.order, now_s, lead) for lead in leads), default=NEVER_S)


def _lead(rule: ExpiringRule, terms: Terms) -> Lead:
    return Lead(rule.interval, terms.schedule.recurrence.zone)


def _key(kind: bytes, account: Account, rule: Rule, entitlement: str = "") -> bytes:
    return kind + account.key + rule.id.encode() + entitlement.encode()


def _thresholds(
    table: KeyedBytes, moved: BalanceMoved, rule: BalanceRule, rules: Rules, at: AlertAt
) -> list[Alert]:
    assert moved.outcome is not None
    status = moved.outcome.status
    levels = [
        (reset.since_s, Level(reset.balance, reset.usage, reset.total_available))
        for reset in moved.outcome.resets
    ]
    levels.append((status.since_s, _level(status)))
    key = _key(MARKS, moved.account, rule, status.entitlement)
    (stored,) = table.get_many([key])
    marks = None if stored is None else _marks(stored)
    after, firings = threshold.judge(marks, rule.levels, levels, at.position, rule.rearm, at.first)
    if after is not None and after != marks:
        table.put(key, _encode(after))
        if after.firings:
            _keep_open(table, moved.account, status.entitlement)
    return _threshold_alerts(moved, rule, rules, firings, at)


def _keep_open(table: KeyedBytes, account: Account, entitlement: str) -> None:
    key = OPEN + account.key
    (stored,) = table.get_many([key])
    entitlements = [] if stored is None else _open(stored)
    if entitlement not in entitlements:
        table.put(key, _encode([*entitlements, entitlement][-MOST_OPEN:]))


def _threshold_alerts(
    moved: BalanceMoved, rule: BalanceRule, rules: Rules, firings: Iterable[Firing], at: AlertAt
) -> list[Alert]:
    by_id = {crossed.id: crossed for crossed in rule.levels}
    events = [
        threshold_event(moved, by_id[firing.threshold], firing)
        for firing in firings
        if firing.threshold in by_id
    ]
    return [alert(event, moved, rule, _customer(rules, moved.account), at.at_ms) for event in events]


def _level(status: BalanceStatus) -> Level:
    return Level(status.balance, status.usage, status.total_available)


def _expiring(
    table: KeyedBytes, moved: BalanceMoved, terms: Terms, rule: ExpiringRule, rules: Rules, at: AlertAt
) -> list[Alert]:
    assert moved.outcome is not None
    status = moved.outcome.status
    key = _key(WARNED, moved.account, rule)
    (stored,) = table.get_many([key])
    before = None if stored is None else _warned(stored)
    after, ids = threshold.expiring(
        before, terms.order, status.balances, status.at_s, _lead(rule, terms), at.position, at.first
    )
    if after != before and (after.firings or before is not None):
        table.put(key, _encode(after))
    alerts = []
    for id in ids:
        entitlement, grant = _granted(moved.account, id)
        event = expiring_event(grant, status.balances.get(id, 0))
        of = moved._replace(entitlement=entitlement)
        alerts.append(alert(event, of, rule, _customer(rules, moved.account), at.at_ms))
    return alerts


def _granted(account: Account, id: str) -> tuple[Entitlement, GrantDefinition]:
    """A grant of the account, and the entitlement that it was given to."""
    entitlement = next(entitlement for entitlement, grants in account.grants.items() if id in grants)
    return account.entitlements[entitlement], account.grants[entitlement][id]


def _customer(rules: Rules, account: Account) -> Customer | None:
    return rules.customer(account.name[0], account.name[1])
