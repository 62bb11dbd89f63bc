"""Whether an object that exists here is the one that would be created.

Owns: the comparison member by member. Does not own: which object of the target is the counterpart (cli.migrate).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from pipeline.core.values import json_value, timestamp
from pipeline.errors import Rejected

MAX_EXPONENT = 100
# A text of up to so many characters may be a number: amounts are texts in one answer and numbers in another.
_MAX_NUMBER = 64
_WHOLE = frozenset(
    {"metadata", "groupBy", "meterGroupByFilters", "advancedMeterGroupByFilters", "usageAttribution"}
)


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any], but: Collection[str] = ()) -> list[str]:
    """The members, as paths, that the found object has otherwise.

    What the found object has beyond `wanted` is a default, except in maps that a user fills.

    Args:
        wanted: the body of the request that would create it.
        found: as the target shows it.
        but: members that are not compared.

    >>> differences({"name": "A", "amount": 10}, {"name": "B", "amount": "10.0", "id": "x"})
    ['name']
    """
    return [
        path for member, value in wanted.items() if member not in but
        for path in _differences(member, value, found.get(member))
    ] + [
        member for member in sorted(_WHOLE - wanted.keys() - set(but)) if _something(found.get(member))
    ]  # fmt: skip


def _differences(path: str, wanted: Any, found: Any) -> list[str]:
    if isinstance(wanted, dict):
        other = found if isinstance(found, dict) else {}
        names = wanted.keys() | other.keys() if path.rpartition(".")[2] in _WHOLE else wanted.keys()
        below = (_differences(f"{path}.{name}", wanted.get(name), other.get(name)) for name in sorted(names))
        return [one for paths in below for one in paths]
    if isinstance(wanted, list):
        others = found if isinstance(found, list) else []
        if len(others) != len(wanted):
            return [path]
        pairs = enumerate(zip(wanted, others, strict=True))
        return [one for place, pair in pairs for one in _differences(f"{path}.{place}", *pair)]
    return [] if _plain(wanted) == _plain(found) else [path]


def _something(value: Any) -> bool:
    """Whether a member that a user fills holds anything; `{"subjectKeys": []}` does not."""
    return any(value.values()) if isinstance(value, dict) else bool(value)


def _plain(value: Any) -> Any:
    """A value in a form in which equal ones are equal: numbers and instants by their value, nothing as None."""
    if isinstance(value, bool):
        return value
    if value in ("", None):
        return None
    if not isinstance(value, int | str | Decimal):
        return value
    text = str(value)
    try:
        number = Decimal(text) if len(text) <= _MAX_NUMBER else None
        if number is not None and number.is_finite() and abs(number.adjusted()) <= MAX_EXPONENT:
            return number
    except InvalidOperation:
        pass
    try:
        return timestamp.parse_ns(text)
    except Rejected:
        return text


def json_text(value: Any) -> Any:
    """The value of a JSON text, so that texts that differ in spaces compare equal; other values as they are."""
    try:
        return json_value.read_decimals(value) if isinstance(value, str) else value
    except Rejected:
        return value
