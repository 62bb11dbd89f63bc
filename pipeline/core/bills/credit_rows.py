"""Rows of credits and of what invoices have booked, of one partition's table.

Owns: their form. Does not own: their keys and cache (bill_rows), what changes them (customer_credits).
"""

from __future__ import annotations

import msgspec

from pipeline.core.credits.burn_down import CreditBurn
from pipeline.core.credits.settlement import UncoveredCharge
from pipeline.core.credits.top_up import TopUpRule, TopUps
from pipeline.core.ledger.transaction import Postings
from pipeline.core.rating.tax import CreditedTax


class CreditAccountRow(msgspec.Struct, frozen=True, array_like=True):
    """The credits of a customer.

    Attributes:
        grants: ids of those that have something left, or whose payment is not settled.
        rules: of top-ups, by currency.
        balances: that can be used by the last record, by currency, in minor units.
        keys: ids of grants, by the key that a client gave each.
        top_ups: of rules, by currency; also of one that is deleted, so that it cannot be repeated by a new one.
        uncovered: what credits settle and no grant covers yet, the oldest first.
    """

    grants: tuple[str, ...] = ()
    rules: dict[str, TopUpRule] = {}
    balances: dict[str, int] = {}
    keys: dict[str, str] = {}
    top_ups: dict[str, TopUps] = {}
    uncovered: tuple[UncoveredCharge, ...] = ()


class InvoiceBookedRow(msgspec.Struct, frozen=True, array_like=True):
    """What an invoice has booked.

    Attributes:
        postings: the sum of its transactions, from which the next one follows.
        burns: what credits paid of it and did not come back, the oldest first.
        has_returned: its corrections gave credits back that other invoices had burnt.
        credited: what credit notes of it took back at each rate of tax.
        lowered: what they took off what was due for it, in minor units.
    """

    postings: Postings = ()
    burns: tuple[CreditBurn, ...] = ()
    has_returned: bool = False
    credited: tuple[CreditedTax, ...] = ()
    lowered: int = 0
