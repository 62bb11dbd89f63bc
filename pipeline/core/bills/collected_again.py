"""Customers whose lines may be collected at other times, since a definition changed: they are due at once.

Owns: which customers an item of a clock record names. Does not own: which changes make an item (definitions), when
lines are collected (invoices.gathering).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline.core.bills.bill_index import BillIndex
from pipeline.core.bills.bill_rows import DUE, HEAD, BillRows, CustomerHead
from pipeline.core.bills.definitions import BillingDefinitions
from pipeline.core.bills.usage_rows import customer_key


def collect_again(
    rows: BillRows, index: BillIndex, definitions: BillingDefinitions, item: Sequence[str], now_ms: int
) -> None:
    """Make customers due.

    Args:
        rows: of the partition.
        index: of the partition.
        definitions: in force.
        item: ["customer", namespace, id] of the customer, or ["profile", namespace, id] of a billing profile. One of
            another version names none.
        now_ms: the time that the records have reached.
    """
    match item:
        case ["customer", namespace, customer]:
            key = customer_key(namespace, customer)
            head = rows.heads.get(HEAD + key)
            if head is not None:
                _make_due(rows, index, key, head, now_ms)
        case ["profile", namespace, profile]:
            for key, head in rows.all_heads(namespace):
                if definitions.may_have(namespace, head.customer, profile):
                    _make_due(rows, index, key, head, now_ms)
        case _:
            pass


def _make_due(rows: BillRows, index: BillIndex, key: bytes, head: CustomerHead, now_ms: int) -> None:
    """key: of the customer."""
    if head.collect_ms:
        collect_ms = {one: min(at_ms, now_ms) for one, at_ms in head.collect_ms.items()}
        rows.heads.put(HEAD + key, msgspec.structs.replace(head, collect_ms=collect_ms))
    due = index.of(key)
    if due.due_ms > now_ms:
        due = due._replace(due_ms=now_ms)
        rows.table.put(DUE + key, due.packed())
        index.set(key, due)
