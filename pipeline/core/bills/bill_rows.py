"""The state of bills as rows of one partition's table.

Owns: keys and bytes of the rows, their cache within a chunk, what a chunk publishes. Does not own: what changes them,
the rows of usage (usage_rows), the table (engine.table). Rows are JSON, since amounts have up to 38 digits.

    p                       BillPosition
    h<customer>             CustomerHead
    s<customer><id>         a subscription, as DocumentRow
    i<customer><id>         an invoice that is not closed, as InvoiceRow
    f<customer><id>         one that is: see closed_invoices
    g<customer><id>         a group of lines, and what lines share: see group_rows
    l<customer><id>         the lines of a subscription, as ReferencesRow
    w<customer>             MeteredRow
    d<customer>             when the customer is due (bill_index)
    k<namespace>/<id>       a command that was done, as DoneCommand
    x<time><key>            when that row is removed
    o<offset><place>        ResultRow
    c<customer><id>         a credit grant, as DocumentRow
    a<customer>             CreditAccountRow (credit_rows)
    b<customer><id>         what an invoice has booked, as InvoiceBookedRow (credit_rows)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from pipeline.core.bills.closed_invoices import ClosedInvoices
from pipeline.core.bills.credit_rows import CreditAccountRow, InvoiceBookedRow
from pipeline.core.bills.group_rows import GroupRows
from pipeline.core.bills.problem_notes import CustomerProblems
from pipeline.core.bills.terms import NEVER_MS
from pipeline.core.definitions.idempotency import DoneCommand
from pipeline.core.values.cached_rows import json_rows
from pipeline.core.values.table import ScannedBytes
from pipeline.records import Alert, BillDocument, Command, LedgerTransaction, NumberWork, Reply, StripeWork

POSITION, HEAD, SUBSCRIPTION, INVOICE, REFERENCES, METERED, DUE, DONE, DONE_END, RESULT = (
    b"p", b"h", b"s", b"i", b"l", b"w", b"d", b"k", b"x", b"o",
)  # fmt: skip
CREDIT, CREDIT_ACCOUNT, BOOKED = b"c", b"a", b"b"
ULONG, USHORT = struct.Struct(">Q"), struct.Struct(">H")

SCANNED = 1_000  # rows at once


class BillPosition(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How far the partition is.

    Attributes:
        applied: offset of the last record in the state.
        now_ms: the time that the records have reached.
        settled_ms: the usage of every event that arrived before it is in the state.
    """

    applied: int = -1
    now_ms: int = 0
    settled_ms: int = 0


class InvoiceDue(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """When an invoice moves by itself: at `due_ms`, or once usage is settled up to `waits_ms`. NEVER_MS: not."""

    due_ms: int = NEVER_MS
    waits_ms: int = NEVER_MS


class CustomerHead(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is needed to see whether something of a customer is due.

    Attributes:
        namespace, customer: its id.
        subscriptions: ids of all of them, deleted and past ones too.
        gathering: id of the gathering invoice by currency; of lines that credits settle by "<currency>/credit_only".
        collect_ms: by currency, when its lines are collected next.
        open: the invoices that are not final, by id.
        lines_ms: when subscriptions have new lines.
        stale_meters: by the number of a meter, the first minute (s) with usage that came after it was rated.
        stale_groups: ids of groups of lines whose bookings are to be compared again.
        rated_until_s: up to when usage was rated; what arrives for an earlier minute is late.
        ended: the invoices that are final and not closed yet, and from when on (ms) each is closed.
        running_ms: when the lines that wait get the usage until then.
        rated: the drafts whose rating has all usage and every change of a line, with the end (s) of what they bill.
        problems: what could not be done; None: nothing.
        credits_ms: when a credit grant begins or ends; None: the customer never had credits.
    """

    namespace: str
    customer: str
    subscriptions: tuple[str, ...] = ()
    gathering: dict[str, str] = {}
    collect_ms: dict[str, int] = {}
    open: dict[str, InvoiceDue] = {}
    lines_ms: int = NEVER_MS
    stale_meters: dict[int, int] = {}
    stale_groups: tuple[str, ...] = ()
    rated_until_s: int = 0
    ended: dict[str, int] = {}
    running_ms: int = NEVER_MS
    rated: dict[str, int] = {}
    problems: CustomerProblems | None = None
    credits_ms: int | None = None


class DocumentRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A document and the record that changed it last: its offset and its time."""

    revision: int
    at_ms: int
    body: msgspec.Raw


class InvoiceRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An invoice with what only billing needs of it.

    Attributes:
        revision, at_ms, body: as of a DocumentRow.
        groups: the group of each of its lines, by the line's id.
        number: the request for its number.
    """

    revision: int
    at_ms: int
    body: msgspec.Raw
    groups: dict[str, str] = {}
    number: NumberWork | None = None


class ReferencesRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The groups of the lines of a subscription, and the end (s) of each.

    Attributes:
        groups: by the beginning of `reference`, which all lines of an item have, and by its last part.
    """

    groups: dict[str, dict[str, tuple[str, int]]] = {}

    @classmethod
    def of(cls, groups: Mapping[str, tuple[str, int]]) -> ReferencesRow:
        """The row of groups by their whole `reference`."""
        found: dict[str, dict[str, tuple[str, int]]] = {}
        for reference, group in groups.items():
            beginning, _, end = reference.rpartition("/")
            found.setdefault(beginning, {})[end] = group
        return cls(found)

    @property
    def by_reference(self) -> dict[str, tuple[str, int]]:
        """The groups by their whole `reference`."""
        return {
            f"{beginning}/{end}" if beginning else end: group
            for beginning, groups in self.groups.items()
            for end, group in groups.items()
        }


class MeteredLine(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A group of lines that bills the usage of [start, end) of a meter.

    Attributes:
        keeps: usage of the whole period was kept when the group was made, and is kept as long as the group.
    """

    group: str
    meter_id: int
    start_s: int
    end_s: int
    keeps: bool = False


class MeteredRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The metered groups of a customer, in the order in which they were made."""

    lines: tuple[MeteredLine, ...] = ()


class ResultRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a record changed, to publish it again if the record is read again. A record of many customers has several.

    Attributes:
        at_ms: the time that the records had reached.
        subscriptions, invoices: (namespace, customer, id) of each.
        replies, commands, alerts, ledger, stripe: as they were published.
        credits: as subscriptions.
    """

    at_ms: int
    subscriptions: tuple[tuple[str, str, str], ...] = ()
    invoices: tuple[tuple[str, str, str], ...] = ()
    replies: tuple[Reply, ...] = ()
    commands: tuple[Command, ...] = ()
    alerts: tuple[Alert, ...] = ()
    credits: tuple[tuple[str, str, str], ...] = ()
    ledger: tuple[LedgerTransaction, ...] = ()
    stripe: tuple[StripeWork, ...] = ()


class BillOutput(NamedTuple):
    """What a chunk publishes, in a fixed order: the newest state of each document, and the rest as it came."""

    subscriptions: list[BillDocument]
    invoices: list[BillDocument]
    numbers: list[NumberWork]
    replies: list[Reply]
    commands: list[Command]
    alerts: list[Alert]
    credits: list[BillDocument]
    ledger: list[LedgerTransaction]
    stripe: list[StripeWork]


class BillRows:
    """All rows within a chunk."""

    def __init__(self, table: ScannedBytes) -> None:
        self.table = table
        self.positions = json_rows(table, BillPosition)
        self.heads = json_rows(table, CustomerHead)
        self.subscriptions = json_rows(table, DocumentRow)
        self.invoices = json_rows(table, InvoiceRow)
        self.groups = GroupRows(table)
        self.closed = ClosedInvoices(table)
        self.references = json_rows(table, ReferencesRow)
        self.metered = json_rows(table, MeteredRow)
        self.done = json_rows(table, DoneCommand)
        self.results = json_rows(table, ResultRow)
        self.credits = json_rows(table, DocumentRow)
        self.credit_accounts = json_rows(table, CreditAccountRow)
        self.booked = json_rows(table, InvoiceBookedRow)

    def all_heads(self, namespace: str) -> Iterator[tuple[bytes, CustomerHead]]:
        """The customers of a namespace that had bills before this chunk: the bytes of each in keys, and its head."""
        start = HEAD
        while found := [row for row in self.table.scan(start, SCANNED) if row[0].startswith(HEAD)]:
            for key, _ in found:
                head = self.heads.get(key)
                if head is not None and head.namespace == namespace:
                    yield key[len(HEAD) :], head
            start = found[-1][0] + b"\x00"

    def flush(self) -> None:
        """Write what has changed to the table."""
        for rows in (
            self.positions, self.heads, self.subscriptions, self.invoices, self.groups, self.closed, self.references,
            self.metered, self.done, self.results, self.credits, self.credit_accounts, self.booked,
        ):  # fmt: skip
            rows.flush()


def document_of(namespace: str, customer: str, id: str, row: DocumentRow | InvoiceRow) -> BillDocument:
    """A row as it is published."""
    return BillDocument(namespace, customer, id, row.revision, row.at_ms, row.body)


def result_key(offset: int, place: int) -> bytes:
    """place: of the row among those of the record."""
    return RESULT + ULONG.pack(offset) + USHORT.pack(place)


def offset_of(key: bytes) -> int:
    """Inverse of `result_key`."""
    offset: int = ULONG.unpack_from(key, 1)[0]
    return offset


def done_key(namespace: str, command_id: str) -> bytes:
    return DONE + f"{namespace}/{command_id}".encode()


def done_end_key(at_ms: int, done: bytes) -> bytes:
    """done: the key of the row that is removed."""
    return DONE_END + ULONG.pack(at_ms) + done


def done_of_end(key: bytes) -> tuple[int, bytes]:
    """Inverse of `done_end_key`."""
    return ULONG.unpack_from(key, 1)[0], key[1 + ULONG.size :]
