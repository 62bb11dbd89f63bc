"""TOML read strictly: settings and the meters of a file.

Owns: limits on depth and numbers, the one error. Does not own: the grammar (tomllib), what the names mean.
"""

from __future__ import annotations

import re
import tomllib
from datetime import date, datetime, time
from typing import Any

from pipeline.core.values.json_value import exact_float, out_of_range
from pipeline.core.values.strict_json import MAX_DEPTH, MAX_NUMBER_CHARS
from pipeline.errors import Rejected

_INTEGERS = range(-(1 << 63), 1 << 63)
# tomllib takes time by the square of the number of parts of one key.
_LONG_KEY = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{MAX_DEPTH}}}"""
).search


def read(text: bytes) -> dict[str, Any]:
    """The value of a TOML text, as JSON would have it: dates and times are RFC 3339 text.

    Raises Rejected: bad-toml, bad-encoding, too-deep, number-too-long, number-out-of-range.
    """
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise Rejected("bad-encoding", f"The text is not UTF-8 (byte {error.start}).") from None
    if _LONG_KEY(decoded):
        raise _too_deep()
    try:
        tree = tomllib.loads(decoded, parse_float=_float)
    except RecursionError:
        raise _too_deep() from None
    except tomllib.TOMLDecodeError as error:
        raise Rejected("bad-toml", f"The text is not TOML: {error}.") from None
    except ValueError:  # of int()
        raise Rejected("number-too-long", f"A number has more than {MAX_NUMBER_CHARS} digits.") from None
    return {name: _plain(value, 1) for name, value in tree.items()}


def _float(spelling: str) -> float:
    return exact_float(spelling)


def _plain(value: Any, level: int) -> Any:
    if level > MAX_DEPTH:
        raise _too_deep()
    if isinstance(value, dict):
        return {name: _plain(one, level + 1) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one, level + 1) for one in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, int) and value not in _INTEGERS:
        raise out_of_range(hex(value))
    return value


def _too_deep() -> Rejected:
    return Rejected("too-deep", f"The TOML text is nested deeper than {MAX_DEPTH} levels.")
