"""All usage and invoices of one partition on their way to Stripe: what each record changes of them.

Owns: what windows of usage, time and removal do. Does not own: requests and their outcomes (stripe_lanes), the states
of a window (stripe_window), invoices (stripe_bills), the layout of rows (stripe_rows).

Everything follows from the records and the definitions: `now` is the highest time that the records have brought. A
record that was applied before changes nothing; the states that it concerns are published again.

The carry belongs to the account, so the whole units of all its windows sum to the whole part of usage x multiplier. A
window is sent when it has ended and `grace_ms` have passed; what changes later is sent after `pause_ms`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from pipeline.core.billing.stripe_bills import BillFlight, StripeBills
from pipeline.core.billing.stripe_index import StripeIndex
from pipeline.core.billing.stripe_lanes import StripeLanes
from pipeline.core.billing.stripe_mappings import Mapping, StripeDefinitions, Touched
from pipeline.core.billing.stripe_rows import (
    ACCOUNT,
    USAGE,
    AccountRow,
    SeededRow,
    account_of,
    identifier_key,
    lane_of,
    seeded_key,
    window_key,
)
from pipeline.core.billing.stripe_state import StripeFlight, StripeState, StripeTerms
from pipeline.core.billing.stripe_sweep import StripeSweeps
from pipeline.core.billing.stripe_units import take
from pipeline.core.quota.account_usage import StoredUsage, UsageRows, change_of
from pipeline.core.values import number
from pipeline.core.values.calendar import Interval, Recurrence, Schedule
from pipeline.core.values.table import KeyLookup, ScannedBytes
from pipeline.records import BillingWork, Command, CustomerWindow, StripeUsage, StripeWork

_seeded = msgspec.msgpack.Decoder(SeededRow).decode
_SCHEDULE = Schedule(0, Recurrence(Interval(1, 0), 0))  # only members of UNIQUE_COUNT have usage periods


class _AccountWindows(NamedTuple):
    mapping: Mapping
    customer: str
    dimensions: dict[str, str]
    windows: list[CustomerWindow]


class StripeTable:
    """The state of a partition within a chunk. Call `take` and `apply` for its records in order, then `flush`."""

    def __init__(
        self, table: ScannedBytes, index: StripeIndex, definitions: StripeDefinitions, terms: StripeTerms
    ) -> None:
        self._state = StripeState(table, index, definitions, terms)
        self._rows = self._state.rows
        self._lanes = StripeLanes(self._state)
        self._bills = StripeBills(self._state)
        self.past = 0  # windows of usage that was removed: they cannot be compared with what was counted

    @property
    def now_ms(self) -> int:
        """The time that the records have reached."""
        return self._state.now_ms

    # -- records ------------------------------------------------------------------------------------------------

    def take(self, windows: Sequence[CustomerWindow], offset: int, at_ms: int) -> None:
        """Apply a record of windows. offset, at_ms: of the record."""
        is_new = self._state.begin(offset, at_ms)
        for account, found in self._by_account(windows).items():
            if is_new:
                self._count(account, found)
            else:
                for one in found.windows:
                    self._state.changed[account, found.mapping.start_of(one.window.start_s)] = None

    def apply(self, work: StripeWork, offset: int, at_ms: int) -> None:
        """Apply another record. offset, at_ms: of the record."""
        if not self._state.begin(offset, max(at_ms, work.at_ms)):
            self._show_again(work, offset)
            return
        match work.kind:
            case "clock":
                self._tick(work.items)
            case "attempt" | "seen":
                self._lanes.settle(work)
            case "retry":
                lane = lane_of(work.namespace, work.customer, work.mapping)
                self._lanes.retry(lane, accepts=work.accept == "stripe")
            case "reported":
                self._lanes.report(work)
            case "order" | "called" | "found":
                self._bills.apply(work)
        self._lanes.advance()

    def concerns(self, work: StripeWork) -> bool:
        """Whether a record is about this partition. A report is published to all; one of them has made its event."""
        return (
            work.kind != "reported" or self._rows.identifiers.get(identifier_key(work.identifier)) is not None
        )

    def flush(self) -> None:
        """Write the changed rows to the table."""
        self._rows.flush()
        self._bills.flush()

    # -- what a chunk has changed -------------------------------------------------------------------------------

    def usage(self) -> list[StripeUsage]:
        """The changed windows in their newest state."""
        return self._state.usage()

    def flights(self) -> list[tuple[bytes, StripeFlight | None]]:
        """The changed lanes with their request in progress; None: it has none."""
        return [(lane, self._state.flight(lane)) for lane in self._state.lanes]

    def bill_flights(self) -> list[tuple[bytes, BillFlight | None]]:
        """The changed lanes of invoices with their call in progress; None: it has none."""
        return self._bills.flights()

    def answers(self) -> list[BillingWork]:
        """Of orders that have ended, for billing."""
        return self._bills.answers

    def commands(self) -> list[Command]:
        """For control: customers that were created at Stripe."""
        return self._bills.commands

    @property
    def unsendable(self) -> dict[str, int]:
        """Units that turned out not to be taken by Stripe, by cause."""
        return self._state.unsendable

    def flight(self, lane: bytes) -> StripeFlight | None:
        """The request that a lane has in progress."""
        return self._state.flight(lane)

    # -- usage --------------------------------------------------------------------------------------------------

    def _by_account(self, windows: Iterable[CustomerWindow]) -> dict[bytes, _AccountWindows]:
        found: dict[bytes, _AccountWindows] = {}
        for one in windows:
            window = one.window
            for mapping in self._state.definitions.of_meter(window.meter_id):
                values = {member: window.dimensions.get(key, "") for key, member in mapping.dimensions}
                account = account_of(lane_of(window.namespace, one.customer, mapping.id), values)
                entry = found.get(account)
                if entry is None:
                    entry = found[account] = _AccountWindows(mapping, one.customer, values, [])
                entry.windows.append(one)
        return found

    def _count(self, account: bytes, found: _AccountWindows) -> None:
        mapping = found.mapping
        row = self._rows.accounts.get(ACCOUNT + account)
        if row is None:
            row = AccountRow(
                mapping.namespace, found.customer, mapping.id, mapping.app, mapping.meter,
                dict(sorted(found.dimensions.items())), mapping.window_s, mapping.from_s, mapping.from_s,
            )  # fmt: skip
        changes = [change_of(one.window) for one in found.windows]
        self.past += sum(row.from_s <= change.minute_s < row.since_s for change in changes)
        stored = StoredUsage.of(self._rows.table)
        usage = UsageRows(stored, USAGE + account, "SUM", row.since_s)
        moved: defaultdict[int, int] = defaultdict(int)
        for minute_s, change in usage.record(changes, _SCHEDULE):
            moved[minute_s // row.window_s * row.window_s] += change
        stored.flush()
        self._rows.windows.load([window_key((account, start_s)) for start_s in moved])
        for start_s, change in moved.items():
            if not change:
                continue
            place = (account, start_s)
            carried = take(change, mapping.multiplier, int(row.carry))
            kept = self._state.window(place)
            kept.window.exact = number.text(number.exact(kept.window.exact) + change)
            kept.window.wanted += carried.units
            row.carry = str(carried.carry)
            self._state.write(place, kept, row.window_s)
            self._rows.accounts.put(ACCOUNT + account, row)

    # -- time ---------------------------------------------------------------------------------------------------

    def _tick(self, items: Sequence[Sequence[str]]) -> None:
        """Time has passed, and the definitions of `items` have changed."""
        for item in items:
            match item:
                case ["seeded", namespace, mapping, revision] if revision.isdecimal():
                    key = seeded_key(namespace, mapping)
                    row = self._rows.seeded.get(key) or SeededRow(-1)
                    self._rows.seeded.put(key, SeededRow(max(row.revision, int(revision))))
                    self._lanes.wake(Touched("mapping", namespace, mapping))
                case ["mapping" | "app" | "customer" as kind, namespace, name]:
                    self._lanes.wake(Touched(kind, namespace, name))
                    if kind == "app":
                        self._bills.resume(namespace, name)
                case ["owned"]:
                    self._lanes.wake_all()
                    self._bills.end_uninstalled()
                case _:
                    pass  # an item of another version

    def _show_again(self, work: StripeWork, offset: int) -> None:
        """Publish what a record that was applied before may have changed."""
        if work.invoice:
            self._bills.show_again(work)
            return
        if any(item[:1] in (["app"], ["owned"]) for item in work.items):
            self._bills.show_uninstalled()
        if work.kind == "retry":
            self._lanes.show_again(lane_of(work.namespace, work.customer, work.mapping), offset)
        for lane in sorted(self._state.index.busy) if work.kind == "clock" else ():
            if (flight := self._state.flight(lane)) is not None:
                self._state.changed[flight.sent.account, flight.sent.start_s] = None
        made = self._rows.identifiers.get(identifier_key(work.identifier)) if work.identifier else None
        if made is not None:
            self._state.changed[made.account, made.start_s] = None

    # -- removal ------------------------------------------------------------------------------------------------

    def sweep(self, partition: int, progress: StripeSweeps) -> None:
        """Remove some old rows; to be called at the end of a chunk. partition: of `stripe-work`."""
        progress.advance(partition, self._state)
        self._bills.sweep(partition, progress.invoices)


def seeded_revision(table: KeyLookup, mapping: Mapping) -> int:
    """Up to which control revision the historical usage of a mapping was loaded; -1: none was."""
    (value,) = table.get_many([seeded_key(mapping.namespace, mapping.id)])
    return -1 if value is None else _seeded(value).revision
