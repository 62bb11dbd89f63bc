"""The check of a proof: every byte, sum and rating of the file, without the server.

Owns: what is checked and the sentences on what is wrong. Does not own: the rows (proof_file), the rating of a line
(line_rating), what a line has to be (line_claims), its taxes (line_taxes), the count of events (explain.line_tally).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import msgspec

from pipeline.core.explain.line_recount import NS_PER_S, LineInclusion
from pipeline.core.explain.line_tally import LineTally
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.line_usage import LineUsage
from pipeline.core.proof.line_claims import is_plain, wrong_claims
from pipeline.core.proof.line_rating import wrong_rating
from pipeline.core.proof.line_taxes import TaxCheck
from pipeline.core.proof.merkle import MerkleTree
from pipeline.core.proof.proof_file import (
    VERSION,
    ProofRoot,
    ProofRow,
    ProvenEvent,
    ProvenInvoice,
    ProvenLine,
    encode,
    leaf_of,
)
from pipeline.core.values import number, timestamp
from pipeline.core.values.calendar import MINUTE_S
from pipeline.core.values.filters import filter_string, matches
from pipeline.errors import Broken, Rejected

MOST_SENTENCES = 20
T = TypeVar("T")
_row = msgspec.json.Decoder(ProofRow).decode


class ProofReport(NamedTuple):
    """What a file proves.

    Attributes:
        invoice: None: the file does not begin with one.
        root: hexadecimal, computed from the rows.
        lines, events: in the file.
        rated: lines whose rating was checked.
        wrong: a sentence for each thing that is wrong, at most MOST_SENTENCES; empty: all is right.
    """

    invoice: ProvenInvoice | None
    root: str
    lines: int
    events: int
    wrong: tuple[str, ...]


def _before(row: ProvenLine) -> LineUsage | None:
    """What the line before a correction counts."""
    return row.earlier[-1].counted if row.line.corrects is not None and row.earlier else None


class _Line:
    """A line and its events, while they are read."""

    def __init__(self, place: int, row: ProvenLine) -> None:
        self.place, self.row, self.events = place, row, 0
        usage = row.line.counted
        self.tally = None if usage is None or row.events is None else LineTally(usage)
        self.filters = (
            []
            if usage is None
            else [(name, filter_string(name, body)) for name, body in usage.filters.items()]
        )
        self._seen: set[tuple[str, str, str]] = set()

    def take(self, event: ProvenEvent) -> None:
        """Note an event. An id may come again once dedupe has forgotten it; it has another time then.

        Raises:
            Rejected: the event is there twice, or is not one that the line bills.
        """
        identity = (event.source, event.id, event.time)
        if identity in self._seen:
            raise Rejected("bad-proof", f"the event {event.id} is under its line twice")
        self._seen.add(identity)
        if not all(matches(wanted, event.group_by.get(name, "")) for name, wanted in self.filters):
            raise Rejected("bad-proof", f"the event {event.id} is not one that the filters of its line take")
        self.events += 1

    @property
    def name(self) -> str:
        return f"Row {self.place}: the line {self.row.line.id}"


class ProofCheck:
    """Takes the rows of a file in order; then `report`."""

    def __init__(self) -> None:
        self._tree = MerkleTree()
        self._place = 0
        self._wrong: list[str] = []
        self._invoice: ProvenInvoice | None = None
        self._line: _Line | None = None
        self._root: ProofRoot | None = None
        self._ids: set[str] = set()
        self._taxes = TaxCheck()
        self._lines = self._events = self._total = 0

    def take(self, row: bytes) -> None:
        """Check a row, with its line feed."""
        self._place += 1
        if self._root is not None:
            self._note(f"Row {self._place} is behind the root.")
            return
        try:
            found = _row(row)
            if encode(found) + b"\n" != row:
                raise Rejected("bad-proof", "its spelling is not that of a proof")
            if found.kind == "root":
                self._root = _body(found, ProofRoot)
                if found.leaf:
                    self._note(f"Row {self._place}: the root has the hash of a leaf, but is none.")
                self._end()
                return
            leaf = leaf_of(found.kind, bytes(found.body))
            self._tree.add(leaf)
            if leaf.hex() != found.leaf:
                raise Rejected("bad-proof", f"its content was changed: {_named(found)}")
            self._read(found)
        except (msgspec.DecodeError, RecursionError) as error:
            self._note(f"Row {self._place} cannot be read: {error}.")
        except (Rejected, Broken) as error:
            self._note(f"Row {self._place}: {error}.")

    def report(self) -> ProofReport:
        """What was found, once all rows were taken."""
        if self._root is None:
            try:
                self._end_line()
            except (Rejected, Broken) as error:
                self._note(f"Row {self._place}: {error}.")
            self._note("The file has no root: its end is missing.")
        return ProofReport(
            self._invoice,
            self._tree.root.hex(),
            self._lines,
            self._events,
            tuple(self._wrong[:MOST_SENTENCES]),
        )

    def _note(self, sentence: str) -> None:
        self._wrong.append(sentence)

    def _read(self, row: ProofRow) -> None:
        if (row.kind == "invoice") != (self._place == 1):
            raise Rejected("bad-proof", "a proof begins with one invoice")
        if row.kind == "invoice":
            self._invoice = _body(row, ProvenInvoice)
            if self._invoice.version != VERSION:
                raise Rejected("bad-proof", f"version {self._invoice.version} is not known")
            if not is_plain(self._invoice.total):
                raise Rejected("bad-proof", f"{self._invoice.total[:64]} is not how a proof spells a number")
        elif row.kind == "line":
            self._end_line()
            self._lines += 1
            self._line = _Line(self._place, _body(row, ProvenLine))
            line = self._line.row.line
            if line.id in self._ids:
                self._note(f"{self._line.name} is there twice.")
            self._ids.add(line.id)
            self._total += number.parse(line.totals.total)
        else:
            self._events += 1
            self._count(_body(row, ProvenEvent))

    def _count(self, event: ProvenEvent) -> None:
        line = self._line
        if line is None or line.tally is None:
            raise Rejected("bad-proof", f"the event {event.id} is under no line that counts events")
        usage = line.row.line.counted
        assert usage is not None
        minute_s = timestamp.parse_ns(event.time) // NS_PER_S // MINUTE_S * MINUTE_S
        before = _before(line.row)
        inclusion = LineInclusion(
            event.queue,
            usage.counts(minute_s, event.queue, event.place),
            before is not None and before.counts(minute_s, event.queue, event.place),
        )
        if (inclusion.now, inclusion.before) != (event.now, event.before):
            raise Rejected("bad-proof", f"the event {event.id} is not counted as it says")
        line.take(event)
        value = event.value if usage.aggregation == "UNIQUE_COUNT" else number.parse(event.value)
        if usage.aggregation == "COUNT" and value != number.SCALE:
            raise Rejected("bad-proof", f"the event {event.id} counts as {event.value[:64]}, not as 1")
        line.tally.add(value, event.order, minute_s, inclusion)

    def _end_line(self) -> None:
        """All events of a line were read."""
        line, self._line = self._line, None
        if line is None:
            return
        row = line.row
        currency = row.line.currency if self._invoice is None else self._invoice.currency
        if (wrong := wrong_claims(row, currency)) is not None:
            self._note(f"{line.name} is wrong: {wrong}.")
            return
        if (row.events or 0) != line.events:
            self._note(f"{line.name} has {row.events or 0} events, but {line.events} follow.")
        if line.tally is not None and row.line.counted is not None:
            try:
                line.tally.check(line.name, row.line.counted, _before(row))
                self._shown_quantity(row.line, line)
            except (Broken, Rejected) as error:
                self._note(str(error))
        if (wrong := wrong_rating(row.line, row.earlier, row.given_up or ())) is not None:
            self._note(f"{line.name} is wrong: {wrong}.")
        if (wrong := self._taxes.wrong_line(row.line)) is not None:
            self._note(f"{line.name} is wrong: {wrong}.")

    def _shown_quantity(self, line: InvoiceLine, read: _Line) -> None:
        assert read.tally is not None
        found = read.tally.quantities
        shown = line.metered_quantity
        if shown is not None and number.parse(shown) != found.quantity - found.before:
            raise Broken(
                f"{read.name} shows {shown}, but its events are {number.text(found.quantity - found.before)}."
            )

    def _end(self) -> None:
        """The root was read."""
        self._end_line()
        root, invoice = self._root, self._invoice
        assert root is not None
        if (root.rows, root.root) != (self._tree.size, self._tree.root.hex()):
            self._note("The root is not that of the rows: rows were changed, removed or added.")
        if invoice is None:
            return
        if invoice.lines != self._lines:
            self._note(f"The invoice has {invoice.lines} lines, but the file has {self._lines}.")
        for sentence in self._taxes.wrong_sums():
            self._note(sentence)
        if is_plain(invoice.total) and number.exact(invoice.total) != self._total:
            self._note(f"The invoice is {invoice.total}, but its lines are {number.text(self._total)}.")


def check_proof(rows: Iterable[bytes]) -> ProofReport:
    """Check a file. rows: its lines, with their line feeds."""
    check = ProofCheck()
    for row in rows:
        check.take(row)
    return check.report()


def _body(row: ProofRow, kind: type[T]) -> T:
    found = msgspec.json.decode(row.body, type=kind)
    if encode(found) != bytes(row.body):
        raise Rejected("bad-proof", "its content has members that a proof does not have")
    return found


def _named(row: ProofRow) -> str:
    """What a changed row is, as far as it can be read."""
    try:
        if row.kind == "event":
            return f"the event {msgspec.json.decode(row.body, type=ProvenEvent).id}"
        if row.kind == "line":
            return f"the line {msgspec.json.decode(row.body, type=ProvenLine).line.id}"
    except msgspec.DecodeError:
        pass
    return f"the {row.kind}"
