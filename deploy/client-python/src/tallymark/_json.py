"""JSON with exact numbers: a Decimal is written and read by its digits, never through a float.

Owns: writing and reading JSON text, and refusing ambiguous text. Does not own: the meaning of members.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

MAX_DIGITS = 4_300  # of a number: the limit of Python's int()
MAX_EXPONENT = 100  # of a Decimal: converting one with millions of digits to int would take minutes
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]").search


class _HasDecimal(Exception):
    """The standard encoder has met a value that only the exact writer can write."""


def dumps(value: object) -> bytes:
    """UTF-8 JSON without whitespace. A Decimal becomes a number with exactly its digits; a float its shortest form.

    Raises TypeError for types that JSON lacks, ValueError for NaN, infinity, lone surrogates and endless nesting.
    """
    try:
        try:
            text = _standard(value)
        except _HasDecimal:
            text = _exact(value)
    except RecursionError:
        raise ValueError("the value is nested too deep, or contains itself") from None
    return text.encode()


def loads(text: bytes | str) -> Any:
    """The value of a JSON text in UTF-8; numbers with a point or exponent as Decimal.

    Raises ValueError for invalid JSON, repeated names, lone surrogates, and numbers or nesting out of range.
    """
    text = text.decode() if isinstance(text, bytes) else text
    try:
        found = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None
    if _SURROGATE(text):
        _check_strings(found)
    return found


def _check_strings(value: Any) -> None:
    """Raise UnicodeEncodeError, which is a ValueError, for a lone surrogate."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for name, inner in value.items():
            name.encode()
            _check_strings(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_strings(inner)


def _default(value: object) -> NoReturn:
    if isinstance(value, (Decimal, Mapping)):
        raise _HasDecimal
    raise TypeError(f"a {type(value).__name__} is not JSON: use str, int, Decimal, bool, None, dict or list")


_standard = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_default
).encode


def _exact(value: object) -> str:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is not a JSON number")
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_standard(_name(key))}:{_exact(value[key])}" for key in value) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_exact, value)) + "]"
    return _standard(value)


def _name(key: object) -> str:
    """The name of a member, in the form of the standard encoder."""
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (int, float)):
        return _standard(key)
    raise TypeError(f"a member's name must be a str, not a {type(key).__name__}")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has a member twice")
    return members


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(digits)


def _fraction(digits: str) -> Decimal:
    try:
        found = Decimal(digits)
    except InvalidOperation:
        found = Decimal("Infinity")
    if len(digits) > MAX_DIGITS or not found.is_finite() or abs(found.adjusted()) > MAX_EXPONENT:
        raise ValueError(f"the number {digits[:40]} is out of range")
    return found


def _no_constant(spelling: str) -> NoReturn:
    raise ValueError(f"{spelling} is not a JSON value")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_integer, parse_float=_fraction, parse_constant=_no_constant
)
