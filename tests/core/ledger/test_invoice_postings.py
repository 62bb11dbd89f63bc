"""What invoices book from issue to payment: always 0 in all, and what is owed ends somewhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.ledger.invoice_postings import (
    BilledMoney,
    PaidByCredit,
    accrued,
    authorized,
    earned,
    settled,
    uncollectible,
)
from pipeline.core.ledger.transaction import Posting, Postings, merged, reversed_of

STEPS = {"earned": earned, "authorized": authorized, "settled": settled, "uncollectible": uncollectible}


def sums(postings: Postings) -> dict[str, int]:
    assert sum(one.amount for one in postings) == 0
    return {f"{one.account}.{one.status}".rstrip("."): one.amount for one in postings}


def test_a_line_of_30_of_which_credits_pay_20() -> None:
    found = accrued(BilledMoney(3_000, 190), [PaidByCredit("g", 2_000)])
    assert sums(found) == {
        "customer_fbo": -2_000, "customer_receivable.open": -1_190, "customer_accrued": 3_000, "tax_payable": 190,
    }  # fmt: skip
    assert sums(earned(found)) == {"customer_accrued": -3_000, "earnings": 3_000}
    assert sums(settled(found)) == {"customer_receivable.open": 1_190, "wash": -1_190}


def test_sold_credits_book_only_their_tax() -> None:
    assert sums(accrued(BilledMoney(0, 0, 19), [])) == {"customer_receivable.open": -19, "tax_payable": 19}
    assert sums(accrued(BilledMoney(0, 0, 0, 16), [])) == {"tax_payable": 16, "earnings": -16}


def test_what_was_given_up_can_still_be_paid() -> None:
    booked = accrued(BilledMoney(100, 0), [])
    booked = merged([*booked, *uncollectible(booked)])
    assert sums(booked) == {"customer_accrued": 100, "bad_debt": -100}
    assert sums(settled(booked)) == {"bad_debt": 100, "wash": -100}


amounts = st.integers(-500, 500)


@given(
    st.builds(BilledMoney, amounts, amounts, amounts, amounts),
    st.lists(st.builds(PaidByCredit, st.sampled_from("ab"), amounts), max_size=3),
    st.lists(st.sampled_from(list(STEPS)), max_size=6),
)
def test_every_step_sums_to_zero_and_a_void_takes_all_back(
    billed: BilledMoney, credits: list[PaidByCredit], steps: list[str]
) -> None:
    booked: Postings = accrued(billed, credits)
    for step in steps:
        found = STEPS[step](booked)
        assert sum(one.amount for one in found) == 0
        booked = merged([*booked, *found])
        assert merged([*booked, *STEPS[step](booked)]) == booked  # the same step again changes nothing
    assert merged([*booked, *reversed_of(booked)]) == ()
    done = merged([*booked, *settled(booked)])
    assert not any(one.account in ("customer_receivable", "bad_debt") for one in done)
    due = billed.net + billed.tax + billed.sold_tax - sum(one.amount for one in credits)
    assert sum(one.amount for one in done if one.account == "wash") == -due


def test_authorized_moves_only_what_is_open() -> None:
    booked = accrued(BilledMoney(100, 0), [])
    assert authorized(booked) == (
        Posting("customer_receivable", 100, status="open"), Posting("customer_receivable", -100, status="authorized"),
    )  # fmt: skip
