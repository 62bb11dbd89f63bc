"""Values of JSON texts that others wrote: bodies, files, parameters, answers, records of our own topics.

Owns: which Python value a number becomes, and that none is rounded on the way. Does not own: what counts as JSON
(strict_json), events, whose numbers keep their spelling (metering.cloudevent).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec
from orjson import JSONDecodeError, JSONEncodeError, dumps, loads

from pipeline.core.values.strict_json import Number, decoded, decoder, half_surrogate, narrow, too_deep
from pipeline.errors import Rejected

MAX_EXPONENT = 100  # of a Decimal: an int made of one with millions of digits would take minutes
_INTEGERS = range(-(1 << 63), 1 << 64)  # what every JSON reader and writer on the way keeps
_SHOWN = 40
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]").search

T = TypeVar("T")


def read(text: bytes | str) -> Any:
    """The value of one JSON text.

    Args:
        text: UTF-8, or a str that may hold anything, such as a query parameter.

    Returns:
        dict, list, str, bool, None, int, or float for a number with a point or an exponent.

    Raises:
        Rejected: bad-json, bad-encoding, duplicate-member, too-deep, number-too-long; number-out-of-range for a
            number that neither 64 bits nor a float hold exactly as it was sent.
    """
    encoded = _utf8(text)
    try:
        tree = loads(encoded)
        if not too_deep(encoded) and dumps(tree) in (encoded, narrow(encoded)):
            return tree  # nothing was lost: see strict_json.compare
    except (JSONDecodeError, JSONEncodeError):
        pass  # the exact reader says what it is
    return _read(encoded, _FLOATS)


def read_decimals(text: bytes | str) -> Any:
    """As `read`, for answers with exact amounts: integers of any size, fractions as Decimal."""
    return _read(_utf8(text), _DECIMALS)


def reader_of(shape: type[T]) -> Callable[[bytes | None], T]:
    """The reader of one topic's records, for topics that only Tallymark writes.

    Args:
        shape: a msgspec.Struct, or a list of them for packed records.

    Returns:
        A function of a record's value. It is fast, and does not check for repeated names: programs that may write to
        such a topic are trusted. It raises Rejected `bad-record` for everything that does not decode.
    """
    decode = msgspec.json.Decoder(shape).decode

    def read_record(value: bytes | None) -> T:
        try:
            return decode(value or b"")
        except RecursionError:
            raise Rejected("bad-record", "It is nested too deep.") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Rejected("bad-record", f"It is not what the topic holds: {error}.") from None

    return read_record


def sentence_about(name: str, refusal: Rejected) -> str:
    """The sentence of a refusal with the text's name in it, such as a file's."""
    shown = name.encode("utf-8", "backslashreplace").decode()
    rest = refusal.detail.removeprefix("The text")
    return f"{shown}{rest}" if rest != refusal.detail else f"{shown}: {rest}"


def exact_float(spelling: str) -> float:
    """A number by its spelling. Raises Rejected: number-out-of-range where no float says exactly the same."""
    value = float(spelling)
    try:
        same = Decimal(spelling) == Decimal(repr(value)) and value - value == 0  # inf and nan are no numbers
    except InvalidOperation:  # an exponent that even a Decimal does not have
        same = False
    if not same:
        raise out_of_range(spelling)
    return value


def out_of_range(spelling: str) -> Rejected:
    """The refusal of a number that would be rounded."""
    shown = spelling if len(spelling) <= _SHOWN else f"{spelling[:_SHOWN]}..."
    detail = f"The number {shown} has more digits or a larger exponent than can be kept exactly."
    return Rejected("number-out-of-range", detail)


def _utf8(text: bytes | str) -> bytes:
    try:
        return text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError:
        raise half_surrogate() from None


def _read(text: bytes, numbers: Any) -> Any:
    tree = decoded(text, numbers)
    if _SURROGATE(text):
        _check_strings(tree)
    return tree


def _check_strings(tree: Any) -> None:
    if tree.__class__ is str:
        _utf8(tree)
    elif tree.__class__ is dict:
        for name, value in tree.items():
            _utf8(name)
            _check_strings(value)
    elif tree.__class__ is list:
        for value in tree:
            _check_strings(value)


def _integer(spelling: str) -> int:
    value = int(Number(spelling).text)
    if value not in _INTEGERS:
        raise out_of_range(spelling)
    return value


def _any_integer(spelling: str) -> int:
    return int(Number(spelling).text)


def _float(spelling: str) -> float:
    return exact_float(Number(spelling).text)


def _decimal(spelling: str) -> Decimal:
    try:
        value = Decimal(Number(spelling).text)
    except InvalidOperation:
        raise out_of_range(spelling) from None
    if abs(value.adjusted()) > MAX_EXPONENT:
        raise out_of_range(spelling)
    return value


_FLOATS = decoder(_integer, _float)
_DECIMALS = decoder(_any_integer, _decimal)
