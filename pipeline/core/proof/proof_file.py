"""The file that proves an invoice: JSON lines, each with the hash of its content, the root last.

Owns: the rows, their order, their bytes. Does not own: the tree (merkle), which events a line counts
(explain.line_recount), the check (proof_check).

    invoice             ProvenInvoice: once, the first
    line, event ...     ProvenLine, then a ProvenEvent for each event that it counts, or that it corrects
    root                ProofRoot: once, the last; it is no leaf

Only what never changes once an invoice is issued is in the file, so its root is the same whenever it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from pipeline.core.explain.line_recount import LineInclusion
from pipeline.core.explain.recount import MeasuredEvent
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.status_details import status_of
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.metering.usage_query import instant_text
from pipeline.core.proof.merkle import MerkleTree, leaf_hash
from pipeline.core.values import timestamp
from pipeline.errors import Rejected

VERSION = 1
ISSUED = frozenset({"issued", "payment_processing", "overdue", "paid", "uncollectible", "voided"})
RowKind = Literal["invoice", "line", "event", "root"]


class ProvenInvoice(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The invoice. lines: how many follow. total: with taxes, decimal text."""

    version: int = VERSION
    namespace: str
    id: str
    number: str
    type: str
    currency: str
    issued_at: str
    customer: str
    customer_name: str | None
    total: str
    lines: int


class ProvenLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A line.

    Attributes:
        line: as it was issued.
        earlier: the lines that billed the same before it.
        events: how many follow; None: the line bills a fixed amount.
        given_up: ids of those of `earlier` that were given up when the line was issued; absent: none.
    """

    line: InvoiceLine
    earlier: tuple[InvoiceLine, ...] = ()
    events: int | None
    given_up: tuple[str, ...] | UnsetType = UNSET


class ProvenEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An event.

    Attributes:
        time: RFC 3339, with nanoseconds.
        value: what the meter read, decimal text; text for UNIQUE_COUNT.
        order: text that sorts as LATEST does.
        queue, place: its position: the partition of `events-unique` or -1, and the offset plus 1; 0: unknown.
        now: the line counts it. before: the line before a correction counted it.
    """

    id: str
    source: str
    subject: str
    time: str
    value: str
    group_by: dict[str, str]
    order: str
    queue: int
    place: int
    now: bool
    before: bool


class ProofRoot(msgspec.Struct, frozen=True):
    """rows: before this one. root: hexadecimal."""

    rows: int
    root: str


class ProofRow(msgspec.Struct, frozen=True):
    """A row of the file. leaf: the hash of kind and body, hexadecimal; empty for the root."""

    kind: RowKind
    leaf: str
    body: msgspec.Raw


class LineProof(NamedTuple):
    """What a line is proven by. earlier, events, given_up: as in ProvenLine."""

    earlier: Sequence[InvoiceLine] = ()
    events: Sequence[tuple[MeasuredEvent, LineInclusion]] | None = None
    given_up: Sequence[str] = ()


encode = msgspec.json.Encoder(order="deterministic").encode


def check_issued(stored: StoredInvoice) -> None:
    """Raises Rejected `invoice_not_issued` for an invoice that can still change."""
    progress = stored.progress
    if status_of(progress) not in ISSUED or progress.number is None or progress.issued_at_s is None:
        raise Rejected(
            "invoice_not_issued", f"The invoice {stored.content.id} is not issued, so it may change."
        )


def leaf_of(kind: RowKind, body: bytes) -> bytes:
    """The hash of a row."""
    return leaf_hash(kind.encode() + b"\n" + body)


class ProofWriter:
    """Makes the rows of a file. Use it once."""

    def __init__(self) -> None:
        self._tree = MerkleTree()

    def rows(self, namespace: str, stored: StoredInvoice, proofs: Iterable[LineProof]) -> Iterator[bytes]:
        """The lines of the file, each with its line feed.

        Args:
            namespace: of the invoice.
            stored: an invoice that is issued.
            proofs: of each of its live lines in order.
        """
        yield self._row("invoice", _invoice(namespace, stored))
        for line, proof in zip(live_lines(stored.content.lines), proofs, strict=True):
            earlier = tuple(_kept(one) for one in proof.earlier)
            events = None if proof.events is None else len(proof.events)
            given_up = tuple(proof.given_up) or UNSET
            proven = ProvenLine(line=_kept(line), earlier=earlier, events=events, given_up=given_up)
            yield self._row("line", proven)
            for measured, inclusion in proof.events or ():
                yield self._row("event", _event(measured, inclusion))
        yield encode(ProofRow("root", "", msgspec.Raw(encode(self.root)))) + b"\n"

    @property
    def root(self) -> ProofRoot:
        """Of the rows so far."""
        return ProofRoot(self._tree.size, self._tree.root.hex())

    def _row(self, kind: RowKind, body: object) -> bytes:
        encoded = encode(body)
        leaf = leaf_of(kind, encoded)
        self._tree.add(leaf)
        return encode(ProofRow(kind, leaf.hex(), msgspec.Raw(encoded))) + b"\n"


def _invoice(namespace: str, stored: StoredInvoice) -> ProvenInvoice:
    content, progress = stored.content, stored.progress
    return ProvenInvoice(
        namespace=namespace,
        id=content.id,
        number=progress.number or "",
        type=content.type,
        currency=content.currency,
        issued_at=timestamp.text_of((progress.issued_at_s or 0) * 1000),
        customer=content.customer.id,
        customer_name=content.customer.name,
        total=content.totals.total,
        lines=len(live_lines(content.lines)),
    )


def _kept(line: InvoiceLine) -> InvoiceLine:
    """Without what an app may still change."""
    return msgspec.structs.replace(line, external_ids=None, metadata=None, updated_at=line.created_at)


def _event(measured: MeasuredEvent, inclusion: LineInclusion) -> ProvenEvent:
    event = measured.event
    return ProvenEvent(
        id=event.id,
        source=event.source,
        subject=event.subject,
        time=instant_text(event.time_ns),
        value=measured.text,
        group_by=measured.dimensions,
        order=measured.order,
        queue=inclusion.source,
        place=event.position,
        now=inclusion.now,
        before=inclusion.before,
    )
