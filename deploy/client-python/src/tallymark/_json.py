"""JSON with exact numbers: a Decimal goes out and comes in by its digits, never through a float.

Owns: writing and reading JSON text. Does not own: what the members mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn


class _HasDecimal(Exception):
    """The standard encoder met what only the exact writer can write."""


def dumps(value: object) -> bytes:
    """UTF-8 JSON without whitespace. A Decimal becomes a number with exactly its digits; a float its shortest form.

    Raises TypeError for what JSON does not have, ValueError for NaN, infinity, half surrogates and endless nesting.
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
    """The value of a JSON text; numbers with a point or exponent as Decimal. Raises ValueError."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    except (InvalidOperation, RecursionError) as error:
        raise ValueError(f"a number or the nesting is out of any range: {error}") from error


def _default(value: object) -> NoReturn:
    if isinstance(value, (Decimal, Mapping)):
        raise _HasDecimal
    raise TypeError(f"a {type(value).__name__} is no JSON: use str, int, Decimal, bool, None, dict or list")


_standard = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_default
).encode


def _exact(value: object) -> str:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is no JSON number")
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_standard(_name(key))}:{_exact(value[key])}" for key in value) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_exact, value)) + "]"
    return _standard(value)


def _name(key: object) -> str:
    """The name of a member as the standard encoder makes it of a key."""
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (int, float)):
        return _standard(key)
    raise TypeError(f"a member's name has to be a str, not a {type(key).__name__}")


def _no_constant(spelling: str) -> NoReturn:
    raise ValueError(f"{spelling} is no JSON value")
