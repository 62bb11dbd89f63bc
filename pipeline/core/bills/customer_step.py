"""One step of a customer: everything that is due by the records so far.

Owns: the order of it. Does not own: each part (subscription_sync, placing, collection, flow).
"""

from __future__ import annotations

from pipeline.core.bills.collection import collect_due
from pipeline.core.bills.credit_step import end_grants, follow_balances
from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.flow import Flow
from pipeline.core.bills.gathering_invoice import keep_gathering
from pipeline.core.bills.placing import corrected, mark_stale, stale_groups
from pipeline.core.bills.problems import forget_refused, forget_unrated, note_unrated, show_problems
from pipeline.core.bills.running import keep_running
from pipeline.core.bills.subscription_sync import synchronize
from pipeline.core.bills.terms import BillTerms
from pipeline.errors import Rejected


def step(bills: CustomerBills, flow: Flow, terms: BillTerms, collects: bool) -> None:
    """Bring a customer up to the time of the record.

    Args:
        bills: of the customer.
        flow: of the record.
        terms: of the stage.
        collects: whether lines that are due become drafts. A command leaves that to the clock, so that its answer shows
            what it did and nothing else.

    Raises:
        Rejected: a definition that is needed is not there.
    """
    moment = bills.moment
    forget_refused(bills)
    end_grants(bills)
    if bills.changed_subscriptions or bills.head.lines_ms <= moment.now_ms:
        for id in synchronize(bills, terms.kept_s):
            flow.edit_again(id)
        bills.keep_metered(lambda line: line.end_s >= moment.now_s - terms.kept_s)
    bills.close_ended()
    _correct(bills, flow)
    for id, due in list(bills.head.open.items()):
        if due.due_ms <= moment.now_ms or due.waits_ms <= moment.settled_ms:
            flow.tick(id)
    before = set(bills.head.open)
    held = collect_due(bills, flow) if collects else frozenset[str]()
    _correct(bills, flow)
    follow_balances(bills)
    keep_running(bills, terms, by_clock=collects)
    show_problems(bills, [id for id in bills.head.open if id not in before])
    keep_gathering(bills, held)


def _correct(bills: CustomerBills, flow: Flow) -> None:
    """Compare the bookings of lines whose usage or price changed after they were rated."""
    groups = stale_groups(bills)
    if not groups:
        return
    bills.change(stale_meters={}, stale_groups=())
    unrated: list[str] = []  # they are compared again with the next step
    for id in groups:
        if bills.find_group(id) is None:
            forget_unrated(bills, id, is_removed=True)
            continue
        try:
            drafts = corrected(bills, id)
        except Rejected as refusal:
            note_unrated(bills, bills.group(id), refusal)
            unrated.append(id)
            continue
        forget_unrated(bills, id)
        for draft in drafts:
            if not flow.edit_again(draft):
                mark_stale(bills, id)
    for id in unrated:
        mark_stale(bills, id)
