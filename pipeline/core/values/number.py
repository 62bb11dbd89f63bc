"""Exact decimals: what counts as a number in an event, and how it is kept and written.

Owns: the limits of a value (below 10^18, 18 decimals), the refusal texts, plain decimal text, exact division, the one
text of a number that JSON can spell in several ways. Does not own: where the value comes from (metering.extract) or the
bound of a total in state (metering.aggregate). A number is an int scaled by 10^18 ("atto"), so no float and no decimal
context ever touches it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NoReturn

from msgspec import Raw

from pipeline.errors import Broken, Rejected

DECIMALS = 18
SCALE: int = 10**DECIMALS
WHOLE_DIGITS = 18
WHOLE_LIMIT: int = 10**WHOLE_DIGITS  # a single value stays below, so that a total has room to grow
TOTAL_LIMIT: int = 10**38  # of a total in atto: what Decimal(38, 18) holds

_NUMBER = re.compile(r"([+-]?)(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE]([+-]?)([0-9]+))?")
_NAN = re.compile(r"[+-]?s?nan", re.IGNORECASE | re.ASCII)
_INFINITY = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE | re.ASCII)
_EXPONENT_DIGITS = 9  # a longer exponent is out of any range, and int() of it may raise
_SHOWN = 64
_MOST_ZEROS = 40  # that a canonical text has beside its digits
_POWER: list[int] = [10**power for power in range(DECIMALS + 1)]


def refuse(reason: str, detail: str) -> NoReturn:
    """Raises Rejected. reason: a slug of core.metering.refusal."""
    raise Rejected(reason, detail)


def atto(value: object) -> int:
    """The value scaled by 10^18, exactly. Numeric text counts as a number, negative ones too.

    value: a JSON value as int, str, Decimal, or msgspec.Raw (the digits of a number as sent).
    Raises Rejected for null, booleans, objects, arrays, floats, NaN, infinity, other text,
    and more than 18 digits before or after the point. Nothing is ever rounded.
    """
    if type(value) is int:
        if -WHOLE_LIMIT < value < WHOLE_LIMIT:
            return value * SCALE
        refuse(
            "value-too-large",
            f"value must be below 10^{WHOLE_DIGITS}: a whole number of about {value.bit_length()} bits",
        )
    if type(value) is Raw:
        digits: str = str(value, "utf-8")
        return parse(digits)
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, Decimal):
        return parse(str(value))
    if value is None:
        refuse("value-null", "value cannot be null")
    refuse("value-type", "unsupported value property type")


def parse(text: str) -> int:
    """`atto` of text. The same limits and refusals."""
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if len(digits) <= DECIMALS and digits.isdigit() and digits.isascii():
        return int(digits) * _POWER[DECIMALS - len(fraction)]  # the common case, twice as fast
    return _parse_any(text)


def _parse_any(text: str) -> int:
    found = _NUMBER.fullmatch(text)
    if found is None:
        _refuse_text(text)
    sign, whole, fraction, bare, exponent_sign, exponent = found.groups()
    whole, fraction = whole or "", fraction or bare or ""
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return 0
    power = len(digits) - len(significant) - len(fraction)  # value = significant x 10^power
    if exponent:
        exponent = exponent.lstrip("0") or "0"
        size = int(exponent) if len(exponent) <= _EXPONENT_DIGITS else 10**_EXPONENT_DIGITS + len(text)
        power += -size if exponent_sign == "-" else size
    if len(significant) + power > WHOLE_DIGITS:
        refuse("value-too-large", f"value must be below 10^{WHOLE_DIGITS}: {_shown(text)}")
    if power < -DECIMALS:
        refuse("value-too-precise", f"value has more than {DECIMALS} decimals: {_shown(text)}")
    scaled: int = int(significant) * 10 ** (power + DECIMALS)
    return -scaled if sign == "-" else scaled


def _refuse_text(text: str) -> NoReturn:
    if _NAN.fullmatch(text):
        refuse("value-not-a-number", "value cannot be NaN")
    if _INFINITY.fullmatch(text):
        refuse("value-infinite", "value cannot be infinity")
    refuse("value-not-a-number", f"value cannot be parsed as a number: {_shown(text)}")


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def text(scaled: int) -> str:
    """Plain decimal text of an atto number, without exponent or trailing zeros: "1.5" for 15 * 10**17."""
    whole_number, rest = divmod(scaled, SCALE)
    if not rest:
        return str(whole_number)  # the common case, in half the time
    digits = str(scaled)
    whole = digits[:-DECIMALS]
    if not whole or whole == "-":  # below 1
        digits = digits.zfill(DECIMALS + 1 + (scaled < 0))
        whole = digits[:-DECIMALS]
    return f"{whole}.{digits[-DECIMALS:].rstrip('0')}"


def canonical(spelling: str) -> str:
    """The one text of a JSON number, however it is spelled: digits without exponent and without zeros at the end.

    Only where that would take more than 40 zeros, it is the digits and an exponent, so that no text gets long.

    Args:
        spelling: a number as JSON spells it, of at most 4,300 characters.

    >>> canonical("7.0"), canonical("70e-1"), canonical("-0.0"), canonical("1.10"), canonical("1e400")
    ('7', '7', '0', '1.1', '1e400')
    """
    if len(spelling) > _MOST_ZEROS or "e" in spelling or "E" in spelling:
        return _canonical_any(spelling)
    whole, _, fraction = spelling.partition(".")
    fraction = fraction.rstrip("0")
    if fraction:
        return f"{whole}.{fraction}"
    return "0" if whole == "-0" else whole


def _canonical_any(spelling: str) -> str:
    found = _NUMBER.fullmatch(spelling)
    if found is None:
        raise Broken(f"{_shown(spelling)} is no JSON number")
    sign, whole, fraction, _, exponent_sign, exponent = found.groups()
    fraction = fraction or ""
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return "0"
    size = int(exponent or "0")
    power = len(digits) - len(significant) - len(fraction) + (-size if exponent_sign == "-" else size)
    if power > 0:
        text = significant + "0" * power if power <= _MOST_ZEROS else f"{significant}e{power}"
    elif -power < len(significant):
        text = significant if power == 0 else f"{significant[:power]}.{significant[power:]}"
    else:
        zeros = -power - len(significant)
        text = f"0.{'0' * zeros}{significant}" if zeros <= _MOST_ZEROS else f"{significant}e{power}"
    return sign + text


def exact(plain: str) -> int:
    """The atto number that `text` wrote. For our own state: it checks nothing and has no bound."""
    if "." not in plain:
        return int(plain) * SCALE
    whole, _, fraction = plain.partition(".")
    return int(whole + fraction) * _POWER[DECIMALS - len(fraction)]


def fits(total_atto: int) -> bool:
    """Whether a total is what Decimal(38, 18) holds."""
    return -TOTAL_LIMIT < total_atto < TOTAL_LIMIT


def divide(sum_atto: int, count: int) -> int:
    """sum / count to 18 decimals, half-even, for AVG. Both atto but the count, which is at least 1."""
    quotient, rest = divmod(sum_atto, count)
    doubled = 2 * rest
    if doubled > count or (doubled == count and quotient % 2):
        return quotient + 1
    return quotient
