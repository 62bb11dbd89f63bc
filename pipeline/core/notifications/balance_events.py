"""The events of rules about entitlements, and the alerts that carry them.

Owns: the data of each type, which event of usage a threshold names, the id of an alert. Does not own: when something
fires (balance_alerts), the envelope (webhook_payload).
Source of `data`: OpenMeter, openmeter/notification/eventpayload.go at commit 7e57a394; `state`, `event`, `passed` and
`period` are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from pipeline.core.customers.customer import Customer
from pipeline.core.notifications import threshold
from pipeline.core.notifications.rule import BALANCE, EXPIRING, RESET, Rule
from pipeline.core.notifications.threshold import Firing, Threshold
from pipeline.core.notifications.webhook_payload import payload
from pipeline.core.quota.balance_update import BalanceMoved
from pipeline.core.quota.burndown import Snapshot
from pipeline.core.quota.entitlement_json import entitlement_json
from pipeline.core.quota.grant import GrantDefinition, grant_of
from pipeline.core.values import number, timestamp, ulid
from pipeline.errors import Broken
from pipeline.records import Alert

RESOLVED = f"{BALANCE}.resolved"


class BalanceEvent(NamedTuple):
    """What fires.

    Args:
        type: of the event.
        key: with the ids of rule and entitlement it names the alert for ever.
        annotations: of the alert.
        data: the members of its type.
    """

    type: str
    key: str
    annotations: dict[str, str]
    data: Mapping[str, object]


def threshold_event(moved: BalanceMoved, crossed: Threshold, firing: Firing) -> BalanceEvent:
    """A threshold that fired or resolved.

    Args:
        moved: the account after the record.
        crossed: the threshold that names the firing.
        firing: of the record.
    """
    event = crossing_event(moved, crossed) if firing.state == "fired" else None
    data = {
        "threshold": {"type": crossed.type, "value": msgspec.Raw(number.text(crossed.value).encode())},
        "state": firing.state,
        "passed": firing.passed,
        "event": None if event is None else {"source": event[0], "id": event[1]},
    }
    annotations = {"threshold": firing.threshold, "state": firing.state}
    return BalanceEvent(BALANCE if firing.state == "fired" else RESOLVED, firing.key, annotations, data)


def reset_event(since_s: int, at_s: int) -> BalanceEvent:
    """A usage period [since_s, at_s) that has ended, in seconds since 1970."""
    return BalanceEvent(RESET, f"{at_s}/reset", {}, {"period": _period(since_s, at_s)})


def expiring_event(grant: GrantDefinition, balance: int) -> BalanceEvent:
    """A grant that ends soon. balance: what is left of it, in atto."""
    ends_at, left = _text(grant_of(grant).ends_at_s), msgspec.Raw(number.text(balance).encode())
    data = {"grant": {"id": grant.id, "endsAt": ends_at, "balance": left}}
    return BalanceEvent(EXPIRING, f"{grant.id}/expiring", {"grant": grant.id}, data)


def crossing_event(moved: BalanceMoved, crossed: Threshold) -> tuple[str, str] | None:
    """The event with which a threshold was met.

    Events count in the order in which their windows were read.

    Args:
        moved: the account after the record.
        crossed: the threshold.

    Returns:
        (source, id); of the newest event where values of events are unknown; None if no event met it.
    """
    events = [event for window in moved.windows for event in window.events]
    if not events:
        return None
    crossing = None
    if moved.before is not None and moved.outcome is not None and all(value for _, _, value in events):
        amounts = (number.exact(value) for _, _, value in events)
        crossing = threshold.crossing(amounts, _room(moved.before.burnt(), crossed))
    source, id, _ = events[-1 if crossing is None else crossing]
    return source, id


def _room(before: Snapshot, crossed: Threshold) -> int:
    """How much more usage meets the threshold, in atto; zero or less if it is met already."""
    if crossed.kind == "balance_value":
        return before.balance - crossed.value
    if crossed.kind == "usage_value":
        return crossed.value - before.usage
    return -(-crossed.value * before.total_available // (100 * number.SCALE)) - before.usage


def alert(
    event: BalanceEvent, moved: BalanceMoved, rule: Rule, customer: Customer | None, at_ms: int
) -> Alert:
    """The alert of an event; its id is the same each time it is made.

    Args:
        event: that fired.
        moved: the account after the record, with the entitlement that the event is about.
        rule: that fired it.
        customer: of the account; None where it is not defined any more.
        at_ms: the broker's time of the record, in milliseconds since 1970.
    """
    namespace, customer_id, feature = moved.account.name
    balance, entitlement = moved.published(), moved.entitlement
    if entitlement is None:
        raise Broken(f"An alert of the rule {rule.id} is about no entitlement.")
    subject = moved.windows[-1].subject if moved.windows else ""
    data: dict[str, object] = {
        "entitlement": entitlement_json(entitlement, at_ms // 1000, customer, subject or None),
        "feature": {"id": entitlement.feature_id, "key": feature},
        "subject": {"key": subject} if subject else None,
        "customer": {"id": customer_id} if customer is None else customer.members,
        "value": {
            "hasAccess": balance.has_access,
            "balance": msgspec.Raw(balance.balance.encode()),
            "usage": msgspec.Raw(balance.usage.encode()),
            "overage": msgspec.Raw(balance.overage.encode()),
            "totalAvailableGrantAmount": msgspec.Raw(balance.total_available.encode()),
        },
        "period": _period(balance.period_from_ms // 1000, balance.period_to_ms // 1000),
        **event.data,
    }
    id = ulid.make(at_ms, f"{namespace}/{rule.id}/{entitlement.id}/{event.key}")
    return Alert(
        id=id,
        namespace=namespace,
        type=event.type,
        rule=rule.id,
        at_ms=at_ms,
        endpoints=rule.channels,
        payload=payload(id, event.type, at_ms, data),
        customer=customer_id,
        feature=feature,
        subject=subject,
        annotations=event.annotations,
    )


def _period(from_s: int, to_s: int) -> dict[str, object]:
    return {"from": _text(from_s), "to": _text(to_s)}


def _text(at_s: int) -> str:
    return timestamp.text_of(at_s * 1000)
