"""What the rules of notifications fire for the bills and credits of a customer that a record changed.

Owns: which changes they see. Does not own: rules and payloads (notifications).
"""

from __future__ import annotations

from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.notifications.credit_events import CreditBalances, credit_alerts
from pipeline.core.notifications.invoice_events import invoice_alerts
from pipeline.records import Alert


def alerts_of(bills: CustomerBills) -> list[Alert]:
    """The alerts that what a record changed fires, by document and rule."""
    credits = bills.credits.balance_change
    if not bills.changed_invoices and credits is None:
        return []
    namespace, now_ms = bills.namespace, bills.moment.now_ms
    rules = bills.definitions.rules(namespace)
    changes = [(bills.before(id), bills.invoice(id)) for id in bills.changed_invoices] if rules else []
    found = [
        alert
        for before, after in changes
        if before is None or before.progress.state != "gathering"
        for alert in invoice_alerts(namespace, before, after, rules, now_ms)
    ]
    customer = bills.definitions.customer(namespace, bills.customer) if rules and credits else None
    if customer is not None and credits is not None:
        changed = CreditBalances(*credits, bills.moment.offset)
        found += credit_alerts(namespace, customer, changed, rules, now_ms)
    return found
