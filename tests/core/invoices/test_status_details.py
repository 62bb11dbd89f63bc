"""What answers show of a status: flags, the actions that are available, and where they lead."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.invoices import actions
from pipeline.core.invoices.state_table import STATES, TABLE, InvoiceState
from pipeline.core.invoices.status_details import details_of, status_of
from tests.core.invoices.states import NOW_S, in_state, terms


def shown(state: InvoiceState, **changed: object) -> dict[str, object]:
    """The actions of an invoice, each with the state that it leads to."""
    invoice = in_state(state, **changed)
    available = msgspec.to_builtins(details_of(invoice, NOW_S).available_actions)
    return {name: details["resultingState"] for name, details in available.items()}


@pytest.mark.parametrize(
    ("state", "changed", "expected"),
    [
        (
            "draft.waiting_auto_approval", {},
            {"approve": "payment_processing.pending", "delete": "deleted"},
        ),
        (
            "draft.waiting_for_collection", {"terms": terms(collection_at_s=NOW_S + 1)},
            {"snapshotQuantities": "draft.waiting_auto_approval", "delete": "deleted"},
        ),
        (
            "draft.invalid", {"terms": terms(is_critical=True)},
            {"retry": "draft.waiting_auto_approval", "delete": "deleted"},
        ),
        (
            "draft.manual_approval_needed", {"terms": terms(auto_advance=False, draft_until_s=None)},
            {"approve": "payment_processing.pending", "delete": "deleted"},
        ),
        (
            "draft.waiting_auto_approval", {"terms": terms(draft_until_s=NOW_S)},
            {
                "advance": "payment_processing.pending", "approve": "payment_processing.pending", "delete": "deleted"
            },
        ),
        ("issuing.failed", {"number_requested": True, "number": "INV-1"},
         {"retry": "payment_processing.pending", "void": "voided"}),
        ("overdue", {}, {"retry": "payment_processing.pending"}),
        ("payment_processing.pending", {}, {"void": "voided"}),
        ("paid", {}, {}),
        ("gathering", {}, {}),
    ],
)  # fmt: skip
def test_the_actions_of_a_state(
    state: InvoiceState, changed: dict[str, object], expected: dict[str, str]
) -> None:
    assert shown(state, **changed) == expected


@pytest.mark.parametrize("state", STATES)
def test_an_action_is_shown_where_it_is_allowed(state: InvoiceState) -> None:
    invoice = in_state(state)
    available = details_of(invoice, NOW_S).available_actions
    for action in ("approve", "retry", "delete", "void", "snapshot_quantities"):
        allowed = any(
            not {"numbered", "void_reported"} & set(way.guards) for way in TABLE[state].get(action, ())
        )
        assert (getattr(available, action) is not None) == allowed
        if allowed:
            assert actions.act(invoice, action, NOW_S).entered


def test_the_json_has_the_names_of_the_api() -> None:
    details = details_of(in_state("payment_processing.failed"), NOW_S)
    assert status_of(in_state("payment_processing.failed")) == "payment_processing"
    assert msgspec.to_builtins(details) == {
        "immutable": True,
        "failed": True,
        "extendedStatus": "payment_processing.failed",
        "availableActions": {
            "retry": {"resultingState": "payment_processing.pending"},
            "void": {"resultingState": "voided"},
        },
    }


def test_a_gathering_invoice_with_billable_lines_can_be_invoiced() -> None:
    details = details_of(in_state("gathering"), NOW_S, is_billable=True)
    assert msgspec.to_builtins(details.available_actions) == {"invoice": {}}
