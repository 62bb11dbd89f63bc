"""Amounts in Stripe's smallest unit: exact, or refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.billing.stripe_amount import plain_amount, stripe_amount, stripe_digits
from pipeline.core.values import money
from pipeline.core.values.currency import DIGITS
from pipeline.errors import Rejected


@pytest.mark.parametrize(
    ("plain", "currency", "amount"),
    [
        ("10.5", "USD", 1050),
        ("-0.05", "EUR", -5),
        ("0", "USD", 0),
        ("99999999999999999999.99", "USD", 9999999999999999999999),
        ("700", "JPY", 700),
        ("-1", "KRW", -1),
        ("1.23", "KWD", 1230),
        ("5", "ISK", 500),
        ("5", "UGX", 500),
        ("5.25", "HUF", 525),
        ("40", "MGA", 40),
    ],
)
def test_an_amount_in_the_smallest_unit(plain: str, currency: str, amount: int) -> None:
    assert stripe_amount(plain, currency) == amount
    assert plain_amount(amount, currency) == plain


@pytest.mark.parametrize(
    ("plain", "currency"),
    [("1.234", "KWD"), ("0.5", "MGA"), ("0.5", "JPY"), ("0.001", "USD"), ("1.234", "IQD")],
)
def test_a_digit_that_stripe_does_not_take_is_refused_and_never_rounded(plain: str, currency: str) -> None:
    with pytest.raises(Rejected) as refusal:
        stripe_amount(plain, currency)
    assert refusal.value.reason == "stripe_amount_not_possible"


def test_every_currency_takes_whole_units() -> None:
    assert all(stripe_amount("3", currency) > 0 for currency in DIGITS)


@given(st.sampled_from(sorted(DIGITS)), st.integers(-(10**15), 10**15), st.integers(-(10**15), 10**15))
def test_an_amount_keeps_its_value_and_sums_stay_sums_in_every_currency(
    currency: str, first: int, second: int
) -> None:
    """first, second: in the smallest unit of ISO 4217. An amount that Stripe has no digits for is refused."""
    scale = Decimal(10) ** stripe_digits(currency)
    sent = []
    for minor in (first, second, first + second):
        plain = money.text(minor, DIGITS[currency])
        exact = Decimal(plain) * scale
        step = 10 if stripe_digits(currency) == 3 else 1
        if exact % step:
            with pytest.raises(Rejected):
                stripe_amount(plain, currency)
            return
        sent.append(stripe_amount(plain, currency))
        assert sent[-1] == exact and plain_amount(sent[-1], currency) == plain
    assert sent[0] + sent[1] == sent[2]


def test_the_units_are_those_of_stripes_list() -> None:
    """Source: Stripe's documentation, "Supported currencies"; all others have two decimals."""
    zero = [
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "JPY",
        "KMF",
        "KRW",
        "MGA",
        "PYG",
        "RWF",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ]
    three = ["BHD", "JOD", "KWD", "OMR", "TND"]
    assert sorted(one for one in DIGITS if stripe_digits(one) == 0) == zero
    assert sorted(one for one in DIGITS if stripe_digits(one) == 3) == three
    assert {stripe_digits(one) for one in DIGITS} == {0, 2, 3}
