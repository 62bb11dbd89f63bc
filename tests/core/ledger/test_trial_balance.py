"""Trial balances: repeating and ordering change nothing, and what does not add up is named."""

from __future__ import annotations

from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.ledger.invoice_postings import BilledMoney, PaidByCredit, accrued, earned, settled
from pipeline.core.ledger.transaction import LedgerCause, LedgerTime, transaction
from pipeline.core.ledger.trial_balance import trial_balance
from pipeline.core.values import number
from pipeline.records import LedgerTransaction


def made(place: int, net: int, credits: int, steps: int) -> list[LedgerTransaction]:
    booked = accrued(BilledMoney(net, 0), [PaidByCredit("g", credits)])
    found = [booked, earned(booked), settled(booked)][: steps + 1]
    kinds = ("invoice.accrued", "invoice.earned", "invoice.settled")
    when = LedgerTime(place, place)
    return [
        one
        for kind, postings in zip(kinds, found, strict=False)
        if (one := transaction(LedgerCause("default", "c", kind, str(place)), "USD", when, postings))
    ]


logs = st.lists(st.tuples(st.integers(0, 999), st.integers(0, 99), st.integers(0, 2)), max_size=6).map(
    lambda found: [one for place, given_ in enumerate(found) for one in made(place, *given_)]
)


@given(logs, st.integers())
def test_order_and_repetition_change_nothing(log: list[LedgerTransaction], seed: int) -> None:
    found = trial_balance(log)
    again = [*log, *log]
    Random(seed).shuffle(again)
    assert trial_balance(again) == found
    assert found.differences == []
    assert found.transactions == len(log)
    for currency in {row.currency for row in found.rows}:
        assert sum(number.parse(row.balance) for row in found.rows if row.currency == currency) == 0


def test_the_rows() -> None:
    found = trial_balance(made(1, 3_000, 2_000, 2))
    assert [(row.account, row.debit, row.credit, row.balance) for row in found.rows] == [
        ("customer_accrued", "30", "30", "0"), ("customer_fbo", "20", "0", "-20"),
        ("customer_receivable", "10", "10", "0"), ("earnings", "0", "30", "30"), ("wash", "10", "0", "-10"),
    ]  # fmt: skip
    assert trial_balance(made(1, 3_000, 2_000, 2), until_ms=0).rows == []


def test_what_does_not_add_up_is_named() -> None:
    one = made(1, 3_000, 0, 0)[0]
    broken = msgspec.structs.replace(one, entries=one.entries[:1])
    assert trial_balance([broken]).differences == [f"The transaction {one.id} sums to -30, not to 0."]
    assert "two contents" in trial_balance([one, broken]).differences[0]
