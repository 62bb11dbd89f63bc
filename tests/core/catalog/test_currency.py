"""The table of currencies: every row is whole, and the digits are those of ISO 4217."""

from __future__ import annotations

import pytest

from pipeline.core.catalog.currency import CURRENCIES, Currency, is_code

# Written down independently: all others have two.
NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"


def test_the_digits() -> None:
    found = {code: one.subunits for code, one in CURRENCIES.items() if one.subunits != 2}
    assert found == dict.fromkeys(NO_DECIMALS.split(), 0) | dict.fromkeys(THREE_DECIMALS.split(), 3)


def test_every_row_is_whole_and_in_order() -> None:
    assert list(CURRENCIES) == sorted(CURRENCIES) and len(CURRENCIES) == 155
    for code, one in CURRENCIES.items():
        assert is_code(code) and one.code == code and one.symbol and len(one.name) > 3
    assert CURRENCIES["EUR"] == Currency("EUR", "Euro", "€", 2)


@pytest.mark.parametrize("text", ["eur", "EU", "EURO", "", "ÉUR"])
def test_what_is_no_code(text: str) -> None:
    assert not is_code(text)
