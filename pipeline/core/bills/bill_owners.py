"""Whose the rows of billing's state are.

Owns: a rule for each kind of row. Does not own: the rows (bill_rows, usage_rows, group_rows, closed_invoices).
Keys hold a digest of the customer. Those of all customers follow from the definitions, where deleted ones stay; the
head of a customer names it too. Commands that were done and terms that lines share are looked up by name, so that each
partition has them all. What a record changed is published again only where the record is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pipeline.core.bills.bill_rows import (
    BOOKED,
    CREDIT,
    CREDIT_ACCOUNT,
    DONE,
    DONE_END,
    DUE,
    HEAD,
    INVOICE,
    METERED,
    POSITION,
    REFERENCES,
    RESULT,
    SUBSCRIPTION,
    CustomerHead,
)
from pipeline.core.bills.closed_invoices import CLOSED, SETTINGS
from pipeline.core.bills.group_rows import GROUP, PLACE, WORDING
from pipeline.core.bills.usage_rows import CUSTOMER_BYTES, LOADED, PURGED, USAGE, customer_key, customer_of
from pipeline.core.metering.identity import customer_hash
from pipeline.core.values.state_owners import OwnerRule, StateOwners, Unowned, part

REVISION = b"\xff"  # the first byte of the key under which agents keep the revision of the definitions
_OF_CUSTOMER = (
    HEAD, SUBSCRIPTION, INVOICE, REFERENCES, METERED, DUE, CREDIT, CREDIT_ACCOUNT, BOOKED, CLOSED, SETTINGS, GROUP,
    PLACE,
)  # fmt: skip
RULES: Mapping[bytes, OwnerRule] = {
    **dict.fromkeys(_OF_CUSTOMER, part(1, 1 + CUSTOMER_BYTES)),
    USAGE: customer_of,
    **dict.fromkeys((POSITION, DONE, DONE_END, WORDING, PURGED, LOADED, REVISION), Unowned.SHARED),
    RESULT: Unowned.STAYS,
}

_head = msgspec.json.Decoder(CustomerHead).decode


def bill_owners(customers: Iterable[tuple[str, str]]) -> StateOwners:
    """The owners of billing's rows. customers: namespace and id of every one that was ever defined."""

    def of_head(key: bytes, value: bytes) -> tuple[bytes, int]:
        head = _head(value)
        return key[len(HEAD) :], customer_hash(head.namespace, head.customer)

    names = {customer_key(*one): customer_hash(*one) for one in customers}
    return StateOwners(RULES, {HEAD: of_head}, names)
