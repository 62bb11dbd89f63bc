"""ULIDs: 26 characters that sort by time, made purely from an instant and a seed.

Owns: their form (Crockford's base 32, upper case). Does not own: what is named by them, clock or chance.
Source: github.com/ulid/spec.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SHAPE = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII | re.IGNORECASE).fullmatch
_CHARACTERS = 26
_TIME_CHARACTERS = 10
_SEED_BYTES = 10
_PLAIN = str.maketrans(_DIGITS, "0123456789ABCDEFGHIJKLMNOPQRSTUV")  # as int() reads base 32
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]
_TIME_SHIFTS = range(5 * (_TIME_CHARACTERS - 2), -1, -10)
_SEED_SHIFTS = range(5 * (_CHARACTERS - _TIME_CHARACTERS - 2), -1, -10)
_TIMES_KEPT = 1 << 10
_MOST_MS = (1 << 48) - 1


def make(at_ms: int, seed: str) -> str:
    """The ULID of an instant (ms since 1970) and a seed: the same for the same, another for another."""
    low = int.from_bytes(blake2b(seed.encode(), digest_size=_SEED_BYTES).digest())
    return _time_text(at_ms) + "".join([_PAIRS[low >> shift & 1023] for shift in _SEED_SHIFTS])


@lru_cache(_TIMES_KEPT)
def _time_text(at_ms: int) -> str:
    """The first characters. A record names many things by its time."""
    number = min(max(at_ms, 0), _MOST_MS)
    return "".join([_PAIRS[number >> shift & 1023] for shift in _TIME_SHIFTS])


def at_ms(id: str) -> int:
    """The instant of a ULID that `make` made, in ms since 1970."""
    return int(id[:_TIME_CHARACTERS].translate(_PLAIN), 32)


def is_ulid(text: str) -> bool:
    """Whether `text` could be one, in either case."""
    return _SHAPE(text) is not None
