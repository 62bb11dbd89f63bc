"""Which of the forms that a route offers a request accepts best.

Owns: the header Accept (RFC 9110, section 12.5.1): media ranges and their weights. Does not own: the forms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_WEIGHT = re.compile(r"q=(?:1(?:\.0{0,3})?|0(?:\.(\d{0,3}))?)", re.ASCII | re.IGNORECASE)


def preferred(accept: str, offered: Sequence[str]) -> str:
    """The media type of `offered` with the highest weight.

    Of equal weights the one that is named more precisely wins, then the one that is named first. Where nothing
    matches, or the header is empty, it is the first that is offered.

    Args:
        accept: the header's value, empty where there is none; several headers joined by commas.
        offered: media types without parameters, the usual one first.

    >>> preferred("application/json, text/csv;q=0.1", ["application/json", "text/csv"])
    'application/json'
    >>> preferred("text/csv, */*", ["application/json", "text/csv"])
    'text/csv'
    """
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    best, best_rank = offered[0], (0, 0, 0)
    for media_type in offered:
        rank = max(
            (_rank(media_type, one, place) for place, one in enumerate(ranges)), default=None, key=_precision
        )
        if rank is not None and rank[0] and rank > best_rank:
            best, best_rank = media_type, rank
    return best


def _range(part: str) -> tuple[str, int]:
    """A media range in lower case without parameters, and its weight in thousandths."""
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if found := _WEIGHT.fullmatch(parameter):
            return media_range, 1000 if parameter[2] == "1" else int((found[1] or "").ljust(3, "0"))
    return media_range, 1000


def _rank(media_type: str, media_range: tuple[str, int], place: int) -> tuple[int, int, int]:
    """(weight, how precisely the range names the type, minus its place); weight 0 where it does not name it."""
    name, weight = media_range
    for precision, pattern in enumerate(("*/*", media_type.partition("/")[0] + "/*", media_type), 1):
        if name == pattern:
            return weight, precision, -place
    return 0, 0, -place


def _precision(rank: tuple[int, int, int]) -> tuple[int, int]:
    """Of the ranges that name a type the most precise decides, of equal ones the first."""
    return rank[1:]
