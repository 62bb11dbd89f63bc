"""Entitlements, grants and their history as the API and alerts show them: OpenMeter's JSON, of its v1 and v2 at once.

Owns: the members and their form. Does not own: what they mean (core.quota.entitlement, core.quota.grant,
core.quota.history). Amounts are exact JSON numbers. Ours beside OpenMeter's: gracePeriod, issuedAfterReset, and `late`
in a history.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.core.customers.customer import Customer
from pipeline.core.quota.burndown import Snapshot
from pipeline.core.quota.entitlement import Entitlement, MeteredEntitlement, UsagePeriod
from pipeline.core.quota.grant import GrantDefinition, GrantRecurrence, grant_of
from pipeline.core.quota.history import History, HistoryRow, HistorySegment
from pipeline.core.values import calendar, timestamp
from pipeline.core.values.json_number import amount, plain
from pipeline.core.values.zone import text_of

EntitlementJson = dict[str, Any]
_HIDDEN = ("resets", "subscriptionId", "managedBy")


def entitlement_json(
    entitlement: Entitlement, now_s: int, customer: Customer | None, subject: str | None = None
) -> EntitlementJson:
    """An entitlement, with the usage period in which it is.

    Args:
        entitlement: its definition.
        now_s: seconds since 1970.
        customer: its customer; None where it is not defined any more.
        subject: under which it was asked for, as v1 does.
    """
    members = entitlement.members
    shown = {name: value for name, value in members.items() if name not in _HIDDEN and value is not None}
    shown["subjectKey"] = subject or _first_subject(customer)
    if customer is not None:
        shown["customerKey"] = customer.key
    if entitlement.managed_by is not None:
        shown["annotations"] = {"subscription.managed": True, "subscription.id": entitlement.managed_by}
    if isinstance(entitlement, MeteredEntitlement):
        shown |= _metered(entitlement, now_s)
    return {name: value for name, value in shown.items() if value is not None}


def _first_subject(customer: Customer | None) -> str | None:
    return None if customer is None else next(iter(customer.subjects), None)


def _metered(entitlement: MeteredEntitlement, now_s: int) -> EntitlementJson:
    schedule, (first_s, end_s) = entitlement.schedule, entitlement.span
    at_s = max(min(now_s, end_s - calendar.MINUTE_S), first_s, schedule.start_s)
    since_s, until_s = calendar.usage_period(schedule, at_s)
    period = msgspec.structs.replace(entitlement.usage_period, anchor=entitlement.anchor)
    shown: EntitlementJson = {
        "usagePeriod": _recurring(period),
        "currentUsagePeriod": {"from": text_of(since_s), "to": text_of(until_s)},
        "lastReset": text_of(since_s),
    }
    if (issued := entitlement.issue_after_reset) is not None:
        priority = entitlement.issue_after_reset_priority
        shown |= {"issueAfterReset": plain(issued), "issue": {"amount": plain(issued), "priority": priority}}
    return shown


def grant_json(definition: GrantDefinition, now_s: int) -> EntitlementJson:
    """A grant, with when it is filled next. now_s: seconds since 1970."""
    shown = definition.members | {
        "amount": plain(definition.amount),
        "minRolloverAmount": plain(definition.min_rollover_amount),
        "maxRolloverAmount": plain(definition.max_rollover_amount),
    }
    grant = grant_of(definition)
    if definition.recurrence is not None and grant.recurrence is not None:
        shown["recurrence"] = _recurring(definition.recurrence)
        next_s = calendar.next_tick(grant.recurrence, max(now_s, grant.effective_at_s))
        if next_s < grant.ends_at_s:
            shown["nextRecurrence"] = text_of(next_s)
    return shown


def _recurring(recurring: UsagePeriod | GrantRecurrence) -> EntitlementJson:
    shown: EntitlementJson = msgspec.to_builtins(recurring)
    return {**shown, "intervalISO": calendar.iso(calendar.parse(recurring.interval))}


def history_json(history: History) -> EntitlementJson:
    """Both lists."""
    return {
        "windowedHistory": [_row(row) for row in history.windowed],
        "burndownHistory": [_span(span) for span in history.burndown],
    }


def _row(row: HistoryRow) -> EntitlementJson:
    return {
        "period": _period(row.from_s, row.to_s),
        "usage": amount(row.usage),
        "balanceAtStart": amount(row.balance_at_start),
        **_late(row.late),
    }


def _span(span: HistorySegment) -> EntitlementJson:
    return {
        "period": _period(span.from_s, span.to_s),
        "usage": amount(span.usage),
        "overage": amount(span.overage),
        "balanceAtStart": amount(span.balance_at_start),
        "balanceAtEnd": amount(span.balance_at_end),
        "grantBalancesAtStart": {id: amount(one) for id, one in span.balances_at_start.items()},
        "grantBalancesAtEnd": {id: amount(one) for id, one in span.balances_at_end.items()},
        "grantUsages": [{"grantId": id, "usage": amount(one)} for id, one in span.burnt.items() if one],
        **_late(span.late),
    }


def _period(from_s: int, to_s: int) -> EntitlementJson:
    return {"from": timestamp.text_of(from_s * 1000), "to": timestamp.text_of(to_s * 1000)}


def _late(late: int) -> EntitlementJson:
    return {"late": amount(late)} if late else {}


def snapshot_json(snapshot: Snapshot, has_access: bool) -> EntitlementJson:
    """A recomputed value, in the form of live ones."""
    return {
        "hasAccess": has_access,
        "balance": amount(snapshot.balance),
        "usage": amount(snapshot.usage),
        "overage": amount(max(0, snapshot.overage)),
        "totalAvailableGrantAmount": amount(snapshot.total_available),
    }
