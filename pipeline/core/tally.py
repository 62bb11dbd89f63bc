"""The state of one minute window of one meter: its key, its bytes, how it grows.

Owns: the key layout, the value layout, folding of values, and the mark of the last input that a state took.
Does not own: which events reach a window (aggregate), or where states are kept (engine).
Keys start with the minute, so that what has expired is found by a scan from the front.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec

from pipeline.core.window import MINUTE_S

_WINDOW = struct.Struct(">Ic")
_MEMBER = struct.Struct(">Ic16s16s")
_FIRST = struct.Struct(">q")
_MINUTE = struct.Struct(">I")
_identity = msgspec.msgpack.Encoder().encode

Fold = Callable[[Any, Any], Any]

FOLD: dict[str, Fold] = {
    "SUM": operator.add,
    "AVG": operator.add,
    "COUNT": operator.add,
    "MIN": min,
    "MAX": max,
    "LATEST": max,  # of (order, value)
    "UNIQUE_COUNT": operator.add,  # of the numbers of new members
}
GATHER: dict[str, Fold] = {**FOLD, "UNIQUE_COUNT": operator.ior}  # of values within a record: members as sets
WHOLE = frozenset({"COUNT", "UNIQUE_COUNT"})  # values are whole numbers, not atto


class State(msgspec.Struct, array_like=True, gc=False):
    """What is kept of a window, as msgpack. It only ever grows at the end, so that old ones decode for ever.

    position: the last input record applied. count: events. value and change (its difference to the one before
    that record) are plain decimal text, as emitted, so that a replay emits the same. order: of LATEST.
    """

    position: int
    received_at_ms: int
    count: int
    value: str
    change: str
    order: str = ""


encode_state = msgspec.msgpack.Encoder().encode
decode_state = msgspec.msgpack.Decoder(State).decode


def identity(
    namespace: str, meter_id: int, subject: str, names: tuple[str, ...], values: tuple[str, ...]
) -> bytes:
    """What tells the windows of one minute apart; no two of them collide. Names are sorted."""
    if not names:
        return _identity((namespace, meter_id, subject))
    return _identity((namespace, meter_id, subject, names, values))


def window_key(minute: int, identity_: bytes) -> bytes:
    """Key of a window. minute: since 1970."""
    return _WINDOW.pack(minute, b"w") + identity_


def member_key(minute: int, identity_: bytes, digest: bytes) -> bytes:
    """Key of one UNIQUE_COUNT member of a window; digest: `member_digest`."""
    return _MEMBER.pack(minute, b"m", blake2b(identity_, digest_size=16).digest(), digest)


def key_start_s(key: bytes) -> int:
    """Start of the window that a key of either kind belongs to, in seconds since 1970."""
    minute: int = _MINUTE.unpack_from(key)[0]
    return minute * MINUTE_S


def member_digest(text: str) -> bytes:
    """16 bytes that stand for a UNIQUE_COUNT member everywhere."""
    return blake2b(text.encode(), digest_size=16).digest()


def encode_first(position: int) -> bytes:
    """The value of a member key: where the member was first seen."""
    return _FIRST.pack(position)


def decode_first(value: bytes) -> int:
    first: int = _FIRST.unpack(value)[0]
    return first


def order(time_ns: int, received_at_ms: int, partition: int, offset: int) -> str:
    """Text that sorts as LATEST does: by time, then arrival."""
    return f"{time_ns:020d}{received_at_ms:015d}{partition:06d}{offset:020d}"
