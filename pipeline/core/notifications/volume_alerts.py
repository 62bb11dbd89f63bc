"""The volume of a meter in a window: an alert once a window and customer, when it reaches a rule's limit.

Owns: which windows count for a rule, the volume in state, the alert. Does not own: what a rule is (rule), when a
volume crosses (threshold), the envelope (webhook_payload). Windows of a rule are minutes, hours or days of the
customer's zone, of UTC where it has none; usage of a customer counts with or without an entitlement.

A rule counts usage that arrives while it is in force, in windows that end after it was created. Minute windows are
absolute and carry a revision: the difference to the stored value counts, so one that arrives twice, or late, or by a
replay or from ClickHouse, counts once. The volume of a window is always the sum of its stored minutes: when the
customer's zone changes, windows that began in another zone are summed again.

In the state, by instant, so that what has expired is at the front:
    v + end of the window (u32, minutes) + digest of (rule, customer)   VolumeRow
    w + minute (u32, minutes) + digest of (rule, customer)              {part: (revision, value)}
    x                                                                   windows before it (u64, s) were removed
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.changes import Changes
from pipeline.core.metering.meter import Meter
from pipeline.core.notifications import threshold
from pipeline.core.notifications.rule import VOLUME as VOLUME_TYPE
from pipeline.core.notifications.rule import Rule, VolumeRule
from pipeline.core.notifications.threshold import Volume
from pipeline.core.notifications.webhook_payload import payload
from pipeline.core.quota.account_usage import change_of
from pipeline.core.quota.balance_machine import KEEP_S
from pipeline.core.values import number, time_window, timestamp, ulid
from pipeline.core.values import zone as zones
from pipeline.core.values.calendar import DAY_S, HOUR_S, MINUTE_S
from pipeline.core.values.sweep import Swept
from pipeline.core.values.sweep import sweep as sweep_slice
from pipeline.core.values.table import KeyedBytes, ScannedBytes
from pipeline.records import Alert, CustomerWindow, Window

VOLUME, PARTS, GONE = b"v", b"w", b"x"
SIZES_S: dict[time_window.Size, int] = {"MINUTE": MINUTE_S, "HOUR": HOUR_S, "DAY": DAY_S}
SWEPT_ROWS = 2_000  # of a kind, at once
AHEAD_S = 2 * DAY_S  # events may lie so far in the future
FindCustomer = Callable[[str, str], Customer | None]  # by namespace and id

_at = struct.Struct(">cI")
_seconds = struct.Struct(">Q")
_encode = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


class VolumeRow(msgspec.Struct, array_like=True, frozen=True):
    """A window's volume.

    Args:
        volume: the total, and whether it has fired.
        value, subject, event: of a window that has fired: its volume then, the subject and the event (source, id).
        customer_at: the customer's `updatedAt` as of the newest record in it.
    """

    volume: Volume
    value: str = ""
    subject: str = ""
    event: tuple[str, str] | None = None
    customer_at: str = ""


_row = msgspec.msgpack.Decoder(VolumeRow).decode
_parts = msgspec.msgpack.Decoder(dict[bytes, tuple[int, str]]).decode


class VolumeWatch(NamedTuple):
    """A rule, compiled.

    Args:
        rule: its definition.
        id: of the rule.
        size: of its windows.
        limit: in atto.
        customers: ids; None for all.
        group_by: dimensions that usage must have.
        made_s: when it was created, in seconds since 1970: windows that had ended by then do not count.
        revision: of its definition.
    """

    rule: VolumeRule
    id: str
    size: time_window.Size
    limit: int
    customers: frozenset[str] | None
    group_by: tuple[tuple[str, str], ...]
    made_s: int
    revision: int

    def is_about(self, meter_id: int, ids: Iterable[int]) -> bool:
        """Whether a meter with the rule's slug is the one that had the slug when the rule was written.

        A rule that was stored without the meter's id is compared by revisions.

        Args:
            meter_id: of the meter: the revision of the definitions at which its slug was made.
            ids: of the known meters with the slug, deleted or not.
        """
        if self.rule.meter_id is not None:
            return meter_id == self.rule.meter_id
        return meter_id <= self.revision and not any(meter_id < later <= self.revision for later in ids)

    def takes(self, customer: str, usage: Window) -> bool:
        """Whether a minute window of the rule's meter counts, by its customer (id) and dimensions."""
        if self.customers is not None and customer not in self.customers:
            return False
        return all(usage.dimensions.get(name, "") == value for name, value in self.group_by)

    def bounds(self, zone: str, minute_s: int) -> tuple[int, int]:
        """[start, end) of the rule's window in which a minute lies, in seconds since 1970."""
        if zone == zones.UTC:
            start_s = minute_s // SIZES_S[self.size] * SIZES_S[self.size]
            return start_s, start_s + SIZES_S[self.size]
        return _bounds(self.size, zone, minute_s)


@lru_cache(maxsize=10_000)
def _bounds(size: time_window.Size, zone: str, minute_s: int) -> tuple[int, int]:
    return time_window.bounds(size, ZoneInfo(zone), minute_s)


class VolumeRules:
    """The rules of this type that are on, by their meter."""

    def __init__(self) -> None:
        self._rules: dict[tuple[str, str], VolumeWatch] = {}  # namespace, id
        self._of_meter: dict[tuple[str, str], list[VolumeWatch]] = {}  # namespace, slug
        # Namespace, slug -> ids of its meters that were read; after a restart, of the newest one at least.
        self._meters: dict[tuple[str, str], set[int]] = {}

    def update(self, changes: Changes) -> None:
        """Apply changes of definitions."""
        touched = False
        for namespace, slug, meter, _ in changes.of(Meter):
            if meter is not None:
                self._meters.setdefault((namespace, slug), set()).add(meter.meter_id)
        for namespace, name, rule, revision in changes.of(Rule):
            if not isinstance(rule, VolumeRule):
                continue
            touched = True
            if rule.is_on:
                self._rules[namespace, name] = watch_of(rule, revision)
            else:
                self._rules.pop((namespace, name), None)
        if touched:
            self._of_meter = {}
            for (namespace, _), watch in sorted(self._rules.items(), key=lambda one: one[0]):
                self._of_meter.setdefault((namespace, watch.rule.meter_slug), []).append(watch)

    def of(self, namespace: str, slug: str, meter_id: int) -> Sequence[VolumeWatch]:
        """The rules about a meter, by id. A rule is about one meter, and not about the next with the same slug."""
        place = (namespace, slug)
        watches, ids = self._of_meter.get(place, ()), self._meters.get(place, ())
        return [watch for watch in watches if watch.is_about(meter_id, ids)]


def watch_of(rule: VolumeRule, revision: int) -> VolumeWatch:
    """A rule as it is evaluated. revision: of its definition."""
    return VolumeWatch(
        rule,
        rule.id,
        rule.window_size,
        number.exact(rule.limit),
        None if rule.customers is None else frozenset(rule.customers),
        tuple((rule.group_by or {}).items()),
        timestamp.ms_of(rule.created_at) // 1000,
        revision,
    )


class _Group(NamedTuple):
    """The usage of a record in one window of a rule and customer.

    Args:
        watch: the rule.
        customer: its id.
        holder: its definition; None where it is not defined any more.
        start_s, end_s: the window, in seconds since 1970.
        windows: the usage.
    """

    watch: VolumeWatch
    customer: str
    holder: Customer | None
    start_s: int
    end_s: int
    windows: list[Window]

    @property
    def digest(self) -> bytes:
        return blake2b(_encode((self.watch.id, self.customer)), digest_size=16).digest()

    def row_key(self) -> bytes:
        return _at.pack(VOLUME, self.end_s // MINUTE_S) + self.digest

    def parts_key(self, minute_s: int) -> bytes:
        return _at.pack(PARTS, minute_s // MINUTE_S) + self.digest

    def parts_keys(self) -> list[bytes]:
        """Of each minute of the window."""
        return [self.parts_key(minute_s) for minute_s in range(self.start_s, self.end_s, MINUTE_S)]

    def customer_at(self) -> str:
        """When the customer was changed last, its zone or another member."""
        return "" if self.holder is None else self.holder.updated_at

    def may_have_moved(self, row: VolumeRow | None) -> bool:
        """Whether usage of its minutes may have counted in a window of another zone since `row` was written."""
        if row is not None:
            return row.customer_at != self.customer_at()
        changed_s = timestamp.ms_of(self.customer_at()) // 1000 if self.holder else -AHEAD_S
        return changed_s + AHEAD_S >= self.start_s


def evaluate_volumes(
    table: KeyedBytes,
    windows: Iterable[CustomerWindow],
    rules: VolumeRules,
    customers: FindCustomer,
    position: int,
    at_ms: int,
) -> list[Alert]:
    """The alerts that fire with a record. A record that is read again changes nothing and fires the same alerts.

    Args:
        table: the state.
        windows: usage in the record.
        rules: in force.
        customers: finds a customer.
        position: offset of the record.
        at_ms: the broker's time of the record, in milliseconds since 1970.
    """
    groups: dict[tuple[str, str, int], _Group] = {}
    gone_s: int | None = None
    for customer, usage in ((one.customer, one.window) for one in windows):
        for watch in rules.of(usage.namespace, usage.meter, usage.meter_id):
            if not watch.takes(customer, usage):
                continue
            if gone_s is None:
                gone_s = max(_gone_s(table), at_ms // 1000 - KEEP_S)
            holder = customers(usage.namespace, customer)
            start_s, end_s = watch.bounds(_zone(holder), usage.start_s)
            if usage.start_s >= gone_s and end_s > watch.made_s:
                group = _Group(watch, customer, holder, start_s, end_s, [])
                groups.setdefault((watch.id, customer, start_s), group).windows.append(usage)
    alerts = (_evaluate(table, group, gone_s or 0, position, at_ms) for group in groups.values())
    return [alert for alert in alerts if alert is not None]


def _zone(holder: Customer | None) -> str:
    return zones.UTC if holder is None or holder.time_zone is None else holder.time_zone


def _evaluate(table: KeyedBytes, group: _Group, gone_s: int, position: int, at_ms: int) -> Alert | None:
    (stored,) = table.get_many([group.row_key()])
    row = None if stored is None else _row(stored)
    if row is None or position > row.volume.position:
        before = Volume() if row is None else row.volume
        if group.start_s >= gone_s and group.may_have_moved(row):
            before = msgspec.structs.replace(before, total=number.text(_stored_total(table, group)))
        brought, change = _take(table, group)
        volume, crosses = threshold.volume(before, change, group.watch.limit, position)
        if crosses:
            lacking = group.watch.limit - number.exact(before.total)
            usage, event = _crossing(brought or [(group.windows[-1], 0)], lacking)
            row = VolumeRow(volume, volume.total, usage.subject, event)
        row = msgspec.structs.replace(
            row or VolumeRow(volume), volume=volume, customer_at=group.customer_at()
        )
        if brought or crosses:
            table.put(group.row_key(), _encode(row))
    return _alert(group, row, at_ms) if row.volume.fired_at == position else None


def _stored_total(table: KeyedBytes, group: _Group) -> int:
    """The sum of the window's stored minutes, in atto."""
    rows = (_parts(value) for value in table.get_many(group.parts_keys()) if value is not None)
    return sum(number.exact(value) for parts in rows for _, value in parts.values())


def _take(table: KeyedBytes, group: _Group) -> tuple[list[tuple[Window, int]], int]:
    """Count the windows; gives those that have an effect, each with its change, and the total change in atto."""
    minutes = sorted({usage.start_s for usage in group.windows})
    stored = table.get_many([group.parts_key(minute_s) for minute_s in minutes])
    rows = {
        minute_s: {} if value is None else _parts(value)
        for minute_s, value in zip(minutes, stored, strict=True)
    }
    brought: list[tuple[Window, int]] = []
    for usage in group.windows:
        change, parts = change_of(usage), rows[usage.start_s]
        before = parts.get(change.part)
        if before is not None and before[0] >= change.revision:
            continue
        parts[change.part] = (change.revision, number.text(change.value))
        brought.append((usage, change.value - (0 if before is None else number.exact(before[1]))))
    for minute_s in {usage.start_s for usage, _ in brought}:
        table.put(group.parts_key(minute_s), _encode(rows[minute_s]))
    return brought, sum(change for _, change in brought)


def _crossing(brought: Sequence[tuple[Window, int]], room: int) -> tuple[Window, tuple[str, str] | None]:
    """The usage with which the limit was reached.

    Args:
        brought: windows and their changes, in atto.
        room: the volume that was missing before, in atto.

    Returns:
        The window, and its event (source, id) if it has one.
    """
    steps: list[tuple[Window, tuple[str, str] | None, int]] = []
    for usage, change in brought:
        amounts = [number.exact(value or "0") for _, _, value in usage.events]
        if sum(amounts) == change:
            steps += [(usage, event[:2], one) for event, one in zip(usage.events, amounts, strict=True)]
        else:  # the window does not have all of its events
            steps.append((usage, usage.events[-1][:2] if usage.events else None, change))
    crossing = threshold.crossing((amount for _, _, amount in steps), room)
    if crossing is not None:
        return steps[crossing][:2]
    last = brought[-1][0]
    return last, last.events[-1][:2] if last.events else None


def _alert(group: _Group, row: VolumeRow, at_ms: int) -> Alert:
    watch, customer, namespace = group.watch, group.customer, group.windows[0].namespace
    from_, to = _text(group.start_s), _text(group.end_s)
    id = ulid.make(at_ms, _json((namespace, watch.id, customer, group.start_s)).decode())
    zone = {} if _zone(group.holder) == zones.UTC else {"timeZone": _zone(group.holder)}
    data: dict[str, Any] = {
        "meter": {"slug": watch.rule.meter_slug},
        "customer": {"id": customer} if group.holder is None else group.holder.members,
        "subject": {"key": row.subject},
        "window": {"size": watch.size, "from": from_, "to": to, **zone},
        "groupBy": dict(watch.group_by) or None,
        "limit": msgspec.Raw(number.text(watch.limit).encode()),
        "value": msgspec.Raw(row.value.encode()),
        "event": None if row.event is None else {"source": row.event[0], "id": row.event[1]},
    }
    return Alert(
        id=id,
        namespace=namespace,
        type=VOLUME_TYPE,
        rule=watch.id,
        at_ms=at_ms,
        endpoints=watch.rule.channels,
        payload=payload(id, VOLUME_TYPE, at_ms, data),
        customer=customer,
        subject=row.subject,
        annotations={"window": from_},
    )


def sweep(table: ScannedBytes, now_s: int, start: bytes = b"") -> Swept:
    """Removes some of what can no longer change: first volumes, then minutes. start: see values.sweep."""
    gone_s = (now_s - KEEP_S) // HOUR_S * HOUR_S
    if gone_s <= 0:
        return Swept([], b"")
    kind = PARTS if start.startswith(PARTS) else VOLUME
    end = _at.pack(kind, gone_s // MINUTE_S)
    removed, next_key = sweep_slice(
        table, SWEPT_ROWS, prefix=kind, start=start, is_young=lambda key: key >= end
    )
    if removed and gone_s > _gone_s(table):
        table.put(GONE, _seconds.pack(gone_s))
    return Swept(removed, PARTS if kind == VOLUME and not next_key else next_key)


def _gone_s(table: KeyedBytes) -> int:
    (stored,) = table.get_many([GONE])
    return 0 if stored is None else int(_seconds.unpack(stored)[0])


def _text(at_s: int) -> str:
    return timestamp.text_of(at_s * 1000)
