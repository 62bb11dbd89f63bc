"""Whose the rows of alert's state are.

Owns: a rule for each kind of row. Does not own: the rows (quota.balance_update, quota.balance_state,
notifications.fired_rows, notifications.volume_alerts).

Keys hold digests of accounts. Those of all accounts follow from the definitions; the head of a balance also names its
entitlement. What no definition names can never be looked up again, and a volume is looked up only with usage of its
customer, until it expires: copies of these in other partitions change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.core.metering.identity import customer_hash
from pipeline.core.notifications.fired_rows import MARKS, OPEN, RESETS, WARNED
from pipeline.core.notifications.volume_alerts import GONE, PARTS, VOLUME
from pipeline.core.quota.accounts import ACCOUNT, Accounts
from pipeline.core.quota.balance_state import HEAD, decode_head
from pipeline.core.quota.balance_update import CALLED, DUE, LATEST, SEEDED
from pipeline.core.values.state_owners import OwnerRule, StateOwners, Unowned, part

ACCOUNT_BYTES = 17
REVISION = b"\xff"  # the first byte of the key under which agents keep the revision of the definitions
_POSITION_BYTES = 8
RULES: Mapping[bytes, OwnerRule] = {
    ACCOUNT: part(0, ACCOUNT_BYTES),
    **dict.fromkeys((DUE, SEEDED, LATEST, MARKS, WARNED, OPEN, RESETS), part(1, 1 + ACCOUNT_BYTES)),
    CALLED: part(1 + _POSITION_BYTES, 1 + _POSITION_BYTES + ACCOUNT_BYTES),
    **dict.fromkeys((VOLUME, PARTS, GONE, REVISION), Unowned.SHARED),
}


def account_owners(accounts: Accounts) -> StateOwners:
    """The owners of alert's rows. accounts: of all definitions."""
    names: dict[bytes, int] = {}
    entitlements: dict[str, int] = {}
    for name in accounts.names():
        account, owner = accounts.get(name), customer_hash(name[0], name[1])
        if account is None:
            continue
        names[account.key] = owner
        for entitlement in account.entitlements.values():
            names[accounts.balance_key(account, entitlement)] = owner
            entitlements[entitlement.id] = owner

    def of_balance(key: bytes, value: bytes) -> tuple[bytes, int] | None:
        if key[ACCOUNT_BYTES:] != HEAD:
            return None
        owner = entitlements.get(decode_head(value).entitlement)
        return None if owner is None else (key[:ACCOUNT_BYTES], owner)

    return StateOwners(RULES, {ACCOUNT: of_balance}, names, otherwise=Unowned.SHARED)
