"""Whose the rows of stripe-sync's state are.

Owns: a rule for each kind of row. Does not own: the rows (stripe_rows, stripe_bills).
Every key but that of a request's identifier begins with a lane. The rows of accounts, requests, refusals and customers
with invoices say whose their lane is; the row of an identifier names its lane.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipeline.core.billing.stripe_bills import INVOICE, LANE, BillLane
from pipeline.core.billing.stripe_rows import (
    ACCOUNT,
    BILLING,
    DUE,
    GROUP,
    IDENTIFIER,
    LANE_BYTES,
    PARTITION,
    REFUSED,
    REQUEST,
    SEEDED,
    USAGE,
    WINDOW,
    AccountRow,
    IdentifierRow,
    RefusedRow,
    RequestRow,
)
from pipeline.core.metering.identity import customer_hash
from pipeline.core.values.state_owners import Learn, OwnerRule, StateOwners, Unowned, part

REVISION = b"\xff"  # the first byte of the key under which agents keep the revision of the definitions
_LANE = slice(1, 1 + LANE_BYTES)
_OF_LANE = (ACCOUNT, USAGE, WINDOW, GROUP, DUE, REQUEST, REFUSED, LANE, INVOICE, BILLING)
RULES: Mapping[bytes, OwnerRule] = {
    **dict.fromkeys(_OF_LANE, part(1, 1 + LANE_BYTES)),
    IDENTIFIER: part(0),
    **dict.fromkeys((PARTITION, SEEDED, REVISION), Unowned.SHARED),
}

_identifier = msgspec.msgpack.Decoder(IdentifierRow).decode


def _of(kind: type[AccountRow | RequestRow | RefusedRow | BillLane]) -> Learn:
    decode = msgspec.msgpack.Decoder(kind).decode

    def learn(key: bytes, value: bytes) -> tuple[bytes, int]:
        row = decode(value)
        return key[_LANE], customer_hash(row.namespace, row.customer)

    return learn


def stripe_owners() -> StateOwners:
    """The owners of stripe-sync's rows."""

    def of_identifier(key: bytes, value: bytes) -> tuple[bytes, bytes]:
        return key, _identifier(value).account[:LANE_BYTES]

    learns: dict[bytes, Learn] = {
        ACCOUNT: _of(AccountRow),
        REQUEST: _of(RequestRow),
        REFUSED: _of(RefusedRow),
        LANE: _of(BillLane),
        IDENTIFIER: of_identifier,
    }
    return StateOwners(RULES, learns)
