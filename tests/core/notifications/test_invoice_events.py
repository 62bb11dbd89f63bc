"""What a change of an invoice fires, once, and that a test has the members of a real event."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pipeline.core.invoices.invoice import InvoiceWorkflow, answer_of, shown
from pipeline.core.invoices.line import with_details
from pipeline.core.invoices.state_table import InvoiceState
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.workflow import BillingWorkflow, DunningSettings, DunningStepSettings
from pipeline.core.notifications import sample_alert
from pipeline.core.notifications.invoice_events import invoice_alerts
from pipeline.core.notifications.rule import Rule
from pipeline.core.values import ulid
from pipeline.records import Alert
from tests.core.invoices.invoices import START_S, content, detail, line
from tests.core.invoices.states import in_state

DAY_S = 86_400
NOW_MS = START_S * 1000 + 5


def rules(*types: str, **more: Any) -> list[Rule]:
    body = {"name": "n", "channels": ["c"], "disabled": False, **more}
    return [Rule.read({**body, "id": f"rule {place}", "type": type}) for place, type in enumerate(types)]


ALL = rules("invoice.updated", "invoice.created", "invoice.overdue", "entitlements.reset")


def stored(state: InvoiceState, sequence: int = 1, made: int = 0, **changes: Any) -> StoredInvoice:
    found = in_state(state, sequence=sequence)
    return StoredInvoice(content=content(**changes), progress=found, dunning_made=made)


def fired(before: StoredInvoice | None, after: StoredInvoice, at_ms: int = NOW_MS) -> list[Alert]:
    return invoice_alerts("default", before, after, ALL, at_ms)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, stored("gathering"), []),
        (stored("gathering"), stored("gathering", 2), []),
        (None, stored("draft.waiting_for_collection"), ["invoice.created"]),
        (None, stored("paid", 9), ["invoice.created"]),  # all states in one record
        (stored("draft.created"), stored("draft.created", number="DRAFT-2"), []),
        (stored("draft.created"), stored("issued", 7), ["invoice.updated"]),
        (stored("draft.validating", 5), stored("draft.validating", 9), ["invoice.updated"]),  # edited in between
        (stored("issued"), stored("overdue", 2), ["invoice.updated", "invoice.overdue"]),
        (stored("overdue", 2), stored("paid", 3), ["invoice.updated"]),
    ],
)  # fmt: skip
def test_which_changes_fire(before: StoredInvoice | None, after: StoredInvoice, expected: list[str]) -> None:
    assert [one.type for one in fired(before, after)] == expected


def test_an_alert_holds_the_invoice_as_the_api_shows_it() -> None:
    of = line()
    after = stored("draft.created", lines=(with_details(of, (detail(of, "usage", "10"),)),))
    [alert] = fired(None, after)
    sent = json.loads(alert.payload)
    assert sent["data"] == json.loads(
        msgspec.json.encode(shown(answer_of(after.content, after.progress, NOW_MS // 1000)))
    )
    assert sent["data"]["lines"][0]["totals"]["total"] == "10"
    assert (sent["id"], sent["type"]) == (alert.id, "invoice.created")
    assert (alert.customer, alert.rule, alert.endpoints) == ("01CUSTOMER", "rule 1", ["c"])
    assert alert.annotations == {"invoice": "01INVOICE", "state": "draft.created"}


def test_the_same_change_fires_the_same_alert_and_another_one_another() -> None:
    first = fired(None, stored("draft.created"))
    assert first == fired(None, stored("draft.created"))
    ids = {
        one.id
        for one in [
            *first,
            *fired(stored("issued"), stored("overdue", 2)),
            *fired(stored("overdue", 2), stored("paid", 3)),
        ]
    }
    assert len(ids) == 4
    assert all(ulid.is_ulid(id) for id in ids)


def test_a_rule_that_is_off_fires_nothing() -> None:
    off = [
        *rules("invoice.created", disabled=True),
        *rules("invoice.created", deletedAt="2026-01-01T00:00:00Z"),
    ]
    assert invoice_alerts("default", None, stored("draft.created"), off, NOW_MS) == []


STEPS = (
    DunningStepSettings(after="P1D", action="notify"),
    DunningStepSettings(after="P2D", action="retry_payment"),
    DunningStepSettings(after="P3D", action="notify"),
)


def reminded(state: InvoiceState, made: int, sequence: int = 1) -> StoredInvoice:
    workflow = BillingWorkflow(
        dunning=DunningSettings(steps=STEPS, give_up_after="P4D", then="uncollectible")
    )
    of = content().workflow
    return stored(
        state, sequence, made, workflow=InvoiceWorkflow(
            apps=of.apps, source_billing_profile_id=of.source_billing_profile_id, workflow=workflow
        ),
    )  # fmt: skip


def test_each_reminder_fires_once() -> None:
    overdue, due_s = reminded("overdue", 0), reminded("overdue", 0).progress.due_at_s
    assert due_s is not None
    late_ms = (due_s + 10 * DAY_S) * 1000
    both = fired(overdue, reminded("overdue", 3), late_ms)
    assert [(one.type, one.annotations["reminder"]) for one in both] == [
        ("invoice.overdue", "1"),
        ("invoice.overdue", "3"),
    ]
    assert fired(reminded("overdue", 1), reminded("overdue", 2), late_ms) == []
    ended = fired(reminded("overdue", 2), reminded("uncollectible", 4, 2), late_ms)
    assert [one.type for one in ended] == ["invoice.updated", "invoice.overdue"]
    assert len({one.id for one in [*both, *ended]}) == 3  # the third reminder is the same


@pytest.mark.parametrize("kind", ["invoice.created", "invoice.updated", "invoice.overdue"])
def test_a_test_has_the_members_of_a_real_event(kind: str) -> None:
    [rule] = rules(kind)
    tried = json.loads(sample_alert.alert("0" * 26, "default", rule, NOW_MS).payload)
    [real] = fired(None, stored("draft.created", number="TEST-1"))
    assert tried["data"].pop("annotations") == {sample_alert.TEST: True}
    assert tried.keys() == json.loads(real.payload).keys()
    assert tried["data"].keys() == json.loads(real.payload)["data"].keys()
    assert tried["type"] == kind
