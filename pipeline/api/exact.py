"""Answers whose amounts are JSON numbers with all their digits.

Owns: that form. Does not own: amounts (core.number). No float is made on the way; readers take them as decimals.
"""

from __future__ import annotations

import msgspec
from fastapi import Response

from pipeline.core import number

_encode = msgspec.json.Encoder().encode


def amount(atto: int) -> msgspec.Raw:
    """A JSON number of an amount in atto."""
    return plain(number.text(atto))


def plain(text: object) -> msgspec.Raw:
    """A JSON number of plain decimal text, as definitions hold it."""
    return msgspec.Raw(str(text).encode())


def answer(body: object, status: int = 200) -> Response:
    """The answer with `body` as JSON, which may hold numbers made here."""
    return Response(_encode(body), status, media_type="application/json")
