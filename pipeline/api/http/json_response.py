"""Answers whose amounts are JSON numbers with all their digits.

Owns: the response. Does not own: the numbers (core.values.json_number).
"""

from __future__ import annotations

import msgspec
from fastapi import Response

_encode = msgspec.json.Encoder().encode


def answer(body: object, status: int = 200) -> Response:
    """The answer with `body` as JSON, which may hold numbers made here."""
    return Response(_encode(body), status, media_type="application/json")
