"""How many decimals an amount of money has in each currency of ISO 4217.

Owns: the codes and their minor units. Does not own: amounts (money), which currencies a plan may have. Codes without
minor units (metals, units of account of banks, XXX, XTS) are no money of an invoice and are not listed; codes that were
withdrawn since 2022 are, since invoices outlive them. Source: ISO 4217 list one, amendment 177.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pipeline.errors import Rejected

_CODES = {
    0: """
    BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF
    """,
    2: """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
    CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ
    GYD HKD HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD
    MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD
    RUB SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH
    USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG ZWL
    """,
    3: """
    BHD IQD JOD KWD LYD OMR TND
    """,
    4: """
    CLF UYW
    """,
}
DIGITS: Mapping[str, int] = MappingProxyType(
    {code: digits for digits, codes in _CODES.items() for code in codes.split()}
)


def digits_of(code: object) -> int:
    """The decimals of an amount in a currency.

    Raises:
        Rejected: `bad-currency`, for anything but a listed code in upper case.

    >>> digits_of("JPY"), digits_of("KWD")
    (0, 3)
    """
    digits = DIGITS.get(code) if isinstance(code, str) else None
    if digits is None:
        raise Rejected("bad-currency", f"currency {ascii(code)[:64]} is not a code of ISO 4217, such as USD")
    return digits
