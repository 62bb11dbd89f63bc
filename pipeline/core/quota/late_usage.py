"""Late usage: which corrections of a balance its history shows.

Owns: what counts as late to a reader. Does not own: the correction itself (balance), the history (history).
A balance counts usage of every minute before its own as a correction, also usage that was loaded from ClickHouse. Here
usage is late that arrived late: more than an hour after its minute, or after the usage period of its minute had ended.
"""

from __future__ import annotations

from pipeline.core.quota.balance_machine import LATE_S
from pipeline.core.quota.balance_result import Correction
from pipeline.core.quota.balance_update import BalanceMoved
from pipeline.core.values import number
from pipeline.records import LateUsage


def late_usage(moved: BalanceMoved, at_ms: int) -> list[LateUsage]:
    """The late usage that a record brought.

    Args:
        moved: the account after the record.
        at_ms: the broker's time of the record, in milliseconds since 1970.
    """
    if moved.outcome is None or moved.entitlement is None or not moved.outcome.corrections:
        return []
    since_s = moved.outcome.status.since_s
    late = {
        window.start_s
        for window in moved.windows
        if window.received_at_ms // 1000 - window.start_s > LATE_S
        or window.start_s < since_s <= window.received_at_ms // 1000
    }
    namespace, customer, feature = moved.account.name
    return [
        LateUsage(
            namespace,
            customer,
            feature,
            moved.entitlement.id,
            correction.minute_s,
            number.text(correction.change),
            at_ms,
            correction.counted,
        )
        for correction in moved.outcome.corrections
        if correction.minute_s in late
    ]


def correction_of(late: LateUsage) -> Correction:
    """Late usage as a history takes it."""
    return Correction(late.minute_s, number.exact(late.change), late.at_ms // 1000, late.counted)
