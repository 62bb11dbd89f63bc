"""Reminders of an unpaid invoice: which step is due, in order, each once.

Owns: the steps of a profile and what is due of them at an instant. Does not own: doing a step (the notifications, the
app), whether the invoice is paid (payment). Ours: OpenMeter has none.

Each step has its own instant after the due date. After a downtime every step that it covered is made, in order and with
that instant. The state of an invoice is one number: how many steps were made.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

from pipeline.core.invoices.state_table import InvoiceState
from pipeline.core.invoices.times import after_s
from pipeline.core.values.calendar import Interval

DunningAction = Literal["notify", "retry_payment"]
AfterDunning = Literal["uncollectible", "nothing"]

# States in which the customer owes money and nothing else is expected.
UNPAID: Final[frozenset[InvoiceState]] = frozenset(
    {
        "payment_processing.pending",
        "payment_processing.failed",
        "payment_processing.action_required",
        "overdue",
    }
)


class DunningStep(msgspec.Struct, frozen=True):
    """after: the due date."""

    after: Interval
    action: DunningAction


class Dunning(msgspec.Struct, frozen=True):
    """The reminders of a profile.

    Attributes:
        steps: by time.
        give_up_after: the due date; None: never. Steps that would come later are left out.
        then: what happens to the invoice.
    """

    steps: tuple[DunningStep, ...] = ()
    give_up_after: Interval | None = None
    then: AfterDunning = "nothing"


class DueStep(NamedTuple):
    """A step that has to be made. action: one of the steps, or `give_up`, which is always the last.

    number: of the step, from 1. at_s: the instant at which it was due.
    """

    number: int
    at_s: int
    action: DunningAction | Literal["give_up"]

    def id_of(self, invoice_id: str) -> str:
        """The same for the same step of the same invoice."""
        return f"{invoice_id}/dunning/{self.number}"


def due_steps(
    dunning: Dunning, state: InvoiceState, due_s: int, made: int, now_s: int, zone: str
) -> list[DueStep]:
    """The steps that are due and not made.

    Args:
        dunning: of the invoice's workflow snapshot.
        state: of the invoice; nothing is due once it is paid, voided or given up.
        due_s: when it had to be paid.
        made: how many steps were made.
        now_s: the time of the record.
        zone: in which days are counted.
    """
    if state not in UNPAID:
        return []
    return [step for step in _steps(dunning, due_s, zone)[made:] if step.at_s <= now_s]


def next_step_s(dunning: Dunning, state: InvoiceState, due_s: int, made: int, zone: str) -> int | None:
    """When the next step is due; None if there is none."""
    if state not in UNPAID:
        return None
    return next((step.at_s for step in _steps(dunning, due_s, zone)[made:]), None)


def _steps(dunning: Dunning, due_s: int, zone: str) -> list[DueStep]:
    end_s = None if dunning.give_up_after is None else after_s(due_s, dunning.give_up_after, zone)
    steps = [(after_s(due_s, step.after, zone), step.action) for step in dunning.steps]
    ordered = sorted((step for step in steps if end_s is None or step[0] <= end_s), key=lambda step: step[0])
    found = [DueStep(number, at_s, action) for number, (at_s, action) in enumerate(ordered, 1)]
    return found if end_s is None else [*found, DueStep(len(found) + 1, end_s, "give_up")]
