"""What has fired of balances, in the state and in memory.

Owns: keys and bytes of these rows, what spares judging an account. Does not own: what fires (balance_alerts,
threshold).

In the state (ids have 26 characters):
    m + account + rule + entitlement   what has fired for the entitlement (threshold.FiredThresholds)
    e + account + rule                 grants for which the rule has fired (threshold.WarnedGrants)
    o + account                        the entitlements for which anything has fired, the newest last
    r + account                        the newest resets, each with the position of the record that fired it
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.core.notifications.calm import Calm
from pipeline.core.notifications.entitlement_rules import Rules, Watching
from pipeline.core.notifications.rule import Rule
from pipeline.core.notifications.threshold import FiredThresholds, WarnedGrants
from pipeline.core.quota.accounts import Account
from pipeline.core.quota.entitlement import Entitlement
from pipeline.core.values.cached_rows import CachedRows, msgpack_rows
from pipeline.core.values.table import KeyedBytes

MARKS, WARNED, OPEN, RESETS = b"m", b"e", b"o", b"r"


class FiredReset(NamedTuple):
    """A usage period [since_s, at_s) of an entitlement that has ended. position: of the record that fired it."""

    position: int
    entitlement: str
    since_s: int
    at_s: int


class CalmAccount(NamedTuple):
    """An account whose thresholds were judged: while all of this stays the same, records make no news.

    Args:
        watching: the rules.
        entitlement: its id.
        since_s: start of the usage period.
        newest: position of the newest firing; records after it are new.
        levels: at which the same thresholds are met.
    """

    watching: Watching
    entitlement: str
    since_s: int
    newest: int
    levels: Calm


class FiredRows(NamedTuple):
    """What has fired, of all accounts: each row is read once and written once a chunk, by `flush`.

    Args:
        marks, warned, open, resets: the rows of each kind, see above. Values are replaced, never changed.
        calm: by account, what spares judging its thresholds; not stored.
    """

    marks: CachedRows[FiredThresholds]
    warned: CachedRows[WarnedGrants]
    open: CachedRows[list[str]]
    resets: CachedRows[list[FiredReset]]
    calm: dict[bytes, CalmAccount]

    @classmethod
    def of(cls, table: KeyedBytes) -> FiredRows:
        """Those of a table."""
        return cls(
            msgpack_rows(table, FiredThresholds),
            msgpack_rows(table, WarnedGrants),
            msgpack_rows(table, list[str]),
            msgpack_rows(table, list[FiredReset]),
            {},
        )

    def load(self, accounts: Iterable[tuple[Account, Entitlement]], rules: Rules) -> None:
        """Read at once what `evaluate` needs of accounts under their entitlements."""
        keys = []
        for account, entitlement in accounts:
            watching = rules.watching(account.name[0], entitlement.feature_id, account.name[2])
            keys += [row_key(MARKS, account, rule, entitlement.id) for rule in watching.balance]
        self.marks.load(keys)
        self.open.load([OPEN + account.key for account, _ in accounts])

    def flush(self) -> None:
        """Write what has changed to the table."""
        for rows in (self.marks, self.warned, self.open, self.resets):
            rows.flush()


def row_key(kind: bytes, account: Account, rule: Rule, entitlement: str = "") -> bytes:
    """The key of a row about an account, a rule and, under MARKS, an entitlement."""
    return kind + account.key + rule.id.encode() + entitlement.encode()
