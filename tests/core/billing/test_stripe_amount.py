"""Amounts in Stripe's smallest unit: exact, or refused."""

from __future__ import annotations

import pytest

from pipeline.core.billing.stripe_amount import plain_amount, stripe_amount
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
