"""The events of rules about invoices, and the alerts that carry them.

Owns: what fires when an invoice changes, the data of an event. Does not own: the changes (invoices.machine), reminders
that are due (invoices.dunning), the envelope (webhook_payload). Gathering invoices fire nothing.

One record may lead an invoice through several states: the event shows the last one. The id of an alert is a function of
the invoice and its state, so a record that is read again fires the same alerts.
Source of `data`: OpenMeter, openmeter/notification/eventpayload.go at commit 7e57a394: the invoice of its API.
`invoice.overdue` is ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.core.invoices.dunning import due_steps
from pipeline.core.invoices.invoice import shown
from pipeline.core.invoices.stored_invoice import StoredInvoice, stored_answer
from pipeline.core.invoices.workflow import dunning_of
from pipeline.core.notifications.rule import CREATED, OVERDUE, UPDATED, InvoiceRule, Rule
from pipeline.core.notifications.webhook_payload import payload
from pipeline.core.values import ulid
from pipeline.records import Alert


class InvoiceEvent(NamedTuple):
    """What fires.

    Attributes:
        type: of the event.
        key: with the ids of rule and invoice it names the alert for ever.
        reminder: number of the dunning step that fires it; 0: none.
    """

    type: str
    key: str
    reminder: int = 0


def invoice_alerts(
    namespace: str,
    before: StoredInvoice | None,
    after: StoredInvoice,
    rules: Iterable[Rule],
    now_ms: int,
) -> list[Alert]:
    """The alerts that a change of an invoice fires, by event and rule.

    Args:
        namespace: of the invoice.
        before, after: the invoice before the record and after it; None: it is new.
        rules: of the namespace, of any type, those that are off too.
        now_ms: the time of the record.
    """
    events = _events(before, after, now_ms // 1000)
    watching = sorted(
        (one for one in rules if isinstance(one, InvoiceRule) and one.is_on), key=lambda one: one.id
    )
    return [
        _alert(namespace, event, after, rule, now_ms)
        for event in events
        for rule in watching
        if rule.type == event.type
    ]


def invoice_data(invoice: StoredInvoice, at_ms: int) -> dict[str, object]:
    """The invoice as the API shows it at an instant."""
    return shown(stored_answer(invoice, at_ms // 1000))


def _events(before: StoredInvoice | None, after: StoredInvoice, now_s: int) -> list[InvoiceEvent]:
    progress = after.progress
    if progress.state == "gathering":
        return []
    if before is None:
        return [InvoiceEvent(CREATED, "created")]
    if before.progress.sequence == progress.sequence:
        return _reminders(before, after, now_s)
    events = [InvoiceEvent(UPDATED, f"updated/{progress.sequence}")]
    if progress.state == "overdue":
        events.append(InvoiceEvent(OVERDUE, f"overdue/{progress.sequence}"))
    return events + _reminders(before, after, now_s)


def _reminders(before: StoredInvoice, after: StoredInvoice, now_s: int) -> list[InvoiceEvent]:
    """The reminders that the record made, of an invoice that was unpaid before it."""
    count, due_s = after.dunning_made - before.dunning_made, after.progress.due_at_s
    if count <= 0 or due_s is None:
        return []
    dunning = dunning_of(after.content.workflow.workflow.dunning)
    steps = due_steps(dunning, "overdue", due_s, before.dunning_made, now_s, after.progress.terms.zone)[
        :count
    ]
    return [
        InvoiceEvent(OVERDUE, f"reminder/{step.number}", step.number)
        for step in steps
        if step.action == "notify"
    ]


def _alert(
    namespace: str, event: InvoiceEvent, invoice: StoredInvoice, rule: InvoiceRule, at_ms: int
) -> Alert:
    id = ulid.make(at_ms, f"{namespace}/{rule.id}/{invoice.content.id}/{event.key}")
    annotations = {"invoice": invoice.content.id, "state": invoice.progress.state}
    return Alert(
        id=id,
        namespace=namespace,
        type=event.type,
        rule=rule.id,
        at_ms=at_ms,
        endpoints=rule.channels,
        payload=payload(id, event.type, at_ms, invoice_data(invoice, at_ms)),
        customer=invoice.content.customer.id,
        annotations=annotations | ({"reminder": str(event.reminder)} if event.reminder else {}),
    )
