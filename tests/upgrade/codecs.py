"""How each kind of stored value is read and written by the code that is here.

Owns: which kind a key of a stage's table is, and the codec of a kind. Does not own: the recorded values (state.json).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from pipeline.agents.aggregate import CLOSED_BEFORE
from pipeline.agents.barriers import LEAST_REVISION
from pipeline.core.billing import stripe_bills, stripe_rows
from pipeline.core.billing.stripe_invoice import StripeInvoice
from pipeline.core.bills import (
    bill_rows,
    closed_invoices,
    credit_rows,
    group_rows,
    stored_group,
    usage_rows,
)
from pipeline.core.definitions.idempotency import DoneCommand
from pipeline.core.invoices import number_table
from pipeline.core.invoices.numbering import NumberRow
from pipeline.core.metering import window_state
from pipeline.core.metering.dedupe import pack_entries, unpack_entries
from pipeline.core.metering.identity import IDENTITY_BYTES
from pipeline.core.notifications import delivery_table, fired_rows, volume_alerts
from pipeline.core.notifications.threshold import FiredThresholds, WarnedGrants
from pipeline.core.quota import balance_update
from pipeline.core.quota.account_usage import HourRow, MinuteRow
from pipeline.core.quota.balance_state import HEAD, TRAIL_KEY, BalanceHead, Trail
from pipeline.records import Definition, Delivery

ACCOUNT_BYTES = 17  # of the keys of an account
LOCK_KEY_BYTES = 9  # of a backfill's own keys: a letter and its meter's id


class Codec(NamedTuple):
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]


def _msgpack(shape: Any) -> Codec:
    return Codec(msgspec.msgpack.Decoder(shape).decode, msgspec.msgpack.Encoder().encode)


def _json(shape: Any) -> Codec:
    return Codec(msgspec.json.Decoder(shape).decode, msgspec.json.Encoder().encode)


def _entries(pairs: Any) -> bytes:
    return pack_entries([(bytes(identity), bytes(entry)) for identity, entry in pairs])


def _packed(format: str) -> Codec:
    """A row of fixed places. What reads them is private to its module, so their layout is repeated here."""
    layout = struct.Struct(format)
    return Codec(layout.unpack, lambda values: layout.pack(*values))


def _packed_each(format: str) -> Codec:
    """Rows of fixed places, one after the other."""
    layout = struct.Struct(format)
    return Codec(
        lambda value: list(layout.iter_unpack(value)),
        lambda rows: b"".join(layout.pack(*row) for row in rows),
    )


TEXT = Codec(bytes.decode, str.encode)
INSTANT, EMPTY = _packed(">Q"), _packed("")
CODECS: Mapping[str, Codec] = {
    "aggregate window": Codec(window_state.decode_state, window_state.encode_state),
    "aggregate member": Codec(window_state.decode_first, window_state.encode_first),
    "aggregate refused": Codec(window_state.decode_places, window_state.encode_places),
    "aggregate closed-before": _packed(">q"),
    "aggregate least-revision": _packed(">q"),
    "alert least-revision": _packed(">q"),
    "stripe-sync least-revision": _packed(">q"),
    "attribute least-revision": _packed(">q"),
    "billing least-revision": _packed(">q"),
    "dedupe entry": _packed(">qI8sq"),
    "alert due": INSTANT,
    "alert called": EMPTY,
    "alert gone": INSTANT,
    "alert log": _packed_each(">B16s"),
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
    "alert resets": _msgpack(list[fired_rows.FiredReset]),
    "alert volume": _msgpack(volume_alerts.VolumeRow),
    "alert parts": _msgpack(dict[bytes, tuple[int, str]]),
    "webhook delivery": _json(Delivery),
    "webhook endpoint": _json(delivery_table.Health),
    "webhook message": TEXT,
    "webhook active": TEXT,
    "control definition": _json(Definition),
    "control own": _json(Definition),
    "control answer": _json(DoneCommand),
    "control newest-answer": TEXT,
    "backfill lock": _msgpack(tuple[int, int]),
    "backfill queue": _msgpack(list[tuple[int, bytes]]),
    "backfill window": Codec(window_state.decode_state, window_state.encode_state),
    "backfill member": Codec(window_state.decode_first, window_state.encode_first),
    "backfill refused": Codec(window_state.decode_places, window_state.encode_places),
    "stripe-sync partition": _msgpack(stripe_rows.PartitionRow),
    "stripe-sync account": _msgpack(stripe_rows.AccountRow),
    "stripe-sync minute": _msgpack(MinuteRow),
    "stripe-sync hour": _msgpack(HourRow),
    "stripe-sync window": _msgpack(stripe_rows.WindowRow),
    "stripe-sync group": _msgpack(stripe_rows.GroupRow),
    "stripe-sync due": TEXT,
    "stripe-sync request": _msgpack(stripe_rows.RequestRow),
    "stripe-sync refused": _msgpack(stripe_rows.RefusedRow),
    "stripe-sync identifier": _msgpack(stripe_rows.IdentifierRow),
    "stripe-sync seeded": _msgpack(stripe_rows.SeededRow),
    "stripe-sync bill-lane": _msgpack(stripe_bills.BillLane),
    "stripe-sync invoice": _msgpack(StripeInvoice),
    "stripe-sync billing": TEXT,
    "billing position": _json(bill_rows.BillPosition),
    "billing head": _json(bill_rows.CustomerHead),
    "billing subscription": _json(bill_rows.DocumentRow),
    "billing invoice": _json(bill_rows.InvoiceRow),
    "billing closed-invoice": _json(closed_invoices.ClosedInvoice),
    "billing invoice-settings": _json(closed_invoices.InvoiceSettings),
    "billing group": Codec(
        msgspec.json.Decoder(stored_group.StoredGroup).decode,
        lambda group: msgspec.json.encode(stored_group.shortest(group)),
    ),
    "billing line-place": _json(stored_group.LinePlace),
    "billing line-wording": _json(stored_group.LineWording),
    "billing references": _json(bill_rows.ReferencesRow),
    "billing metered": _json(bill_rows.MeteredRow),
    "billing credit": _json(bill_rows.DocumentRow),
    "billing credit-account": _json(credit_rows.CreditAccountRow),
    "billing booked": _json(credit_rows.InvoiceBookedRow),
    "billing due": _packed(">QQ"),
    "billing command": _json(DoneCommand),
    "billing command-end": TEXT,
    "billing result": _json(bill_rows.ResultRow),
    "billing usage-directory": _msgpack(usage_rows.DirectoryRow),
    "billing usage-day": _msgpack(usage_rows.UsageDayRow),
    "billing usage-hour": _msgpack(usage_rows.UsageHourRow),
    "billing usage-minute": _msgpack(usage_rows.UsageCell),
    "billing usage-part": _msgpack(usage_rows.PartRow),
    "billing usage-segment": _msgpack(usage_rows.SegmentRow),
    "billing usage-member": _msgpack(usage_rows.MemberRow),
    "billing usage-purged": _msgpack(usage_rows.PurgedRow),
    "billing usage-loaded": _msgpack(usage_rows.LoadedRow),
    "numbering last": _msgpack(int),
    "numbering number": _msgpack(NumberRow),
    "dedupe changelog": Codec(lambda value: list(unpack_entries(value)), _entries),
}
_OF_WINDOW = {b"w": "window", b"m": "member", b"r": "refused"}
_OF_ACCOUNT = {
    HEAD: "head",
    TRAIL_KEY: "trail",
    b"m": "minute",
    b"h": "hour",
    b"u": "member",
    b"l": "log",
}
_OF_ALERT = {
    balance_update.DUE: "due",
    balance_update.SEEDED: "seeded",
    balance_update.LATEST: "latest",
    balance_update.CALLED: "called",
    fired_rows.MARKS: "thresholds",
    fired_rows.WARNED: "warned",
    fired_rows.OPEN: "open",
    fired_rows.RESETS: "resets",
    volume_alerts.VOLUME: "volume",
    volume_alerts.PARTS: "parts",
    volume_alerts.GONE: "gone",
}
_OF_WEBHOOK = {
    delivery_table.DELIVERY: "delivery",
    delivery_table.MESSAGE: "message",
    delivery_table.ACTIVE: "active",
    delivery_table.ENDPOINT: "endpoint",
}
_OF_STRIPE = {
    stripe_rows.PARTITION: "partition",
    stripe_rows.ACCOUNT: "account",
    stripe_rows.WINDOW: "window",
    stripe_rows.GROUP: "group",
    stripe_rows.DUE: "due",
    stripe_rows.REQUEST: "request",
    stripe_rows.REFUSED: "refused",
    stripe_rows.IDENTIFIER: "identifier",
    stripe_rows.SEEDED: "seeded",
    stripe_bills.LANE: "bill-lane",
    stripe_bills.INVOICE: "invoice",
    stripe_rows.BILLING: "billing",
}
_OF_BILLING = {
    bill_rows.POSITION: "position",
    bill_rows.HEAD: "head",
    bill_rows.SUBSCRIPTION: "subscription",
    bill_rows.INVOICE: "invoice",
    closed_invoices.CLOSED: "closed-invoice",
    closed_invoices.SETTINGS: "invoice-settings",
    group_rows.GROUP: "group",
    group_rows.PLACE: "line-place",
    group_rows.WORDING: "line-wording",
    bill_rows.REFERENCES: "references",
    bill_rows.METERED: "metered",
    bill_rows.DUE: "due",
    bill_rows.DONE: "command",
    bill_rows.DONE_END: "command-end",
    bill_rows.RESULT: "result",
    bill_rows.CREDIT: "credit",
    bill_rows.CREDIT_ACCOUNT: "credit-account",
    bill_rows.BOOKED: "booked",
    usage_rows.PURGED: "usage-purged",
    usage_rows.LOADED: "usage-loaded",
}
_OF_USAGE = {
    b"a": "usage-directory",
    b"b": "usage-segment",
    b"d": "usage-day",
    b"h": "usage-hour",
    b"m": "usage-minute",
    b"p": "usage-part",
    b"l": "usage-segment",
    b"u": "usage-member",
}
_OF_NUMBERING = {number_table.LAST: "last", number_table.NUMBER: "number"}
_OF_AGENT = {CLOSED_BEFORE: "closed-before", LEAST_REVISION: "least-revision"}


def _of_alert(key: bytes) -> str | None:
    if key[:1] == b"a":
        return _OF_ACCOUNT.get(key[ACCOUNT_BYTES : ACCOUNT_BYTES + 1])
    return _OF_ALERT.get(key[:1])


def _of_control(key: bytes) -> str:
    if key.startswith(b"/done/"):
        return "answer"
    if key == b"/newest-answer":
        return "newest-answer"
    return "own" if key[:1] == b"/" else "definition"


def _of_backfill(key: bytes) -> str | None:
    if key[:1] == b"W":
        return _OF_WINDOW.get(key[LOCK_KEY_BYTES + 4 : LOCK_KEY_BYTES + 5])
    return {b"L": "lock", b"Q": "queue"}.get(key[:1])


def _of_stripe(key: bytes) -> str | None:
    if key[:1] == stripe_rows.USAGE:
        place = 1 + stripe_rows.ACCOUNT_BYTES
        return {b"m": "minute", b"h": "hour"}.get(key[place : place + 1])
    return _OF_STRIPE.get(key[:1])


def _of_billing(key: bytes) -> str | None:
    if key[:1] == usage_rows.USAGE:
        place = len(usage_rows.AccountDay(bytes(usage_rows.CUSTOMER_BYTES), 0, 0).key)
        return _OF_USAGE.get(key[place : place + 1])
    return _OF_BILLING.get(key[:1])


_OF_STAGE: Mapping[str, Callable[[bytes], str | None]] = {
    "dedupe": lambda key: "entry" if len(key) == IDENTITY_BYTES else None,
    "aggregate": lambda key: _OF_WINDOW.get(key[4:5]),
    "alert": _of_alert,
    "webhook": lambda key: _OF_WEBHOOK.get(key[:2]),
    "control": _of_control,
    "backfill": _of_backfill,
    "stripe-sync": _of_stripe,
    "billing": _of_billing,
    "numbering": lambda key: _OF_NUMBERING.get(key[:1]),
}


def kind_of(stage: str, key: bytes) -> str:
    """The kind of a stored value by its key. Raises LookupError where it has none: give it one, and a golden."""
    found = _OF_AGENT.get(key) or _OF_STAGE.get(stage, lambda _: None)(key)
    kind = f"{stage} {found}"
    if found is None or kind not in CODECS:
        raise LookupError(f"a value of the table of {stage} is of no known kind; its key is {key!r}")
    return kind


def plain(value: Any) -> Any:
    """A decoded value as JSON can hold it: array records by position, bytes in hex, and such mappings as pairs."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value))
    if isinstance(value, msgspec.Struct):
        members = [plain(getattr(value, name)) for name in value.__struct_fields__]
        config = value.__struct_config__
        if config.array_like:
            return members
        named = zip(value.__struct_encode_fields__, members, strict=True)
        return {name: member for name, member in named if member is not msgspec.UNSET}
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
