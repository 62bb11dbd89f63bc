"""The life of an invoice as data: its states, what leads from one to another, and what each state makes the writer do.

Owns: the table, and which states are immutable, failed, final. Does not own: moving along it (machine), the actions of
clients (actions), what an effect does (rating, numbering, the apps).

A state with effects is left when each of them is answered; the others are left at once, at an instant, or by a trigger.

Source: openmeterio/openmeter at 7e57a394, `openmeter/billing/service/stdinvoicestate.go`. Ours: `issuing.syncing` first
takes a number that has no gap. From then on the invoice can only be voided, where OpenMeter deletes it: guard
`not_numbered` of `delete`, and the rows of `void` in `issuing.*`. As there, no client voids an overdue invoice; but one
that its app has voided is voided: guard `void_reported`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args

InvoiceState = Literal[
    "gathering",
    "draft.created",
    "draft.waiting_for_collection",
    "draft.collecting",
    "draft.updating",
    "draft.validating",
    "draft.invalid",
    "draft.syncing",
    "draft.sync_failed",
    "draft.waiting_auto_approval",
    "draft.manual_approval_needed",
    "draft.ready_to_issue",
    "issuing.line_finalization",
    "issuing.line_finalization_failed",
    "issuing.syncing",
    "issuing.failed",
    "issuing.charge_booking",
    "issuing.charge_booking_failed",
    "issued",
    "payment_processing.pending",
    "payment_processing.booking_authorized",
    "payment_processing.booking_authorized_failed",
    "payment_processing.booking_settled",
    "payment_processing.booking_settled_failed",
    "payment_processing.booking_authorized_and_settled",
    "payment_processing.booking_authorized_and_settled_failed",
    "payment_processing.authorized",
    "payment_processing.failed",
    "payment_processing.action_required",
    "overdue",
    "paid",
    "uncollectible",
    "voided",
    "delete.in_progress",
    "delete.syncing",
    "delete.failed",
    "deleted",
]
STATES: Final[tuple[InvoiceState, ...]] = get_args(InvoiceState)
START: Final[InvoiceState] = "draft.created"

PaymentTrigger = Literal[
    "authorized", "paid", "payment_failed", "overdue", "uncollectible", "action_required"
]
# next: an advance, by itself or on request. failed: an effect of the state failed.
InvoiceTrigger = Literal[
    "next", "failed", "snapshot_quantities", "edit", "retry", "approve", "delete", "void",
    "authorized", "paid", "payment_failed", "overdue", "uncollectible", "action_required",
]  # fmt: skip
TRIGGERS: Final[tuple[InvoiceTrigger, ...]] = get_args(InvoiceTrigger)
PAYMENT_TRIGGERS: Final[tuple[PaymentTrigger, ...]] = get_args(PaymentTrigger)

WayGuard = Literal[
    "collection_due", "draft_over", "not_critical", "auto_advance", "by_hand", "has_lines", "no_lines",
    "not_numbered", "numbered", "void_reported",
]  # fmt: skip
Effect = Literal[
    "rate", "collect", "validate", "sync_draft", "finalize_lines", "request_number", "finalize", "book",
    "collect_payment", "book_payment", "sync_void", "sync_delete",
]  # fmt: skip

# Effects in the order in which they are done. The next state waits for them. An app that numbers its own invoices is
# asked to finalize before a number is requested.
AWAITED: Final[Mapping[InvoiceState, tuple[Effect, ...]]] = {
    "draft.created": ("rate",),
    "draft.collecting": ("collect", "rate"),
    "draft.updating": ("rate", "validate"),
    "draft.validating": ("rate", "validate"),
    "draft.syncing": ("sync_draft",),
    "issuing.line_finalization": ("finalize_lines",),
    "issuing.syncing": ("request_number", "finalize"),
    "issuing.charge_booking": ("book",),
    "payment_processing.booking_authorized": ("book_payment",),
    "payment_processing.booking_settled": ("book_payment",),
    "payment_processing.booking_authorized_and_settled": ("book_payment",),
    "delete.syncing": ("sync_delete",),
}
# Effects that are only begun: their result is a trigger of its own, or nothing depends on it.
BEGUN: Final[Mapping[InvoiceState, tuple[Effect, ...]]] = {
    "payment_processing.pending": ("collect_payment",),
    "voided": ("sync_void",),
}
# Effects that the writer does in the transaction of the record. The others are answered by a later record: `collect`
# when the usage of the period is complete, the rest by another stage or an app.
LOCAL_EFFECTS: Final[frozenset[Effect]] = frozenset(
    {"rate", "validate", "finalize_lines", "book", "book_payment"}
)

FINAL: Final[frozenset[InvoiceState]] = frozenset({"paid", "voided", "deleted"})
FAILED: Final[frozenset[InvoiceState]] = frozenset(state for state in STATES if state.endswith("failed"))


class Way(NamedTuple):
    """One way out of a state. guards: all of them must hold."""

    to: InvoiceState
    guards: tuple[WayGuard, ...] = ()


Ways = dict[InvoiceTrigger, tuple[Way, ...]]


def _on(trigger: InvoiceTrigger, to: InvoiceState, *guards: WayGuard) -> Ways:
    return {trigger: (Way(to, guards),)}


def _next(to: InvoiceState, *guards: WayGuard) -> Ways:
    return _on("next", to, *guards)


def _failed(to: InvoiceState) -> Ways:
    return _on("failed", to)


def _retry(to: InvoiceState) -> Ways:
    return _on("retry", to)


def _without(ways: Ways, *triggers: InvoiceTrigger) -> Ways:
    return {trigger: way for trigger, way in ways.items() if trigger not in triggers}


def _booking(state: InvoiceState, failed: InvoiceState, to: InvoiceState) -> dict[InvoiceState, Ways]:
    """A booking of a payment, and what follows where it fails."""
    return {state: _next(to) | _failed(failed) | _VOID, failed: _retry(state) | _VOID}


_DELETE = _on("delete", "delete.in_progress")
_DELETE_UNNUMBERED = _on("delete", "delete.in_progress", "not_numbered")
_EDIT = _on("edit", "draft.updating")
_INVALID = _failed("draft.invalid")
_VOID = _on("void", "voided")
_VOID_NUMBERED = _on("void", "voided", "numbered")
_OF_PAYMENT: Ways = {
    "authorized": (Way("payment_processing.booking_authorized"),),
    "paid": (Way("payment_processing.booking_authorized_and_settled"),),
    "payment_failed": (Way("payment_processing.failed"),),
    "overdue": (Way("overdue"),),
    "uncollectible": (Way("uncollectible"),),
    "action_required": (Way("payment_processing.action_required"),),
}
_TAKEN_OVER: Ways = {
    "next": (
        Way("draft.waiting_auto_approval", ("auto_advance", "not_critical")),
        Way("draft.manual_approval_needed", ("by_hand", "not_critical")),
    )
}
_READY: Ways = {
    "next": (Way("issuing.line_finalization", ("has_lines",)), Way("delete.syncing", ("no_lines",)))
}

TABLE: Final[Mapping[InvoiceState, Ways]] = {
    "gathering": {},
    "draft.created": _next("draft.waiting_for_collection") | _INVALID | _DELETE | _EDIT,
    "draft.waiting_for_collection": _next("draft.collecting", "collection_due")
    | _on("snapshot_quantities", "draft.collecting") | _DELETE | _EDIT,
    "draft.collecting": _next("draft.validating") | _INVALID | _DELETE | _EDIT,
    "draft.updating": _next("draft.waiting_for_collection") | _INVALID | _DELETE,
    "draft.validating": _next("draft.syncing", "not_critical") | _INVALID | _DELETE | _EDIT,
    "draft.invalid": _retry("draft.validating") | _DELETE | _EDIT,
    "draft.syncing": _TAKEN_OVER | _failed("draft.sync_failed") | _DELETE,
    "draft.sync_failed": _retry("draft.validating") | _DELETE | _EDIT,
    "draft.waiting_auto_approval": _next("draft.ready_to_issue", "draft_over", "not_critical")
    | _on("approve", "draft.ready_to_issue") | _DELETE | _EDIT,
    "draft.manual_approval_needed": _on("approve", "draft.ready_to_issue", "not_critical") | _DELETE | _EDIT,
    "draft.ready_to_issue": _READY | _DELETE | _EDIT,
    "issuing.line_finalization":
        _next("issuing.syncing") | _failed("issuing.line_finalization_failed") | _DELETE_UNNUMBERED,
    "issuing.line_finalization_failed": _retry("issuing.line_finalization") | _DELETE_UNNUMBERED,
    "issuing.syncing": _next("issuing.charge_booking", "numbered") | _failed("issuing.failed")
    | _DELETE_UNNUMBERED | _VOID_NUMBERED,
    "issuing.failed": _retry("issuing.syncing") | _DELETE_UNNUMBERED | _VOID_NUMBERED,
    "issuing.charge_booking": _next("issued") | _failed("issuing.charge_booking_failed") | _DELETE_UNNUMBERED,
    "issuing.charge_booking_failed": _retry("issuing.charge_booking") | _DELETE_UNNUMBERED | _VOID_NUMBERED,
    "issued": _next("payment_processing.pending") | _VOID,
    "payment_processing.pending": _OF_PAYMENT | _VOID,
    **_booking("payment_processing.booking_authorized", "payment_processing.booking_authorized_failed",
               "payment_processing.authorized"),
    **_booking("payment_processing.booking_settled", "payment_processing.booking_settled_failed", "paid"),
    **_booking("payment_processing.booking_authorized_and_settled",
               "payment_processing.booking_authorized_and_settled_failed", "paid"),
    "payment_processing.authorized":
        _without(_OF_PAYMENT, "authorized") | _on("paid", "payment_processing.booking_settled") | _VOID,
    "payment_processing.failed": _OF_PAYMENT | _retry("payment_processing.pending") | _VOID,
    "payment_processing.action_required": _OF_PAYMENT | _retry("payment_processing.pending") | _VOID,
    "overdue": _without(_OF_PAYMENT, "overdue") | _retry("payment_processing.pending")
    | _on("void", "voided", "void_reported"),
    "uncollectible":
        _without(_OF_PAYMENT, "payment_failed", "overdue", "uncollectible", "action_required") | _VOID,
    "paid": {},
    "voided": {},
    "delete.in_progress": _next("delete.syncing") | _failed("delete.failed"),
    "delete.syncing": _next("deleted") | _failed("delete.failed"),
    "delete.failed": _retry("delete.in_progress") | _DELETE,
    "deleted": {},
}  # fmt: skip


def short_status(state: InvoiceState) -> str:
    """The status of a state: its part before the dot.

    >>> short_status("draft.syncing"), short_status("paid")
    ('draft', 'paid')
    """
    return state.partition(".")[0]


def is_immutable(state: InvoiceState) -> bool:
    """Whether what the invoice bills is fixed."""
    return short_status(state) not in ("gathering", "draft")
