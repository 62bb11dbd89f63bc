"""Records that no producer of good will sends: each has a fate that the recount agrees with, and blocks nothing.

Owns: their bytes and headers. Does not own: sending (storm).
"""

from __future__ import annotations

import json
from collections.abc import Callable

Headers = list[tuple[str, bytes | None]]
Poison = tuple[bytes | None, Headers]

STRUCTURED: Headers = [("content-type", b"application/cloudevents+json")]
BOMB_BYTES = 100_000_000
_GOOD = {
    "specversion": "1.0",
    "id": "poison",
    "source": "/poison",
    "type": "api.request",
    "subject": "poison",
}


def _huge() -> Poison:
    """A valid event of 1.5 MB: over the limit of 1 MiB."""
    return json.dumps(_GOOD | {"data": {"method": "x" * 1_500_000}}).encode(), STRUCTURED


def _bomb() -> Poison:
    """100 MB of zeros, a few KB on the wire."""
    return bytes(BOMB_BYTES), STRUCTURED


def _batch() -> Poison:
    """Batch mode, which Kafka's binding does not have."""
    return json.dumps([_GOOD, _GOOD]).encode(), [("content-type", b"application/cloudevents-batch+json")]


def _unparsable() -> Poison:
    return b"\x00\xff" * 500 + b'{"specversion":"1.0"', STRUCTURED


def _headers() -> Poison:
    """No value, headers that are not text, and our own names among them."""
    ours: Headers = [("tallymark_offset", b"-7"), ("tallymark_namespace", None), ("ce_id", b"\xff\xfe")]
    return None, [*ours, *((f"h{number}", b"\x80" * 100) for number in range(200))]


def _deep() -> Poison:
    return b'{"specversion":' * 100_000, STRUCTURED


def _digits() -> Poison:
    """A valid event whose number is beyond every limit of int() and float(): counted by COUNT, refused by AVG."""
    good = json.dumps(_GOOD).encode()
    return good[:-1] + b',"data":{"duration_ms":' + b"9" * 400_000 + b"}", STRUCTURED


KINDS: dict[str, Callable[[], Poison]] = {
    "huge": _huge,
    "bomb": _bomb,
    "batch": _batch,
    "unparsable": _unparsable,
    "headers": _headers,
    "deep": _deep,
    "digits": _digits,
}
