"""The state of one minute window of one meter: its key, its bytes, how it grows.

Owns: the key layout, the value layout, folding of values, and the mark of the last input that a state took.
Does not own: which events reach a window (aggregate), or where states are kept (engine).
Keys start with the minute, so that what has expired is found by a scan from the front.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

import msgspec

from pipeline.core.values import number
from pipeline.core.values.time_window import MINUTE_S

_WINDOW = struct.Struct(">Ic")
_MEMBER = struct.Struct(">Ic16s16s")
_FIRST = struct.Struct(">q")
_REFUSED = struct.Struct(">Ic16sq")
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
SUMMED = frozenset({"SUM", "AVG"})  # the only totals that can outgrow their limit
WHOLE = frozenset({"COUNT", "UNIQUE_COUNT"})  # values are whole numbers, not atto
_WHOLE: tuple[Callable[[int], str], Callable[[str], int]] = (str, int)
_ATTO = (number.text, number.exact)
_TEXT = {
    aggregation: _WHOLE if aggregation in WHOLE else _ATTO for aggregation in FOLD
}  # its writer and reader
_fits = number.fits


class WindowState(msgspec.Struct, array_like=True, gc=False):
    """The stored state of a window, as msgpack. New fields go to the end, so that old values decode for ever.

    position: offset of the last input record applied. count: events. value and change (its difference to the value
    before that record) are plain decimal text, as emitted, so that a replay emits the same. order: of LATEST.
    """

    position: int
    received_at_ms: int
    count: int
    value: str
    change: str
    order: str = ""


encode_state = msgspec.msgpack.Encoder().encode
decode_state = msgspec.msgpack.Decoder(WindowState).decode
encode_places = encode_state  # places of events in their record
decode_places = msgspec.msgpack.Decoder(list[int]).decode


def advance(
    aggregation: str, before: WindowState | None, cell: list[Any], position: int
) -> WindowState | None:
    """The state of a window after a record.

    Args:
        aggregation: of the meter.
        before: the state; None for a new window.
        cell: what the record brings: number of events, newest received_at_ms, folded value (see GATHER).
        position: the record's offset.

    Returns:
        None if the total would not fit 38 digits.

    >>> first = advance("SUM", None, [2, 1_000, 5 * 10**18], position=7)
    >>> advance("SUM", first, [1, 2_000, 10**18 // 2], position=8)
    WindowState(position=8, received_at_ms=2000, count=3, value='5.5', change='0.5', order='')
    """
    count, received_at_ms, value = cell
    write, read = _TEXT[aggregation]
    arrival = ""
    if aggregation == "LATEST":
        arrival, value = order(*value[0]), value[1]
    if before is None:
        if not _fits(value):
            return None
        text = write(value)
        return WindowState(position, received_at_ms, count, text, text, arrival)
    old = read(before.value)
    if aggregation == "LATEST":
        arrival, value = max((arrival, value), (before.order, old))
    else:
        value = FOLD[aggregation](old, value)
    if not _fits(value):
        return None
    received_at_ms = max(received_at_ms, before.received_at_ms)
    return WindowState(
        position, received_at_ms, count + before.count, write(value), write(value - old), arrival
    )


def identities(
    namespace: str, meter_id: int, names: tuple[str, ...], at: Iterable[tuple[int, str, tuple[str, ...]]]
) -> list[bytes]:
    """The identities of the windows of one minute; no two of them collide. Names are sorted.

    at: minute, subject and the values of `names`.
    """
    if not names:
        return [_identity((namespace, meter_id, subject)) for _, subject, _ in at]
    return [_identity((namespace, meter_id, subject, names, values)) for _, subject, values in at]


def window_keys(at: Iterable[tuple[int, str, tuple[str, ...]]], identities_: list[bytes]) -> list[bytes]:
    """Keys of windows. at: minute (since 1970), and what `identities` took."""
    pack = _WINDOW.pack
    return [pack(where[0], b"w") + identity for where, identity in zip(at, identities_, strict=True)]


def member_keys(minute: int, identity_: bytes, digests: Iterable[bytes]) -> list[bytes]:
    """Keys of UNIQUE_COUNT members of one window; digests: of `member_digest`."""
    pack, window = _MEMBER.pack, blake2b(identity_, digest_size=16).digest()
    return [pack(minute, b"m", window, digest) for digest in digests]


def refused_key(minute: int, identity_: bytes, position: int) -> bytes:
    """Key of the events of one record that a full window did not take."""
    return _REFUSED.pack(minute, b"r", blake2b(identity_, digest_size=16).digest(), position)


def key_start_s(key: bytes) -> int:
    """Start of the window that a key of any kind belongs to, in seconds since 1970."""
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
