"""Alerts about balances: from rules and an account that moved, to alerts with their payloads.

Owns: what fires with a record. Does not own: when a threshold is met (threshold), which rules are about an account
(entitlement_rules), what is stored (fired_rows), events and their alerts (balance_events), sending (the webhook stage).

An alert belongs to an entitlement. For the next entitlement of the same account all thresholds are armed again, and
what has fired for the one before resolves when it ends.

"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.core.customers.customer import Customer
from pipeline.core.notifications import threshold
from pipeline.core.notifications.balance_events import alert, expiring_event, reset_event, threshold_event
from pipeline.core.notifications.calm import calm_around
from pipeline.core.notifications.entitlement_rules import Rules, Watching
from pipeline.core.notifications.fired_rows import (
    MARKS,
    OPEN,
    RESETS,
    WARNED,
    CalmAccount,
    FiredReset,
    FiredRows,
    row_key,
)
from pipeline.core.notifications.rule import BalanceRule, ExpiringRule
from pipeline.core.notifications.threshold import Firing, Lead, Level
from pipeline.core.quota import account_balance
from pipeline.core.quota.accounts import Account
from pipeline.core.quota.balance_result import BalanceOutcome
from pipeline.core.quota.balance_update import BalanceMoved
from pipeline.core.quota.entitlement import Entitlement
from pipeline.core.quota.grant import GrantDefinition
from pipeline.core.quota.terms import Terms
from pipeline.core.values.calendar import NEVER_S
from pipeline.records import Alert

MOST_OPEN = 16  # entitlements of an account; the ones before have ended long ago


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


def evaluate(rows: FiredRows, moved: BalanceMoved, rules: Rules, at: AlertAt) -> list[Alert]:
    """The alerts that fire with a record. A record that is read again fires the same alerts.

    Args:
        rows: what has fired, which is changed.
        moved: the account after the record.
        rules: in force.
        at: the record.
    """
    alerts, terms = _resolved(rows, moved, rules, at), moved.terms
    if moved.outcome is None or terms is None or moved.entitlement is None:
        return alerts
    namespace, _, feature = moved.account.name
    feature_id = moved.entitlement.feature_id
    watching = rules.watching(namespace, feature_id, feature)
    if watching.balance and not _is_calm(rows, moved, watching, at.position):
        levels = _levels(moved.outcome)
        is_new = _newest_firing(rows, moved, watching) < at.position
        for rule in watching.balance:
            alerts += _thresholds(rows, moved, levels, rule, rules, at)
        if is_new:
            _keep_calm(rows, moved, watching)
        else:  # read again: the firings were repeated, and the level was not judged
            rows.calm.pop(moved.account.key, None)
    for reset in _fired_resets(rows, moved, at) if watching.reset else ():
        event = reset_event(reset.since_s, reset.at_s)
        of = moved._replace(entitlement=moved.account.entitlements[reset.entitlement])
        for one in watching.reset:
            alerts.append(alert(event, of, one, _customer(rules, moved.account), at.at_ms))
    for expiring in watching.expiring:
        alerts += _expiring(rows, moved, terms, expiring, rules, at)
    return alerts


def _resolved(rows: FiredRows, moved: BalanceMoved, rules: Rules, at: AlertAt) -> list[Alert]:
    """Resolve what has fired for entitlements before the present one, when they have ended."""
    account, at_s = moved.account, at.at_ms // 1000
    alerts: list[Alert] = []
    current = None if moved.entitlement is None or moved.outcome is None else moved.entitlement.id
    for id in rows.open.get(OPEN + account.key) or ():
        if id == current:
            continue
        entitlement = account.entitlements[id]
        for rule in rules.watching(account.name[0], entitlement.feature_id, account.name[2]).balance:
            key = row_key(MARKS, account, rule, id)
            marks = rows.marks.get(key)
            if marks is not None:
                after, firings = threshold.close(marks, at.position)
                if not account.ended(id, at_s):  # the record is read again, after newer ones
                    again = [one for one in firings if one.position == at.position and one in marks.firings]
                    after, firings = marks, again
                if after != marks:
                    rows.marks.put(key, after)
                    rows.calm.pop(account.key, None)
                alerts += _threshold_alerts(_ended(moved, id, marks.since_s, at), rule, rules, firings, at)
    return alerts


def _ended(moved: BalanceMoved, id: str, since_s: int, at: AlertAt) -> BalanceMoved:
    """An account at the end of an entitlement: nothing is left in its last usage period, which began at `since_s`."""
    account, entitlement = moved.account, moved.account.entitlements[id]
    balance = account_balance.no_access(account, entitlement, at.position, at.at_ms // 1000, NEVER_S)
    balance.balance = balance.usage = balance.overage = balance.total_available = "0"
    balance.period_from_ms, balance.period_to_ms = since_s * 1000, account.spans[id][1] * 1000
    return BalanceMoved(account, entitlement, lambda: balance, NEVER_S)


def _fired_resets(rows: FiredRows, moved: BalanceMoved, at: AlertAt) -> list[FiredReset]:
    """The resets that the record fires, also when it is read again."""
    assert moved.outcome is not None
    key = RESETS + moved.account.key
    resets = rows.resets.get(key) or []
    if not any(reset.position >= at.position for reset in resets) and moved.outcome.resets:
        resets = [reset for reset in resets if reset.position >= at.first]
        id = moved.outcome.status.entitlement
        resets += [FiredReset(at.position, id, done.since_s, done.at_s) for done in moved.outcome.resets]
        rows.resets.put(key, resets)
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
    watching = rules.watching(namespace, moved.entitlement.feature_id, feature).expiring
    if not watching:
        return NEVER_S
    leads = (_lead(rule, terms) for rule in watching)
    return min((threshold.next_warning_s(terms.order, now_s, lead) for lead in leads), default=NEVER_S)


def _lead(rule: ExpiringRule, terms: Terms) -> Lead:
    return Lead(rule.interval, terms.schedule.recurrence.zone)


def _is_calm(rows: FiredRows, moved: BalanceMoved, watching: Watching, position: int) -> bool:
    """Whether no threshold makes news with the record."""
    calm = rows.calm.get(moved.account.key)
    if calm is None or moved.outcome is None or moved.outcome.resets:
        return False
    status = moved.outcome.status
    return (
        calm.watching is watching
        and calm.entitlement == status.entitlement
        and calm.since_s == status.since_s
        and calm.newest < position
        and calm.levels.holds(Level(status.balance, status.usage, status.total_available))
    )


def _newest_firing(rows: FiredRows, moved: BalanceMoved, watching: Watching) -> int:
    assert moved.entitlement is not None
    keys = (row_key(MARKS, moved.account, rule, moved.entitlement.id) for rule in watching.balance)
    marks = (rows.marks.get(key) for key in keys)
    return max((firing.position for one in marks if one is not None for firing in one.firings), default=-1)


def _keep_calm(rows: FiredRows, moved: BalanceMoved, watching: Watching) -> None:
    assert moved.outcome is not None
    account, status = moved.account, moved.outcome.status
    thresholds = (one for rule in watching.balance for one in rule.levels)
    levels = calm_around(thresholds, Level(status.balance, status.usage, status.total_available))
    rows.calm[account.key] = CalmAccount(
        watching, status.entitlement, status.since_s, _newest_firing(rows, moved, watching), levels
    )


def _levels(outcome: BalanceOutcome) -> list[tuple[int, Level]]:
    """Of each period that the record ended, and of the present one."""
    levels = [
        (reset.since_s, Level(reset.balance, reset.usage, reset.total_available)) for reset in outcome.resets
    ]
    status = outcome.status
    levels.append((status.since_s, Level(status.balance, status.usage, status.total_available)))
    return levels


def _thresholds(
    rows: FiredRows,
    moved: BalanceMoved,
    levels: list[tuple[int, Level]],
    rule: BalanceRule,
    rules: Rules,
    at: AlertAt,
) -> list[Alert]:
    assert moved.entitlement is not None
    key = row_key(MARKS, moved.account, rule, moved.entitlement.id)
    marks = rows.marks.get(key)
    after, firings = threshold.judge(marks, rule.levels, levels, at.position, rule.rearm, at.first)
    if after is not None and after is not marks and after != marks:
        rows.marks.put(key, after)
        if after.firings:
            _keep_open(rows, moved.account, moved.entitlement.id)
    return _threshold_alerts(moved, rule, rules, firings, at) if firings else []


def _keep_open(rows: FiredRows, account: Account, entitlement: str) -> None:
    key = OPEN + account.key
    entitlements = rows.open.get(key) or []
    if entitlement not in entitlements:
        rows.open.put(key, [*entitlements, entitlement][-MOST_OPEN:])


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


def _expiring(
    rows: FiredRows, moved: BalanceMoved, terms: Terms, rule: ExpiringRule, rules: Rules, at: AlertAt
) -> list[Alert]:
    assert moved.outcome is not None
    status = moved.outcome.status
    key = row_key(WARNED, moved.account, rule)
    before = rows.warned.get(key)
    after, ids = threshold.expiring(
        before, terms.order, status.balances, status.at_s, _lead(rule, terms), at.position, at.first
    )
    if after != before and (after.firings or before is not None):
        rows.warned.put(key, after)
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
