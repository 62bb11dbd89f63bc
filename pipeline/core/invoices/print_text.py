"""Numbers, amounts and instants as people read them on an invoice.

Owns: digits and their groups, currency symbols, dates in a zone. Does not own: what is printed (printed_invoice). The
language is English.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from pipeline.core.catalog.currency import CURRENCIES
from pipeline.core.invoices.line import LinePeriod
from pipeline.core.values import number, timestamp, zone
from pipeline.core.values.currency import digits_of

MINUS: Final = "\N{MINUS SIGN}"
_DASH: Final = "\N{EN DASH}"
_NARROW: Final = "\N{NARROW NO-BREAK SPACE}"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


def quantity(text: str) -> str:
    """Decimal text with groups of three digits.

    >>> quantity("1234567.5"), quantity("-1000"), quantity("0.000012")
    ('1,234,567.5', '\N{MINUS SIGN}1,000', '0.000012')
    """
    return _grouped(text, 0)


def amount(text: str, currency: str) -> str:
    """Decimal text with the decimals of a currency at least; a unit price keeps those that it has beyond.

    >>> amount("1234.5", "EUR"), amount("0.000012", "EUR"), amount("-7", "JPY")
    ('1,234.50', '0.000012', '\N{MINUS SIGN}7')
    """
    return _grouped(text, digits_of(currency))


def money(text: str, currency: str) -> str:
    """An amount with the symbol of its currency.

    >>> money("-1234.5", "EUR"), money("3", "CHF")
    ('\N{MINUS SIGN}€1,234.50', 'CHF\N{NARROW NO-BREAK SPACE}3.00')
    """
    known = CURRENCIES.get(currency)
    symbol = currency if known is None else known.symbol
    gap = _NARROW if symbol[-1].isalpha() or symbol[-1] == "." else ""
    shown = amount(text, currency)
    return MINUS + symbol + gap + shown[1:] if shown.startswith(MINUS) else symbol + gap + shown


def percent(text: str) -> str:
    """A percentage.

    >>> percent("12.50")
    '12.5\N{NARROW NO-BREAK SPACE}%'
    """
    return f"{number.text(number.parse(text))}{_NARROW}%"


def day(at: str, of_zone: str) -> str:
    """The date of an instant in a zone.

    >>> day("2026-10-31T23:00:00Z", "Europe/Berlin")
    '1 Nov 2026'
    """
    return _day(_local(at, of_zone))


def moment(at: str, of_zone: str) -> str:
    """An instant in a zone, with its seconds if it is not on a minute.

    >>> moment("2026-10-31T23:05:59Z", "Europe/Berlin")
    '1 Nov 2026 00:05:59'
    >>> moment("2026-10-31T23:05:00Z", "Europe/Berlin")
    '1 Nov 2026 00:05'
    """
    local = _local(at, of_zone)
    return f"{_day(local)} {_time(local)}"


def period(whole: LinePeriod, of_zone: str) -> str:
    """A period: by its first and last day if both its ends are midnights of the zone, else with times.

    >>> period(LinePeriod("2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"), "Europe/Berlin")
    '1 Nov 2026 \N{EN DASH} 30 Nov 2026'
    >>> period(LinePeriod("2026-11-01T10:30:00Z", "2026-11-02T00:00:00Z"), "UTC")
    '1 Nov 2026 10:30 \N{EN DASH} 2 Nov 2026 00:00'
    """
    start, end = _local(whole.start, of_zone), _local(whole.end, of_zone)
    if start == end:
        return _day(start)
    if not (_is_midnight(start) and _is_midnight(end)):
        return f"{_day(start)} {_time(start)} {_DASH} {_day(end)} {_time(end)}"
    last = end - timedelta(days=1)
    return _day(start) if last.date() == start.date() else f"{_day(start)} {_DASH} {_day(last)}"


def _grouped(text: str, decimals: int) -> str:
    whole, _, fraction = number.text(abs(number.exact(text))).partition(".")
    sign = MINUS if text.startswith("-") and (whole, fraction) != ("0", "") else ""
    fraction = fraction.ljust(decimals, "0")
    return f"{sign}{int(whole):,}" + (f".{fraction}" if fraction else "")


def _local(at: str, of_zone: str) -> datetime:
    return (_EPOCH + timedelta(seconds=timestamp.ms_of(at) // 1000)).astimezone(zone.rules_of(of_zone))


def _is_midnight(at: datetime) -> bool:
    return not (at.hour or at.minute or at.second)


def _day(at: datetime) -> str:
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}"


def _time(at: datetime) -> str:
    return f"{at.hour:02}:{at.minute:02}" + (f":{at.second:02}" if at.second else "")
