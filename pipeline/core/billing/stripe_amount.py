"""Amounts as Stripe takes them: integers in the smallest unit that Stripe has for a currency.

Owns: Stripe's units, which differ from those of ISO 4217, and refusing an amount that they cannot express. Does not
own: rounding: an amount is never changed on its way to Stripe. Source: Stripe's documentation, "Supported currencies":
zero-decimal, three-decimal and special-case currencies.
"""

from __future__ import annotations

from typing import Final

from pipeline.core.values import money, number
from pipeline.core.values.currency import digits_of
from pipeline.errors import Rejected

CODE: Final = "stripe_amount_not_possible"
_ZERO: Final = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"]
)  # UGX has no decimals either, and is sent with two
_THREE: Final = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])
_TWO: Final = 2
_THREE_DIGITS: Final = 3


def stripe_digits(currency: str) -> int:
    """The decimals of an amount that is sent.

    >>> stripe_digits("USD"), stripe_digits("JPY"), stripe_digits("ISK"), stripe_digits("KWD")
    (2, 0, 2, 3)
    """
    if currency in _ZERO:
        return 0
    return _THREE_DIGITS if currency in _THREE else _TWO


def stripe_amount(plain: str, currency: str) -> int:
    """An amount in Stripe's smallest unit.

    Args:
        plain: decimal text in major units, may be below 0.
        currency: of ISO 4217.

    Raises:
        Rejected: `stripe_amount_not_possible`: the amount has a digit that Stripe does not take, as the third one of a
            three-decimal currency. `bad-currency`.

    >>> stripe_amount("10.5", "USD"), stripe_amount("-700", "JPY"), stripe_amount("5", "UGX")
    (1050, -700, 500)
    >>> stripe_amount("1.23", "KWD")
    1230
    """
    digits_of(currency)
    digits = stripe_digits(currency)
    units, rest = divmod(number.exact(plain), money.unit(digits))
    if rest or (currency in _THREE and units % 10):
        taken = _TWO if currency in _THREE else digits
        raise Rejected(
            CODE, f"Stripe takes amounts in {currency} with at most {taken} decimals: {plain[:64]}."
        )
    return int(units)


def plain_amount(amount: int, currency: str) -> str:
    """Inverse of `stripe_amount`.

    >>> plain_amount(1050, "USD"), plain_amount(500, "UGX"), plain_amount(-700, "JPY")
    ('10.5', '5', '-700')
    """
    return money.text(amount, stripe_digits(currency))
