"""What billing could not do for a customer: noted until it is done, and shown where finance looks.

Owns: making and removing these notes, the validation issues that show them. Does not own: their bytes (problem_notes),
when something is tried again (bill_table, customer_step).

    a step that is refused      critical, on the gathering invoices and on the drafts, until a step is done
    a correction that cannot    critical, on the gathering invoice of its currency, which is made if there is none,
    be rated                    until it can be rated
    usage beyond the horizon    a warning, `late-unbilled`, on the gathering invoices and then on the next draft
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.gathering_invoice import gathering_of
from pipeline.core.bills.issues import issue, with_issues
from pipeline.core.bills.line_group import LineGroup
from pipeline.core.bills.problem_notes import NO_PROBLEMS, RefusedStep, UnbilledUsage, UnratedLines
from pipeline.core.bills.usage import UsageTouched
from pipeline.core.invoices.invoice import ValidationIssue
from pipeline.core.values import timestamp
from pipeline.errors import Rejected

COMPONENT: Final = "billing"
REPORTED: Final = "billing.reported"
LATE_UNBILLED: Final = "late-unbilled"
REFUSED: Final = "refused"
POSTPONED_MS: Final = 3_600_000  # until a step that was refused is tried again


def note_refused(bills: CustomerBills, refusal: Rejected) -> None:
    """The step of a due instant was refused. bills: without any change of it."""
    now_ms, before = bills.moment.now_ms, bills.problems.refused
    since_ms = before.since_ms if before is not None and before.code == refusal.reason else now_ms
    refused = RefusedStep(refusal.reason, refusal.detail, since_ms)
    _change(bills, refused=refused, again_ms=now_ms + POSTPONED_MS)
    found = f"{refusal.detail} Nothing of this customer is billed until it is remedied; it is tried again every hour."
    for id in (*bills.head.gathering.values(), *_drafts(bills)):
        _show(
            bills,
            id,
            [issue(id, "critical", refusal.reason, COMPONENT, found, since_ms), *_of_gathering(bills, id)],
        )


def show_refused_fact(bills: CustomerBills, id: str, refusal: Rejected) -> None:
    """What an app reported of an invoice was refused: it is an issue of the invoice, and not held any longer."""
    stored = bills.find_invoice(id)
    if stored is None or bills.is_closed(id):
        return
    progress = msgspec.structs.replace(stored.progress, held=None)
    message = f"What the app reported does not count here: {refusal.detail}"
    found = issue(id, "critical", refusal.reason, REPORTED, message, bills.moment.now_ms)
    bills.put_invoice(with_issues(msgspec.structs.replace(stored, progress=progress), REPORTED, (found,)))


def forget_refused(bills: CustomerBills) -> None:
    """A step is tried: what an earlier one met is not so any more, unless it meets it again."""
    if bills.problems.refused is None:
        return
    _change(bills, refused=None, again_ms=0)
    for id in (*bills.head.gathering.values(), *_drafts(bills)):
        _show(bills, id, list(_of_gathering(bills, id)))


def note_unrated(bills: CustomerBills, group: LineGroup, refusal: Rejected) -> None:
    """The bookings of a group cannot be compared with its usage."""
    known = bills.problems.unrated
    before = known.get(group.id)
    since_ms = bills.moment.now_ms if before is None else before.refused.since_ms
    found = UnratedLines(
        RefusedStep(refusal.reason, refusal.detail, since_ms),
        group.line.name,
        group.line.currency,
        group.line.period.start_s,
        0 if group.feature is None else group.feature.meter_id,
    )
    if before != found:
        _change(bills, unrated=known | {group.id: found})


def forget_unrated(bills: CustomerBills, group_id: str, is_removed: bool = False) -> None:
    """The bookings of a group were compared; or it is removed, and its usage is late for ever."""
    known = bills.problems.unrated
    before = known.get(group_id)
    if before is None:
        return
    _change(bills, unrated={id: one for id, one in known.items() if id != group_id})
    if is_removed and before.meter_id:
        note_late(bills, before.meter_id, before.start_s)


def note_late(bills: CustomerBills, meter_id: int, minute_s: int) -> None:
    """A window came that cannot be billed any more."""
    known = bills.problems.late
    before = known.get(meter_id) or UnbilledUsage(minute_s, minute_s, 0, bills.moment.now_ms)
    _change(bills, late=known | {meter_id: before.with_minute(minute_s)})


def note_if_unbilled(bills: CustomerBills, touched: UsageTouched, running_ms: int) -> bool:
    """Usage from beyond the horizon came. It is billed only if a line is there that needed it all the time.

    Args:
        bills: of its customer.
        touched: the minute.
        running_ms: until then, at most, a step shows it.

    Returns:
        Whether it is not billed.
    """
    meter_id, minute_s = touched.meter_id, touched.minute_s
    lines = (line for line in bills.metered_lines() if line.meter_id == meter_id)
    if any(line.start_s <= minute_s < line.end_s for line in lines):
        return False
    note_late(bills, meter_id, minute_s)
    bills.change(running_ms=min(bills.head.running_ms, bills.moment.now_ms + running_ms))
    return True


def show_problems(bills: CustomerBills, drafts: list[str]) -> None:
    """Bring the gathering invoices to what is noted.

    Args:
        bills: of a step that was done.
        drafts: that it made: what came late is shown on them from now on, and no longer on what gathers.
    """
    problems = bills.problems
    if not problems.unrated and not problems.late and not bills.had_problems:
        return
    if problems.late and drafts:
        for id in drafts:
            _show(bills, id, list(_late(bills, id)))
        _change(bills, late={})
    for unrated in bills.problems.unrated.values():
        gathering_of(bills, unrated.currency)
    for id in bills.head.gathering.values():
        _show(bills, id, list(_of_gathering(bills, id)))


def _change(bills: CustomerBills, **values: object) -> None:
    problems = msgspec.structs.replace(bills.problems, **values)
    bills.change(problems=None if problems == NO_PROBLEMS else problems)


def _drafts(bills: CustomerBills) -> list[str]:
    """The invoices that can still be changed."""
    return [id for id in bills.head.open if bills.invoice(id).progress.state.startswith("draft.")]


def _show(bills: CustomerBills, id: str, found: list[ValidationIssue]) -> None:
    bills.put_invoice(with_issues(bills.invoice(id), COMPONENT, tuple(found)))


def _of_gathering(bills: CustomerBills, id: str) -> Iterator[ValidationIssue]:
    """What a gathering invoice shows, beside a step that was refused; what a draft has got stays on it."""
    if not bills.is_gathering(id):
        shown = bills.invoice(id).content.validation_issues
        yield from (one for one in shown if one.component == COMPONENT and one.code == LATE_UNBILLED)
        return
    currency = bills.invoice(id).content.currency
    for group_id, unrated in bills.problems.unrated.items():
        if unrated.currency == currency:
            why, start = unrated.refused, timestamp.text_of(unrated.start_s * 1000)
            message = f"The correction of {unrated.name} from {start} cannot be rated: {why.detail}"
            yield issue(id, "critical", why.code, COMPONENT, message, why.since_ms, group_id)
    yield from _late(bills, id)


def _late(bills: CustomerBills, id: str) -> Iterator[ValidationIssue]:
    for meter_id, late in sorted(bills.problems.late.items()):
        first, last = (timestamp.text_of(at_s * 1000) for at_s in (late.first_s, late.last_s))
        message = (
            f"Usage of the meter {meter_id} from {first} to {last} came after {timestamp.text_of(late.since_ms)}, "
            f"beyond the horizon of billing; windows that are not billed: {late.windows}."
        )
        yield issue(id, "warning", LATE_UNBILLED, COMPONENT, message, late.since_ms, str(meter_id))
