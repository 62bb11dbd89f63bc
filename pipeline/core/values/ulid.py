"""ULIDs: 26 characters that sort by time, made purely from an instant and a seed.

Owns: their form (Crockford's base 32, upper case). Does not own: what is named by them, clock or chance.
Source: github.com/ulid/spec.
"""

from __future__ import annotations

import re
from hashlib import blake2b

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SHAPE = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII | re.IGNORECASE).fullmatch
_CHARACTERS = 26
_SEED_BYTES = 10
_MOST_MS = (1 << 48) - 1


def make(at_ms: int, seed: str) -> str:
    """The ULID of an instant (ms since 1970) and a seed: the same for the same, another for another."""
    low = int.from_bytes(blake2b(seed.encode(), digest_size=_SEED_BYTES).digest())
    number = min(max(at_ms, 0), _MOST_MS) << (8 * _SEED_BYTES) | low
    return "".join(_DIGITS[number >> shift & 31] for shift in range(5 * (_CHARACTERS - 1), -1, -5))


def is_ulid(text: str) -> bool:
    """Whether `text` could be one, in either case."""
    return _SHAPE(text) is not None
