"""The made-up fact that a rule's test tells: the payload is as a real one, about nobody.

Owns: what stands in it. Does not own: real payloads (balance_alerts), the alert that carries it.
"""

from __future__ import annotations

import msgspec

from pipeline.core.notifications.rule import BalanceRule, ExpiringRule, Rule, VolumeRule
from pipeline.core.values import timestamp
from pipeline.core.values.json_number import plain
from pipeline.records import Alert

TEST = "notification.rule.test"  # the annotation
_ID = "01HZZZZZZZZZZZZZZZZZZZZZZZ"
_DAY_MS = 86_400_000
_encode = msgspec.json.Encoder().encode


def alert(id: str, namespace: str, rule: Rule, at_ms: int) -> Alert:
    """An alert of the rule's type to all its endpoints, marked as a test.

    Args:
        id: a ULID of `at_ms`.
        namespace: of the rule.
        rule: whose channels are tried.
        at_ms: milliseconds since 1970.
    """
    payload = {
        "id": id,
        "type": rule.type,
        "timestamp": timestamp.text_of(at_ms),
        "data": _data(rule, at_ms),
    }
    return Alert(
        id=id,
        namespace=namespace,
        type=rule.type,
        rule=rule.id,
        at_ms=at_ms,
        endpoints=rule.channels,
        payload=_encode(payload).decode(),
        annotations={TEST: "true"},
    )


def _data(rule: Rule, at_ms: int) -> dict[str, object]:
    period = {"from": timestamp.text_of(at_ms - _DAY_MS), "to": timestamp.text_of(at_ms + _DAY_MS)}
    test = {"annotations": {TEST: True}}
    if isinstance(rule, VolumeRule):
        return {
            "meter": {"slug": rule.meter_slug},
            "customer": _customer(),
            "subject": {"key": "test-subject"},
            "window": {"size": rule.window_size, **period},
            "groupBy": rule.group_by,
            "limit": plain(rule.limit),
            "value": plain(rule.limit),
            "event": None,
            **test,
        }
    if rule.type.startswith("invoice."):
        return {"id": _ID, "number": "TEST-1", "currency": "USD", "customer": _customer(), **test}
    data: dict[str, object] = {
        "entitlement": {"id": _ID, "type": "metered", "featureKey": "test_feature", "customerId": _ID},
        "feature": {"id": _ID, "key": "test_feature"},
        "subject": {"key": "test-subject"},
        "customer": _customer(),
        "value": {
            "hasAccess": True,
            "balance": 1000,
            "usage": 9000,
            "overage": 0,
            "totalAvailableGrantAmount": 10_000,
        },
        "period": period,
    }
    if isinstance(rule, BalanceRule):
        threshold = {"type": "usage_percentage", "value": 80}
        data |= {"threshold": threshold, "state": "fired", "passed": [], "event": None}
    elif isinstance(rule, ExpiringRule):
        data |= {"grant": {"id": _ID, "endsAt": period["to"], "balance": 1000}}
    return data | test


def _customer() -> dict[str, object]:
    return {"id": _ID, "key": "test-customer", "name": "Test customer"}
