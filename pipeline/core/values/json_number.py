"""JSON numbers with all their digits.

Owns: that form. Does not own: amounts (number). No float is made on the way; readers take them as decimals.
"""

from __future__ import annotations

import msgspec

from pipeline.core.values import number


def amount(atto: int) -> msgspec.Raw:
    """A JSON number of an amount in atto."""
    return plain(number.text(atto))


def plain(text: object) -> msgspec.Raw:
    """A JSON number of plain decimal text, as definitions hold it."""
    return msgspec.Raw(str(text).encode())
