"""The balance of an account as it is published on `balances`.

Owns: that record, of each kind of entitlement. Does not own: the balance itself (balance), when it changes
(balance_update).
"""

from __future__ import annotations

from pipeline.core.quota.accounts import Account
from pipeline.core.quota.balance_result import BalanceStatus
from pipeline.core.quota.entitlement import BOOLEAN, METERED, STATIC, Entitlement, StaticEntitlement
from pipeline.core.values import number
from pipeline.core.values.calendar import NEVER_S
from pipeline.records import Balance

NEVER_MS = 0  # in a Balance


def no_access(
    account: Account, entitlement: Entitlement | None, position: int, now_s: int, next_s: int
) -> Balance:
    """The balance of an entitlement that is not in force, or of none.

    Args:
        account: of the entitlement.
        entitlement: None where there is none.
        position: offset of the record.
        now_s: the broker's time, in seconds since 1970.
        next_s: when the account changes next without a record; NEVER_S if never.
    """
    namespace, customer, feature = account.name
    return Balance(
        namespace=namespace,
        customer=customer,
        feature=feature,
        entitlement="" if entitlement is None else entitlement.id,
        type="",
        revision=position,
        has_access=False,
        at_ms=now_s * 1000,
        next_at_ms=NEVER_MS if next_s == NEVER_S else next_s * 1000,
    )


def of_plain(account: Account, entitlement: Entitlement, position: int, now_s: int, next_s: int) -> Balance:
    """The balance of a static or boolean entitlement that is in force. Arguments as of `no_access`."""
    balance = no_access(account, entitlement, position, now_s, next_s)
    if isinstance(entitlement, StaticEntitlement):
        balance.type, balance.config, balance.has_access = STATIC, entitlement.config, True
    elif entitlement.type == BOOLEAN:
        balance.type, balance.has_access = BOOLEAN, True
    return balance


def of_metered(
    account: Account, status: BalanceStatus, position: int, next_s: int, received_at_ms: int
) -> Balance:
    """The balance of a metered entitlement.

    Args:
        account: of the entitlement.
        status: its balance after the record.
        position: offset of the record.
        next_s: when the account changes next without a record; NEVER_S if never.
        received_at_ms: when the newest usage in it was received, in milliseconds since 1970.
    """
    namespace, customer, feature = account.name
    return Balance(
        namespace=namespace,
        customer=customer,
        feature=feature,
        entitlement=status.entitlement,
        type=METERED,
        revision=position,
        has_access=status.has_access,
        at_ms=status.at_s * 1000,
        next_at_ms=NEVER_MS if next_s == NEVER_S else next_s * 1000,
        balance=number.text(status.balance),
        usage=number.text(status.usage),
        overage=number.text(status.overage),
        total_available=number.text(status.total_available),
        period_from_ms=status.since_s * 1000,
        period_to_ms=status.until_s * 1000,
        received_at_ms=received_at_ms,
    )
