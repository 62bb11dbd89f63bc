"""The event of a rule's test: its payload has the members of a real one, with made-up values.

Owns: these values. Does not own: real payloads (balance_events, volume_alerts, invoice_events), their envelope
(webhook_payload).
"""

from __future__ import annotations

from pipeline.core.customers.customer import UsageAttribution
from pipeline.core.invoices.invoice import InvoiceContent, InvoiceCustomer, InvoiceWorkflow
from pipeline.core.invoices.machine import begin
from pipeline.core.invoices.profile import ProfileApps, Supplier
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.totals import InvoiceTotals
from pipeline.core.invoices.workflow import BillingWorkflow, terms_of
from pipeline.core.notifications.credit_events import credit_data
from pipeline.core.notifications.invoice_events import invoice_data
from pipeline.core.notifications.rule import (
    BalanceRule,
    CreditRule,
    ExpiringRule,
    InvoiceRule,
    Rule,
    VolumeRule,
)
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
    if isinstance(rule, CreditRule):
        return credit_data(_customer(), rule, rule.threshold) | test
    if isinstance(rule, InvoiceRule):
        return invoice_data(_invoice(at_ms), at_ms) | test
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


def _invoice(at_ms: int) -> StoredInvoice:
    """A draft without lines."""
    now, workflow = timestamp.text_of(at_ms), BillingWorkflow()
    content = InvoiceContent(
        id=_ID,
        type="standard",
        number="TEST-1",
        currency="USD",
        supplier=Supplier(name="Test supplier"),
        customer=InvoiceCustomer(
            id=_ID,
            key="test-customer",
            name="Test customer",
            usage_attribution=UsageAttribution(["test-subject"]),
        ),
        totals=InvoiceTotals(),
        workflow=InvoiceWorkflow(
            apps=ProfileApps(_ID, _ID, _ID), source_billing_profile_id=_ID, workflow=workflow
        ),
        created_at=now,
        updated_at=now,
    )
    terms = terms_of(workflow, at_ms // 1000, [], "UTC")
    return StoredInvoice(content=content, progress=begin(_ID, terms, at_ms // 1000).invoice)
