"""Transactions: they sum to 0 or are not made, and their cause names them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.ledger.transaction import (
    LedgerCause,
    LedgerTime,
    Posting,
    amount_of,
    merged,
    reversed_of,
    transaction,
)
from pipeline.core.values import number
from pipeline.errors import Broken

CAUSE = LedgerCause("default", "c", "invoice.accrued", "i")
WHEN = LedgerTime(1, 2)
posting_lists: st.SearchStrategy[Any] = st.lists(
    st.builds(
        Posting,
        st.sampled_from(["wash", "earnings", "customer_fbo"]),
        st.integers(-99, 99),
        st.sampled_from(["", "g"]),
    )
)


@given(posting_lists, st.sampled_from(["USD", "JPY", "KWD"]))
def test_a_transaction_sums_to_zero_or_is_refused(found: list[Posting], currency: str) -> None:
    if sum(one.amount for one in found):
        with pytest.raises(Broken):
            transaction(CAUSE, currency, WHEN, found)
        return
    made = transaction(CAUSE, currency, WHEN, found)
    if made is None:
        assert merged(found) == ()
        return
    assert sum(number.parse(one.amount) for one in made.entries) == 0
    assert made == transaction(CAUSE, currency, WHEN, found)
    digits = {"USD": 2, "JPY": 0, "KWD": 3}[currency]
    read = [Posting(one.account, amount_of(one, digits), one.grant, one.status) for one in made.entries]
    assert tuple(read) == merged(found)


@given(posting_lists)
def test_what_is_taken_back_leaves_nothing(found: list[Posting]) -> None:
    assert merged([*found, *reversed_of(found)]) == ()


def test_the_cause_is_the_id() -> None:
    assert CAUSE.transaction_id == LedgerCause(*CAUSE).transaction_id
    others = [CAUSE._replace(**{name: "x"}) for name in CAUSE._fields]
    assert len({CAUSE.transaction_id, *(one.transaction_id for one in others)}) == 5
