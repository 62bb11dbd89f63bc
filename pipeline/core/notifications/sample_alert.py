"""The event of a rule's test: its payload has the members of a real one, with made-up values.

Owns: these values. Does not own: real payloads (balance_alerts, volume_alerts), their envelope (webhook_payload).
"""

from __future__ import annotations

from pipeline.core.notifications.rule import BalanceRule, ExpiringRule, Rule, VolumeRule
from pipeline.core.notifications.webhook_payload import payload
from pipeline.core.values import timestamp
from pipeline.core.values.json_number import plain
from pipeline.records import Alert

TEST = "notification.rule.test"  # the annotation
_ID = "01HZZZZZZZZZZZZZZZZZZZZZZZ"
_DAY_MS = 86_400_000


def alert(id: str, namespace: str, rule: Rule, at_ms: int) -> Alert:
    """An alert of the rule's type to all its endpoints, marked as a test.

    Args:
        id: a ULID of `at_ms`.
        namespace: of the rule.
        rule: whose channels are tried.
        at_ms: milliseconds since 1970.
    """
    return Alert(
        id=id,
        namespace=namespace,
        type=rule.type,
        rule=rule.id,
        at_ms=at_ms,
        endpoints=rule.channels,
        payload=payload(id, rule.type, at_ms, _data(rule, at_ms)),
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
