"""How each kind of stored value is read and written by the code that is here.

Owns: which kind a key of a stage's table is, and the codec of a kind. Does not own: the recorded values (state.json).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from pipeline.core.metering import window_state
from pipeline.core.metering.dedupe import pack_entries, unpack_entries
from pipeline.core.notifications import balance_alerts, delivery_table, volume_alerts
from pipeline.core.notifications.threshold import FiredThresholds, WarnedGrants
from pipeline.core.quota import balance_update
from pipeline.core.quota.account_usage import HourRow, MinuteRow
from pipeline.core.quota.balance_state import HEAD, TRAIL_KEY, BalanceHead, Trail
from pipeline.records import Definition, Delivery

ACCOUNT_BYTES = 17  # of the keys of an account
FUNCTIONS = b"\xff"  # keys that begin so hold what the agents themselves keep of a partition


class Codec(NamedTuple):
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]


def _msgpack(shape: Any) -> Codec:
    return Codec(msgspec.msgpack.Decoder(shape).decode, msgspec.msgpack.Encoder().encode)


def _json(shape: Any) -> Codec:
    return Codec(msgspec.json.Decoder(shape).decode, msgspec.json.Encoder().encode)


def _entries(pairs: Any) -> bytes:
    return pack_entries([(bytes(identity), bytes(entry)) for identity, entry in pairs])


TEXT = Codec(bytes.decode, str.encode)
CODECS: Mapping[str, Codec] = {
    "aggregate window": Codec(window_state.decode_state, window_state.encode_state),
    "aggregate member": Codec(window_state.decode_first, window_state.encode_first),
    "aggregate refused": Codec(window_state.decode_places, window_state.encode_places),
    "alert head": _msgpack(BalanceHead),
    "alert trail": _msgpack(Trail),
    "alert minute": _msgpack(MinuteRow),
    "alert hour": _msgpack(HourRow),
    "alert member": _msgpack(list[int]),
    "alert seeded": TEXT,
    "alert latest": TEXT,
    "alert thresholds": _msgpack(FiredThresholds | None),
    "alert warned": _msgpack(WarnedGrants),
    "alert open": _msgpack(list[str]),
    "alert resets": _msgpack(list[balance_alerts.FiredReset]),
    "alert volume": _msgpack(volume_alerts.VolumeRow),
    "alert parts": _msgpack(dict[bytes, tuple[int, str]]),
    "webhook delivery": _json(Delivery),
    "webhook endpoint": _json(delivery_table.Health),
    "control definition": _json(Definition),
    "control own": _json(Definition),
    "backfill lock": _msgpack(tuple[int, int]),
    "backfill queue": _msgpack(list[tuple[int, bytes]]),
    "dedupe changelog": Codec(lambda value: list(unpack_entries(value)), _entries),
}
_OF_ACCOUNT = {HEAD: "head", TRAIL_KEY: "trail", b"m": "minute", b"h": "hour", b"u": "member"}
_OF_ALERT = {
    balance_update.SEEDED: "seeded",
    balance_update.LATEST: "latest",
    balance_alerts.MARKS: "thresholds",
    balance_alerts.WARNED: "warned",
    balance_alerts.OPEN: "open",
    balance_alerts.RESETS: "resets",
    volume_alerts.VOLUME: "volume",
    volume_alerts.PARTS: "parts",
}


def kind_of(stage: str, key: bytes) -> str:
    """The kind of a stored value by its key; empty where it has no codec of its own."""
    if key[:1] == FUNCTIONS:
        return ""
    found: str | None = None
    if stage == "aggregate":
        found = {b"w": "window", b"m": "member", b"r": "refused"}.get(key[4:5])
    elif stage == "alert" and key[:1] == b"a":
        found = _OF_ACCOUNT.get(key[ACCOUNT_BYTES : ACCOUNT_BYTES + 1])
    elif stage == "alert":
        found = _OF_ALERT.get(key[:1])
    elif stage == "webhook":
        found = {delivery_table.DELIVERY: "delivery", delivery_table.ENDPOINT: "endpoint"}.get(key[:2])
    elif stage == "control":
        found = "own" if key[:1] == b"/" else "definition"
    elif stage == "backfill":
        found = {b"L": "lock", b"Q": "queue"}.get(key[:1])
    return f"{stage} {found}" if found else ""


def plain(value: Any) -> Any:
    """A decoded value as JSON can hold it: array records by position, bytes in hex, and such mappings as pairs."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, msgspec.Struct):
        members = [plain(getattr(value, name)) for name in value.__struct_fields__]
        config = value.__struct_config__
        return (
            members if config.array_like else dict(zip(value.__struct_encode_fields__, members, strict=True))
        )
    if isinstance(value, dict):
        if all(isinstance(name, str) for name in value):
            return {name: plain(member) for name, member in value.items()}
        return [[plain(name), plain(member)] for name, member in value.items()]
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


def agrees(found: Any, recorded: Any) -> bool:
    """Whether all that was recorded is found: array records may be longer at the end, objects have more members."""
    if isinstance(recorded, list) and isinstance(found, list):
        return len(found) >= len(recorded) and all(map(agrees, found, recorded))
    if isinstance(recorded, dict) and isinstance(found, dict):
        return all(name in found and agrees(found[name], member) for name, member in recorded.items())
    return bool(found == recorded)
