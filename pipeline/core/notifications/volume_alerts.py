"""The volume of a meter in a window: told once a window and customer, when it goes above a rule's limit.

Owns: which windows count for a rule, the volume in state, the alert. Does not own: rules' definitions (rule), when a
volume crosses (threshold). Windows of a rule are whole minutes, hours or days of UTC; usage of a customer counts with
or without an entitlement.

A rule counts what comes while it is in force, and windows that end after it was made. Minute windows are absolute
and carry a revision: what counts is the difference to what was seen of them, so one that comes twice, or late, or out
of a replay or from ClickHouse, counts once.

In the state, by instant, so that what is over is found at the front:
    v + end of the window (u32, minutes) + digest of (rule, customers.customer)   Row
    w + minute (u32, minutes) + digest of (rule, customers.customer)              {part: (revision, value)}
    x                                                                   windows before it (u64, s) have gone
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, cast

import msgspec

from pipeline.core.definitions.kinds import RULE
from pipeline.core.notifications import rule, threshold
from pipeline.core.notifications.threshold import Volume
from pipeline.core.quota.account_usage import change_of
from pipeline.core.quota.balance import KEEP_S
from pipeline.core.values import number, timestamp, ulid
from pipeline.core.values.calendar import DAY_S, HOUR_S, MINUTE_S
from pipeline.core.values.table import ScannedTable, Table
from pipeline.records import Alert, CustomerWindow, Definition, Window

VOLUME, PARTS, GONE = b"v", b"w", b"x"
SIZES_S = {"MINUTE": MINUTE_S, "HOUR": HOUR_S, "DAY": DAY_S}
SWEPT_ROWS = 2_000  # of a kind, at once
Body = Mapping[str, object]
Customer = Callable[[str, str], Body | None]  # namespace, id -> its body

_at = struct.Struct(">cI")
_seconds = struct.Struct(">Q")
_encode = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


class Row(msgspec.Struct, array_like=True, frozen=True):
    """A window's volume; of one that has crossed, what was told: the value, its subject, the event (source, id)."""

    volume: Volume
    value: str = ""
    subject: str = ""
    event: tuple[str, str] | None = None


_row = msgspec.msgpack.Decoder(Row).decode
_parts = msgspec.msgpack.Decoder(dict[bytes, tuple[int, str]]).decode


class Watch(NamedTuple):
    """A rule, compiled. customers: None for all. made_s: windows that ended by then are not its."""

    body: Body
    id: str
    size_s: int
    limit: int
    customers: frozenset[str] | None
    group_by: tuple[tuple[str, str], ...]
    made_s: int

    def takes(self, customer: str, window: Window) -> bool:
        """Whether a minute window of the rule's meter counts."""
        if self.customers is not None and customer not in self.customers:
            return False
        if self.start_s(window) + self.size_s <= self.made_s:
            return False
        return all(window.dimensions.get(name, "") == value for name, value in self.group_by)

    def start_s(self, window: Window) -> int:
        """The rule's window in which a minute lies."""
        return window.start_s // self.size_s * self.size_s


class VolumeRules:
    """The rules of this type that are on, by the meter that they watch."""

    def __init__(self) -> None:
        self._rules: dict[tuple[str, str], Watch] = {}  # namespace, id
        self._of_meter: dict[tuple[str, str], list[Watch]] = {}  # namespace, slug

    def update(self, changes: Mapping[str, Definition | None]) -> None:
        """Takes what was read from `control`."""
        touched = False
        for definition in changes.values():
            body = None if definition is None or definition.kind != RULE else definition.body
            if definition is None or body is None or body["type"] != rule.VOLUME:
                continue
            touched = True
            if rule.is_on(body):
                self._rules[definition.namespace, definition.name] = watch_of(body)
            else:
                self._rules.pop((definition.namespace, definition.name), None)
        if touched:
            self._of_meter = {}
            for (namespace, _), watch in sorted(self._rules.items(), key=lambda one: one[0]):
                self._of_meter.setdefault((namespace, str(watch.body["meterSlug"])), []).append(watch)

    def of(self, namespace: str, meter: str) -> Sequence[Watch]:
        """The rules about a meter (slug), by id."""
        return self._of_meter.get((namespace, meter), ())


def watch_of(body: Body) -> Watch:
    """A rule of type VOLUME as it stands on the log."""
    customers = cast(list[str] | None, body.get("customers"))
    group_by = cast(Mapping[str, str], body.get("groupBy") or {})
    return Watch(
        body,
        str(body["id"]),
        SIZES_S[str(body["windowSize"])],
        number.exact(str(body["limit"])),
        None if customers is None else frozenset(customers),
        tuple(group_by.items()),
        timestamp.ms_of(str(body["createdAt"])) // 1000,
    )


class _Group(NamedTuple):
    """What a record brings to one window of a rule and customer."""

    watch: Watch
    customer: str
    start_s: int
    windows: list[Window]

    @property
    def digest(self) -> bytes:
        return blake2b(_encode((self.watch.id, self.customer)), digest_size=16).digest()

    def row_key(self) -> bytes:
        return _at.pack(VOLUME, (self.start_s + self.watch.size_s) // MINUTE_S) + self.digest

    def parts_key(self, minute_s: int) -> bytes:
        return _at.pack(PARTS, minute_s // MINUTE_S) + self.digest


def tell_volumes(
    table: Table,
    windows: Iterable[CustomerWindow],
    rules: VolumeRules,
    customers: Customer,
    position: int,
    at_ms: int,
) -> list[Alert]:
    """What the record at `position` makes known of volumes. at_ms: the broker's time of the record.

    A record that was taken changes nothing again and says the same again.
    """
    groups: dict[tuple[str, str, int], _Group] = {}
    gone_s: int | None = None
    for customer, window in ((one.customer, one.window) for one in windows):
        for watch in rules.of(window.namespace, window.meter):
            if not watch.takes(customer, window):
                continue
            if gone_s is None:
                gone_s = max(_gone_s(table), at_ms // 1000 - KEEP_S)
            if window.start_s >= gone_s:
                start_s = watch.start_s(window)
                group = groups.setdefault((watch.id, customer, start_s), _Group(watch, customer, start_s, []))
                group.windows.append(window)
    found = (_tell(table, group, customers, position, at_ms) for group in groups.values())
    return [alert for alert in found if alert is not None]


def _tell(table: Table, group: _Group, customers: Customer, position: int, at_ms: int) -> Alert | None:
    (stored,) = table.get_many([group.row_key()])
    row = None if stored is None else _row(stored)
    if row is None or position > row.volume.position:
        brought, change = _take(table, group)
        before = 0 if row is None else number.exact(row.volume.total)
        volume, crosses = threshold.volume(
            None if row is None else row.volume, change, group.watch.limit, position
        )
        if crosses:
            window, event = _crossing(brought or [(group.windows[-1], 0)], group.watch.limit - before)
            row = Row(volume, volume.total, window.subject, event)
        else:
            row = Row(volume) if row is None else msgspec.structs.replace(row, volume=volume)
        if brought or crosses:
            table.put(group.row_key(), _encode(row))
    return _alert(group, row, customers, at_ms) if row.volume.fired_at == position else None


def _take(table: Table, group: _Group) -> tuple[list[tuple[Window, int]], int]:
    """Counts the windows; gives those that changed something, each with its change, and the change in all."""
    minutes = sorted({window.start_s for window in group.windows})
    stored = table.get_many([group.parts_key(minute_s) for minute_s in minutes])
    rows = {
        minute_s: {} if value is None else _parts(value)
        for minute_s, value in zip(minutes, stored, strict=True)
    }
    brought: list[tuple[Window, int]] = []
    for window in group.windows:
        change, parts = change_of(window), rows[window.start_s]
        before = parts.get(change.part)
        if before is not None and before[0] >= change.revision:
            continue
        parts[change.part] = (change.revision, number.text(change.value))
        brought.append((window, change.value - (0 if before is None else number.exact(before[1]))))
    for minute_s in {window.start_s for window, _ in brought}:
        table.put(group.parts_key(minute_s), _encode(rows[minute_s]))
    return brought, sum(change for _, change in brought)


def _crossing(brought: Sequence[tuple[Window, int]], room: int) -> tuple[Window, tuple[str, str] | None]:
    """The window and event with which no room was left; of a window without events, the window alone."""
    last = brought[-1][0]
    for window, change in brought:
        if sum(number.exact(value or "0") for _, _, value in window.events) != change:
            room -= change  # its events are not known, or not all of them
            if room < 0:
                return window, window.events[-1][:2] if window.events else None
            continue
        for source, id, value in window.events:
            room -= number.exact(value)
            if room < 0:
                return window, (source, id)
    return last, last.events[-1][:2] if last.events else None


def _alert(group: _Group, row: Row, customers: Customer, at_ms: int) -> Alert:
    watch, customer, window = group.watch, group.customer, group.windows[0]
    from_, to = _text(group.start_s), _text(group.start_s + watch.size_s)
    id = ulid.make(at_ms, _json((window.namespace, watch.id, customer, group.start_s)).decode())
    data: dict[str, Any] = {
        "meter": {"slug": watch.body["meterSlug"]},
        "customer": customers(window.namespace, customer) or {"id": customer},
        "subject": {"key": row.subject},
        "window": {"size": watch.body["windowSize"], "from": from_, "to": to},
        "groupBy": dict(watch.group_by) or None,
        "limit": msgspec.Raw(number.text(watch.limit).encode()),
        "value": msgspec.Raw(row.value.encode()),
        "event": None if row.event is None else {"source": row.event[0], "id": row.event[1]},
    }
    payload = {"id": id, "type": rule.VOLUME, "timestamp": timestamp.text_of(at_ms), "data": data}
    return Alert(
        id=id,
        namespace=window.namespace,
        type=rule.VOLUME,
        rule=watch.id,
        at_ms=at_ms,
        endpoints=[str(one) for one in cast(list[str], watch.body["channels"])],
        payload=_json(payload).decode(),
        customer=customer,
        subject=row.subject,
        annotations={"window": from_},
    )


def sweep(table: ScannedTable, now_s: int) -> bool:
    """Lets some of what can no longer change go; whether nothing was left to go. Only committed rows are found."""
    gone_s = (now_s - KEEP_S) // HOUR_S * HOUR_S
    if gone_s <= 0:
        return True
    old = [*_old(table, VOLUME, gone_s), *_old(table, PARTS, gone_s)]
    for key in old:
        table.delete(key)
    if old and gone_s > _gone_s(table):
        table.put(GONE, _seconds.pack(gone_s))
    return not old


def _old(table: ScannedTable, kind: bytes, gone_s: int) -> list[bytes]:
    end = _at.pack(kind, gone_s // MINUTE_S)
    return [key for key, _ in table.scan(kind, SWEPT_ROWS) if key[:1] == kind and key < end]


def _gone_s(table: Table) -> int:
    (stored,) = table.get_many([GONE])
    return 0 if stored is None else int(_seconds.unpack(stored)[0])


def _text(at_s: int) -> str:
    return timestamp.text_of(at_s * 1000)
