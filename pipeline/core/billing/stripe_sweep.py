"""Removal of what Stripe does not take any more: windows older than 36 days, and what belongs to them.

Owns: when a row of a partition is removed, and that open units get the cause `too_old` before. Does not own: the order
of a sweep (values.sweep). Accounts stay, for the sake of their carry: about 200 bytes each.
"""

from __future__ import annotations

import msgspec

from pipeline.core.billing.stripe_rows import (
    ACCOUNT,
    GROUP,
    IDENTIFIER,
    LANE_BYTES,
    USAGE,
    WINDOW,
    IdentifierRow,
    group_start,
    window_place,
)
from pipeline.core.billing.stripe_state import StripeState
from pipeline.core.billing.stripe_window import OLDEST_MS, prepare
from pipeline.core.quota.account_usage import StoredUsage, UsageRows
from pipeline.core.values.sweep import SweepProgress, Swept, sweep

SWEPT_AT_ONCE = 200
REST_MS = 3_600_000
PURGED_HOURS = 100  # of minute rows of an account, when one of its windows is removed

_identifier = msgspec.msgpack.Decoder(IdentifierRow).decode


class StripeSweeps:
    """How far the sweeps of the partitions are."""

    def __init__(self) -> None:
        self._windows, self._groups, self._identifiers, self.invoices = (
            SweepProgress(REST_MS) for _ in range(4)
        )

    def advance(self, partition: int, state: StripeState) -> None:
        """Sweep a slice of each kind of row, or rest."""
        now_ms = state.now_ms
        self._windows.advance(partition, now_ms, lambda start: _sweep_windows(state, start))
        self._groups.advance(partition, now_ms, lambda start: _sweep_groups(state, start))
        self._identifiers.advance(partition, now_ms, lambda start: _sweep_identifiers(state, start))


def _sweep_windows(state: StripeState, start: bytes) -> Swept:
    def is_expired(key: bytes, _: bytes) -> bool:
        account, start_s = place = window_place(key)
        age_ms = state.now_ms - start_s * 1_000
        if age_ms <= OLDEST_MS or place in state.changed:
            return False
        row, owner = state.window(place), state.rows.accounts.get(ACCOUNT + account)
        if owner is None or row.window.request is not None:
            return False
        if row.window.open_units and row.window.cause != "blocked":
            while row.window.open_units and prepare(row.window, "", "", start_s, state.now_ms):
                pass  # a window may hold more than one request takes
            state.write(place, row, owner.window_s)
            return False
        if age_ms <= state.terms.kept_ms:
            return False
        stored = StoredUsage.of(state.rows.table)
        usage = UsageRows(stored, USAGE + account, "SUM", owner.since_s)
        usage.purge((state.now_ms - state.terms.kept_ms) // 1_000, PURGED_HOURS)
        stored.flush()
        owner.since_s = usage.since_s
        state.rows.accounts.put(ACCOUNT + account, owner)
        return True

    return sweep(state.rows.table, SWEPT_AT_ONCE, is_expired, prefix=WINDOW, start=start)


def _sweep_groups(state: StripeState, start: bytes) -> Swept:
    def is_expired(key: bytes, _: bytes) -> bool:
        return _is_old(state, key[1 : 1 + LANE_BYTES], group_start(key))

    return sweep(state.rows.table, SWEPT_AT_ONCE, is_expired, prefix=GROUP, start=start)


def _sweep_identifiers(state: StripeState, start: bytes) -> Swept:
    def is_expired(_: bytes, value: bytes) -> bool:
        made = _identifier(value)
        return _is_old(state, made.account[:LANE_BYTES], made.start_s)

    return sweep(state.rows.table, SWEPT_AT_ONCE, is_expired, prefix=IDENTIFIER, start=start)


def _is_old(state: StripeState, lane: bytes, start_s: int) -> bool:
    return state.now_ms - start_s * 1_000 > state.terms.kept_ms and lane not in state.index.busy
