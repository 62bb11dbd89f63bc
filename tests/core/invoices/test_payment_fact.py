"""Which of two facts counts: a total order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.invoices.payment_fact import PaymentFact, is_stronger, stronger

FACTS = st.builds(
    PaymentFact,
    st.sampled_from(
        ["authorized", "paid", "payment_failed", "overdue", "uncollectible", "action_required", "void"]
    ),
    st.integers(0, 2),
)


@given(one=FACTS, other=FACTS, third=FACTS)
def test_facts_are_in_one_order(one: PaymentFact, other: PaymentFact, third: PaymentFact) -> None:
    assert is_stronger(one, None)
    assert not is_stronger(one, one)
    if one.trigger != other.trigger or one.at_ms != other.at_ms:
        both_ended_alike = one.trigger == other.trigger and one.is_ending
        assert both_ended_alike or is_stronger(one, other) != is_stronger(other, one)
    assert stronger(stronger(one, other), third).trigger == stronger(one, stronger(other, third)).trigger


def test_what_ends_a_payment_counts_whatever_its_time() -> None:
    newest = PaymentFact("uncollectible", 9)
    assert stronger(newest, PaymentFact("void", 1)) == PaymentFact("void", 1)
    assert stronger(PaymentFact("void", 9), PaymentFact("paid", 1)) == PaymentFact("paid", 1)
    assert stronger(newest, PaymentFact("authorized", 8)) == newest
