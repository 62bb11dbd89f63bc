"""The state of a balance between chunks: its head and its trail.

Owns: their layout as bytes, reading and writing them, which snapshots of the trail are needed. Does not own: how they
move (balance), rows of usage (account_usage).
Array-like, growing only at the end. Amounts are plain decimal text: they outgrow 64 bits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from pipeline.core.quota.burndown import Snapshot
from pipeline.core.values import number
from pipeline.core.values.cached_rows import CachedRows, msgpack_rows
from pipeline.core.values.calendar import DAY_S, NEVER_S, Recurrence, Schedule
from pipeline.core.values.table import KeyedBytes
from pipeline.core.values.zone import UTC

HEAD, TRAIL_KEY = b"b", b"t"
MOST_SNAPSHOTS = 64  # of a trail; of more, every second one goes


class StoredSnapshot(msgspec.Struct, array_like=True):
    """burndown.Snapshot; balances of zero are left out."""

    at_s: int
    balances: dict[str, str]
    overage: str
    since_s: int
    usage: str = "0"
    burnt: str = "0"
    exhausted_at_s: int = NEVER_S


class BalanceHead(msgspec.Struct, array_like=True):
    """One account's balance as of a minute, which has counted in full.

    Args:
        entitlement: its id.
        revision: of the terms.
        position: offset of the last record whose changes are in.
        now_s: the minute.
        before: the snapshot at the start of the open phase.
        phase_to_s: end of the open phase.
        amount, order: usage of the open phase so far.
        exhausted_at_s: since when the balance is zero in the open phase; NEVER_S: not, or not searched.
        ahead: minutes after `now_s` that have usage already.
        schedule: digest of the usage periods.
        rows_since_s: rows of usage before it were purged.
        base_s: the oldest snapshot.
        late, late_count: usage of the period that arrived late, and in how many minutes.
        period_to_s: end of the usage period.
    """

    entitlement: str
    revision: int
    position: int
    now_s: int
    before: StoredSnapshot
    phase_to_s: int
    amount: str = "0"
    order: str = ""
    exhausted_at_s: int = NEVER_S
    ahead: list[int] = []
    schedule: bytes = b""
    rows_since_s: int = 0
    base_s: int = 0
    late: str = "0"
    late_count: int = 0
    period_to_s: int = 0


class Trail(msgspec.Struct, array_like=True):
    """Snapshots at earlier phase starts, oldest first: where a late event or other terms go back to."""

    snapshots: list[StoredSnapshot] = []


decode_head = msgspec.msgpack.Decoder(BalanceHead).decode


class StoredBalances(NamedTuple):
    """The heads and trails of all accounts, each decoded once and written once."""

    heads: CachedRows[BalanceHead]
    trails: CachedRows[Trail]

    @classmethod
    def of(cls, table: KeyedBytes) -> StoredBalances:
        """Those of a table."""
        return cls(msgpack_rows(table, BalanceHead), msgpack_rows(table, Trail))

    def flush(self) -> None:
        """Write what has changed to the table."""
        self.heads.flush()
        self.trails.flush()


class BalanceStore:
    """The head and the trail of one account. The trail is read when it is needed, and written if it was."""

    def __init__(self, stored: StoredBalances, account: bytes) -> None:
        self._stored = stored
        self._account = account
        self._trail: list[Snapshot] | None = None  # None: neither read nor replaced
        self._is_used = self._is_changed = False  # since the last move, the last writing

    def head(self) -> BalanceHead | None:
        """Read the head; None if the account has no state."""
        return self._stored.heads.get(self._account + HEAD)

    @property
    def trail(self) -> list[Snapshot]:
        """Snapshots at earlier phase starts, oldest first. Changes of the list are written."""
        self._is_used = self._is_changed = True
        if self._trail is None:
            trail = self._stored.trails.get(self._account + TRAIL_KEY) or Trail()
            self._trail = [restore(snapshot) for snapshot in trail.snapshots]
        return self._trail

    @trail.setter
    def trail(self, snapshots: list[Snapshot]) -> None:
        self._is_used, self._is_changed, self._trail = True, True, snapshots

    def trim(self, newest: Snapshot, needed_s: int) -> int | None:
        """End a move: remove what is not needed from the trail, if the move used it.

        Args:
            newest: the snapshot after those of the trail.
            needed_s: since when the burn-down may have to start again, in seconds since 1970.

        Returns:
            The instant of the oldest snapshot; None if the trail was not used since the move before.
        """
        trail = self._trail
        if trail is None or not self._is_used:
            return None
        self._is_used = False
        instants = [snapshot.at_s for snapshot in [*trail, newest]]
        del trail[: max(0, bisect_right(instants, needed_s) - 1)]
        if len(trail) > MOST_SNAPSHOTS:
            del trail[1::2]
        return trail[0].at_s if trail else newest.at_s

    def write(self, head: BalanceHead) -> None:
        """Write the head, and the trail if it was used."""
        self._stored.heads.put(self._account + HEAD, head)
        if self._trail is not None and self._is_changed:
            self._is_changed = False
            trail = Trail([keep(snapshot) for snapshot in self._trail])
            self._stored.trails.put(self._account + TRAIL_KEY, trail)

    def delete(self) -> None:
        """Remove both."""
        self._stored.heads.put(self._account + HEAD, None)
        self._stored.trails.put(self._account + TRAIL_KEY, None)


def keep(snapshot: Snapshot) -> StoredSnapshot:
    """A snapshot as it is stored."""
    return StoredSnapshot(
        snapshot.at_s,
        _texts(snapshot.balances),
        number.text(snapshot.overage),
        snapshot.since_s,
        number.text(snapshot.usage),
        number.text(snapshot.burnt),
        snapshot.exhausted_at_s,
    )


def restore(stored: StoredSnapshot) -> Snapshot:
    """The snapshot that was stored."""
    return Snapshot(
        stored.at_s,
        {name: number.exact(balance) for name, balance in stored.balances.items()},
        number.exact(stored.overage),
        stored.since_s,
        number.exact(stored.usage),
        number.exact(stored.burnt),
        stored.exhausted_at_s,
    )


def schedule_digest(schedule: Schedule) -> bytes:
    """A digest of usage periods, by which a change of them is noticed.

    State holds digests of this text, so the text stays as it is, whatever these classes are called. Days are counted
    as seconds in it, and a zone is in it only if it is not UTC, so that digests of earlier versions stay valid.
    """
    recurrence = _recurrence_text(schedule.recurrence)
    resets = [
        f"Reset(at_s={one.at_s}, anchor_s={one.anchor_s}, preserve={one.preserve}{_zone_text(one.zone)})"
        for one in schedule.resets
    ]
    listed = f"({resets[0]},)" if len(resets) == 1 else f"({', '.join(resets)})"
    text = f"Schedule(start_s={schedule.start_s}, recurrence={recurrence}, resets={listed})"
    return blake2b(text.encode(), digest_size=8).digest()


def _recurrence_text(recurrence: Recurrence) -> str:
    (months, seconds, days), anchor_s, zone = recurrence
    if zone == UTC:
        seconds, days = seconds + days * DAY_S, 0
    counted = f", days={days}" if days else ""
    interval = f"Interval(months={months}, seconds={seconds}{counted})"
    return f"Recurrence(interval={interval}, anchor_s={anchor_s}{_zone_text(zone)})"


def _zone_text(zone: str) -> str:
    return "" if zone == UTC else f", zone={zone}"


def _texts(balances: Mapping[str, int]) -> dict[str, str]:
    return {name: number.text(balance) for name, balance in balances.items() if balance}
