"""What is told of a balance: from rules and an account that moved, to alerts with their payloads.

Owns: which rules look at an account, the alert's id, payload and the event that it names, what is kept of it. Does not
own: when a threshold is met (threshold), rules' definitions (rule), sending (the webhook stage).
Payloads: OpenMeter's `{id, type, timestamp, data}`; `state`, `event`, `passed` and `period` in `data` are ours.

An alert belongs to an entitlement: the next one of the same account is told of anew, and what was told of the one
before is told as resolved when it ends.

In the state (ids have 26 characters):
    m + account + rule + entitlement   what the rule told of the entitlement (threshold.FiredThresholds)
    e + account + rule                 grants of which it told that they end (threshold.WarnedGrants)
    o + account                        the entitlements of which anything was told, the newest last
    r + account                        the newest resets, each with the position of the record that told it
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from pipeline.core.definitions.kinds import CUSTOMER
from pipeline.core.notifications import threshold
from pipeline.core.notifications.rule import (
    BALANCE,
    EXPIRING,
    RESET,
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
    Threshold,
    WarnedGrants,
)
from pipeline.core.quota import account_balance
from pipeline.core.quota.accounts import Account
from pipeline.core.quota.balance_result import BalanceStatus
from pipeline.core.quota.balance_update import BalanceMoved
from pipeline.core.quota.entitlement_json import entitlement_json
from pipeline.core.quota.grant import grant_of
from pipeline.core.quota.terms import Terms
from pipeline.core.values import number, timestamp, ulid
from pipeline.core.values.calendar import NEVER_S
from pipeline.core.values.table import KeyedBytes
from pipeline.records import Alert, Definition, Window

R = TypeVar("R", bound=EntitlementRule)
MARKS, WARNED, OPEN, RESETS = b"m", b"e", b"o", b"r"
KEPT = 16  # entitlements of an account: those before have ended long ago
RESOLVED = f"{BALANCE}.resolved"
_encode = msgspec.msgpack.Encoder().encode
_marks = msgspec.msgpack.Decoder(FiredThresholds | None).decode
_warned = msgspec.msgpack.Decoder(WarnedGrants).decode
_open = msgspec.msgpack.Decoder(list[str]).decode
_json = msgspec.json.Encoder().encode


class FiredReset(NamedTuple):
    """A usage period of an entitlement that ended at `at_s`, told at `position`."""

    position: int
    entitlement: str
    since_s: int
    at_s: int


class AlertAt(NamedTuple):
    """The record that something is told at: its offset, the broker's time. first: of those that may be read again."""

    position: int
    at_ms: int
    first: int


_resets = msgspec.msgpack.Decoder(list[FiredReset]).decode


class Rules:
    """The rules in force by namespace and type, and customers' bodies for payloads."""

    def __init__(self) -> None:
        self._rules: dict[tuple[str, str], Rule] = {}  # namespace, id
        self._of_type: dict[tuple[str, type[Rule]], list[Rule]] = {}
        self._customers: dict[tuple[str, str], Mapping[str, object]] = {}

    def update(self, changes: Mapping[str, Definition | None]) -> set[str]:
        """Takes what was read from `control`; gives the namespaces whose rules have changed."""
        touched = set()
        for definition in changes.values():
            if definition is None or definition.body is None:
                continue
            if (found := Rule.of(definition)) is not None:
                self._rules[definition.namespace, definition.name] = found
                touched.add(definition.namespace)
            elif definition.kind == CUSTOMER:
                self._customers[definition.namespace, definition.name] = definition.body
        if touched:
            self._of_type = {}
            for (namespace, _), one in sorted(self._rules.items(), key=lambda item: item[0]):
                if one.is_on:
                    self._of_type.setdefault((namespace, type(one)), []).append(one)
        return touched

    def watching(self, kind: type[R], namespace: str, feature_id: str, feature: str) -> list[R]:
        """The rules of a type that are on and about entitlements of this feature, by id."""
        of_type = self._of_type.get((namespace, kind), ())
        return [one for one in of_type if isinstance(one, kind) and one.watches(feature_id, feature)]

    def customer(self, namespace: str, id: str) -> Mapping[str, object] | None:
        """The body of a customer."""
        return self._customers.get((namespace, id))


def evaluate(table: KeyedBytes, moved: BalanceMoved, rules: Rules, at: AlertAt) -> list[Alert]:
    """What a record makes known of an account that it moved. The same record says the same again."""
    found, terms = _over(table, moved, rules, at), moved.terms
    if moved.outcome is None or terms is None or moved.entitlement is None:
        return found
    namespace, _, feature = moved.account.name
    feature_id = moved.entitlement.feature_id
    for rule in rules.watching(BalanceRule, namespace, feature_id, feature):
        found += _thresholds(table, moved, rule, rules, at)
    watching = rules.watching(ResetRule, namespace, feature_id, feature)
    for reset in _fired_resets(table, moved, at) if watching else ():
        period = {"period": {"from": _text(reset.since_s), "to": _text(reset.at_s)}}
        of = moved._replace(entitlement=moved.account.entitlements[reset.entitlement])
        for one in watching:
            found.append(_alert(of, one, rules, RESET, f"{reset.at_s}/reset", at, {}, period))
    for expiring in rules.watching(ExpiringRule, namespace, feature_id, feature):
        found += _expiring(table, moved, terms, expiring, rules, at)
    return found


def _over(table: KeyedBytes, moved: BalanceMoved, rules: Rules, at: AlertAt) -> list[Alert]:
    """What was told of entitlements before the present one: when they end it is resolved."""
    account, at_s = moved.account, at.at_ms // 1000
    (stored,) = table.get_many([OPEN + account.key])
    found: list[Alert] = []
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
                if not account.ended(id, at_s):  # read again, when the account has come further
                    after, firings = (
                        marks,
                        [one for one in firings if one.position == at.position and one in marks.firings],
                    )
                if after != marks:
                    table.put(key, _encode(after))
                found += _threshold_alerts(_ended(moved, id, marks.since_s, at), rule, rules, firings, at)
    return found


def _ended(moved: BalanceMoved, id: str, since_s: int, at: AlertAt) -> BalanceMoved:
    """An entitlement that has ended: nothing is left of its last usage period, which began at `since_s`."""
    account, entitlement = moved.account, moved.account.entitlements[id]
    balance = account_balance.no_access(account, entitlement, at.position, at.at_ms // 1000, NEVER_S)
    balance.balance = balance.usage = balance.overage = balance.total_available = "0"
    balance.period_from_ms, balance.period_to_ms = since_s * 1000, account.spans[id][1] * 1000
    return BalanceMoved(account, entitlement, balance, NEVER_S)


def _fired_resets(table: KeyedBytes, moved: BalanceMoved, at: AlertAt) -> list[FiredReset]:
    """The resets that the record makes known, also when it is read again."""
    assert moved.outcome is not None
    key = RESETS + moved.account.key
    (stored,) = table.get_many([key])
    kept = [] if stored is None else _resets(stored)
    if not any(one.position >= at.position for one in kept) and moved.outcome.resets:
        kept = [one for one in kept if one.position >= at.first]
        id = moved.outcome.status.entitlement
        kept += [FiredReset(at.position, id, done.since_s, done.at_s) for done in moved.outcome.resets]
        table.put(key, _encode(kept))
    return [one for one in kept if one.position == at.position]


def next_warning_s(moved: BalanceMoved, rules: Rules, now_s: int) -> int:
    """When a grant of the account comes close enough to its end for some rule; NEVER_S if never."""
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
    kept = [] if stored is None else _open(stored)
    if entitlement not in kept:
        table.put(key, _encode([*kept, entitlement][-KEPT:]))


def _threshold_alerts(
    moved: BalanceMoved, rule: BalanceRule, rules: Rules, firings: Iterable[Firing], at: AlertAt
) -> list[Alert]:
    by_id = {one.id: one for one in rule.levels}
    return [_threshold_alert(moved, rule, rules, one, by_id, at) for one in firings if one.threshold in by_id]


def _level(status: BalanceStatus) -> Level:
    return Level(status.balance, status.usage, status.total_available)


def _threshold_alert(
    moved: BalanceMoved,
    rule: BalanceRule,
    rules: Rules,
    firing: Firing,
    by_id: Mapping[str, Threshold],
    at: AlertAt,
) -> Alert:
    crossed = by_id[firing.threshold]
    event = crossing_event(moved, crossed) if firing.state == "fired" else None
    more: dict[str, Any] = {
        "threshold": {"type": crossed.type, "value": msgspec.Raw(number.text(crossed.value).encode())},
        "state": firing.state,
        "passed": firing.passed,
        "event": None if event is None else {"source": event[0], "id": event[1]},
    }
    kind = BALANCE if firing.state == "fired" else RESOLVED
    annotations = {"threshold": firing.threshold, "state": firing.state}
    return _alert(moved, rule, rules, kind, firing.key, at, annotations, more)


def crossing_event(moved: BalanceMoved, crossed: Threshold) -> tuple[str, str] | None:
    """(source, id) of the event with which the threshold was met; the newest that came where that cannot be told.

    Events count in the order in which their windows were taken. None if it was not an event that met it.
    """
    events = [event for window in moved.windows for event in window.events]
    if not events:
        return None
    place = None
    if moved.before is not None and moved.outcome is not None and all(value for _, _, value in events):
        amounts = (number.exact(value) for _, _, value in events)
        place = threshold.crossing(amounts, _room(moved.before, crossed))
    source, id, _ = events[-1 if place is None else place]
    return source, id


def _room(before: BalanceStatus, crossed: Threshold) -> int:
    """The usage with which the threshold is met; zero or less if it is met already."""
    if crossed.kind == "balance_value":
        return before.balance - crossed.value
    if crossed.kind == "usage_value":
        return crossed.value - before.usage
    return -(-crossed.value * before.total_available // (100 * number.SCALE)) - before.usage


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
    return [_grant_alert(moved, rule, rules, id, status.balances.get(id, 0), at) for id in ids]


def _grant_alert(
    moved: BalanceMoved, rule: ExpiringRule, rules: Rules, id: str, balance: int, at: AlertAt
) -> Alert:
    account = moved.account
    entitlement = next(one for one, grants in account.grants.items() if id in grants)
    ends_at_s = grant_of(account.grants[entitlement][id]).ends_at_s
    left = msgspec.Raw(number.text(balance).encode())
    grant = {"id": id, "endsAt": _text(ends_at_s), "balance": left}
    of = moved._replace(entitlement=account.entitlements[entitlement])
    return _alert(of, rule, rules, EXPIRING, f"{id}/expiring", at, {"grant": id}, {"grant": grant})


def _alert(
    moved: BalanceMoved,
    rule: Rule,
    rules: Rules,
    kind: str,
    key: str,
    at: AlertAt,
    annotations: dict[str, str],
    more: Mapping[str, object],
) -> Alert:
    """The alert that `key` names for this rule and entitlement; its id is the same whenever it is told."""
    namespace, customer, feature = moved.account.name
    balance, entitlement = moved.balance, moved.entitlement
    assert entitlement is not None
    id = ulid.make(at.at_ms, f"{namespace}/{rule.id}/{entitlement.id}/{key}")
    subject, holder = _subject(moved.windows), rules.customer(namespace, customer)
    data: dict[str, object] = {
        "entitlement": entitlement_json(entitlement, at.at_ms // 1000, holder, subject or None),
        "feature": {"id": entitlement.feature_id, "key": feature},
        "subject": {"key": subject} if subject else None,
        "customer": holder or {"id": customer},
        "value": {
            "hasAccess": balance.has_access,
            "balance": msgspec.Raw(balance.balance.encode()),
            "usage": msgspec.Raw(balance.usage.encode()),
            "overage": msgspec.Raw(balance.overage.encode()),
            "totalAvailableGrantAmount": msgspec.Raw(balance.total_available.encode()),
        },
        "period": {"from": _text(balance.period_from_ms // 1000), "to": _text(balance.period_to_ms // 1000)},
        **more,
    }
    payload = {"id": id, "type": kind, "timestamp": timestamp.text_of(at.at_ms), "data": data}
    return Alert(
        id=id,
        namespace=namespace,
        type=kind,
        rule=rule.id,
        at_ms=at.at_ms,
        endpoints=rule.channels,
        payload=_json(payload).decode(),
        customer=customer,
        feature=feature,
        subject=subject,
        annotations=annotations,
    )


def _subject(windows: Sequence[Window]) -> str:
    return windows[-1].subject if windows else ""


def _text(at_s: int) -> str:
    return timestamp.text_of(at_s * 1000)
