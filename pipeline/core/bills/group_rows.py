"""Groups of lines as rows: what many lines have in common is kept once.

Owns: keys and bytes of groups, of the terms that lines share, of the items that they bill. Does not own: what a group
is (line_group), when one is written or removed (customer_bills).

A customer has a line a month for each item, and all of them have the same name, price and item. So a row of a group has
what differs, and names a row of the item; that one names a row of the terms, which all customers share:

    g<customer><id>         StoredGroup: periods, instants, what is booked
    j<customer><hash>       LinePlace: subscription, phase and item of lines, the beginning of their references
    t<hash>                 LineWording: name, price and feature of lines

A name is the hash of the row's bytes, so a row never changes, and a second worker that writes it writes the same. Rows
of places and terms are kept as long as the subscription whose lines need them, which is for ever. A line that a client
made or changed is kept whole, since it may be like no other one.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple, TypeVar

import msgspec

from pipeline.core.bills.line_group import GroupFeature, LineGroup
from pipeline.core.bills.stored_group import (
    LinePlace,
    LineWording,
    StoredGroup,
    StoredLine,
    packed_part,
    part_of,
    shortest,
)
from pipeline.core.catalog.price import FlatPrice
from pipeline.core.invoices.line import (
    InvoiceLine,
    LinePeriod,
    LineSubscription,
    ReferenceId,
    second_of,
    text_of_s,
)
from pipeline.core.invoices.totals import InvoiceTotals
from pipeline.core.values import timestamp, ulid
from pipeline.core.values.cached_rows import CachedRows, encode_json, json_rows
from pipeline.core.values.table import ScannedBytes
from pipeline.errors import Broken

GROUP, PLACE, WORDING = b"g", b"j", b"t"
_CUSTOMER: Final = slice(1, 17)  # in the key of a group
_ID: Final = 17
_PLACE_BYTES, _WORDING_BYTES = 9, 15
_INSTANTS_KEPT: Final = 1 << 14
_NONE: Final = InvoiceTotals()
R = TypeVar("R", bound=msgspec.Struct)


class _Read(NamedTuple):
    """A group as it was read, with its row, so that a line that has not changed is not packed again."""

    group: LineGroup
    stored: StoredGroup


class _OpenedPlace(NamedTuple):
    """A row of a place with the row that it names. item: without a billing period."""

    place: LinePlace
    wording: LineWording
    item: LineSubscription


class GroupRows:
    """The groups of a partition within a chunk: each is read once and written once, by `flush`."""

    def __init__(self, table: ScannedBytes) -> None:
        self._table = table
        self._stored = json_rows(table, StoredGroup)
        self._places = json_rows(table, LinePlace)
        self._wordings = json_rows(table, LineWording)
        self._opened: dict[bytes, _OpenedPlace] = {}
        self._read: dict[bytes, _Read] = {}
        self._groups: dict[bytes, LineGroup | None] = {}
        self._changed: dict[bytes, None] = {}

    def load(self, keys: Iterable[bytes]) -> None:
        """Read several groups at once."""
        self._stored.load([key for key in keys if key not in self._groups])

    def get(self, key: bytes) -> LineGroup | None:
        """The group of a key; None: there is none."""
        if key not in self._groups:
            stored = self._stored.get(key)
            self._groups[key] = None if stored is None else self._unpacked(key, stored)
        return self._groups[key]

    def put(self, key: bytes, group: LineGroup | None) -> None:
        """Write a group in place of the one before; None removes it."""
        self._groups[key] = group
        self._changed[key] = None

    def flush(self) -> None:
        """Write what has changed to the table."""
        for key in self._changed:
            group = self._groups[key]
            if group is None:
                self._table.delete(key)
            else:
                self._table.put(key, encode_json(shortest(self._packed(key, group))))
        self._changed = {}
        self._places.flush()
        self._wordings.flush()

    # -- reading ------------------------------------------------------------------------------------------------

    def _unpacked(self, key: bytes, stored: StoredGroup) -> LineGroup:
        id = key[_ID:].decode()
        line, feature = stored.whole, stored.feature
        if stored.line is not None:
            span = (stored.parts[0].start_s, stored.parts[-1].end_s)
            line, feature = self._line(key, id, stored.line, span)
        if line is None:
            raise Broken(f"The lines {id} have no line.")
        parts = tuple(part_of(one, id) for one in stored.parts)
        group = LineGroup(id, line, feature, parts, stored.is_wanted)
        self._read[key] = _Read(group, stored)
        return group

    def _line(
        self, key: bytes, id: str, own: StoredLine, span: tuple[int, int]
    ) -> tuple[InvoiceLine, GroupFeature | None]:
        place, wording, item = self._place(PLACE + key[_CUSTOMER] + own.place.encode())
        card, price = wording.rate_card, wording.rate_card.price
        if own.amount is not None and isinstance(price, FlatPrice):
            card = msgspec.structs.replace(card, price=msgspec.structs.replace(price, amount=own.amount))
        named_ms = ulid.at_ms(id)
        line = InvoiceLine(
            id=id,
            reference=f"{place.reference}/{own.reference}",
            name=wording.name,
            description=wording.description,
            managed_by="subscription",
            status="valid",
            period=_period(own.period or span),
            invoice_at=text_of_s(own.invoice_at_s),
            currency=wording.currency,
            rate_card=card,
            totals=_NONE,
            subscription=LineSubscription(
                subscription=item.subscription,
                phase=item.phase,
                item=item.item,
                billing_period=_period(own.billing_period or span),
            ),
            created_at=_text_of(named_ms if own.created_ms is None else own.created_ms),
            updated_at=_text_of(named_ms if own.updated_ms is None else own.updated_ms),
        )
        return line, wording.feature

    def _place(self, key: bytes) -> _OpenedPlace:
        opened = self._opened.get(key)
        if opened is None:
            place = self._named(self._places, key)
            item = LineSubscription(
                subscription=ReferenceId(place.subscription),
                phase=ReferenceId(place.phase),
                item=ReferenceId(place.item),
                billing_period=LinePeriod("", ""),
            )
            wording = self._named(self._wordings, WORDING + place.wording.encode())
            opened = self._opened[key] = _OpenedPlace(place, wording, item)
        return opened

    @staticmethod
    def _named(rows: CachedRows[R], key: bytes) -> R:
        row = rows.get(key)
        if row is None:
            raise Broken(f"The row {key!r} that lines share is missing.")
        return row

    # -- writing ------------------------------------------------------------------------------------------------

    def _packed(self, key: bytes, group: LineGroup) -> StoredGroup:
        parts = tuple(packed_part(one, group.id) for one in group.parts)
        span = (parts[0].start_s, parts[-1].end_s)
        own = self._own(key, group, span)
        if own is None:
            return StoredGroup(None, parts, group.is_wanted, group.line, group.feature)
        return StoredGroup(own, parts, group.is_wanted)

    def _own(self, key: bytes, group: LineGroup, span: tuple[int, int]) -> StoredLine | None:
        """What the line of a group has of its own; None: it has to be kept whole."""
        read = self._read.get(key)
        if read is not None and read.group.line is group.line and read.group.feature is group.feature:
            before = (read.stored.parts[0].start_s, read.stored.parts[-1].end_s)
            if before == span:
                return read.stored.line
        line = group.line
        if line.subscription is None or line.reference is None or line.managed_by != "subscription":
            return None
        own = self._shared(key, group, line, line.subscription, line.reference, span)
        # What is read again must be the same line, whatever members a line may have.
        return own if self._line(key, group.id, own, span) == (line, group.feature) else None

    def _shared(
        self,
        key: bytes,
        group: LineGroup,
        line: InvoiceLine,
        item: LineSubscription,
        reference: str,
        span: tuple[int, int],
    ) -> StoredLine:
        beginning, _, end = reference.rpartition("/")
        card, amount = line.rate_card, None
        if isinstance(card.price, FlatPrice):
            amount = card.price.amount
            card = msgspec.structs.replace(card, price=msgspec.structs.replace(card.price, amount=""))
        wording = LineWording(line.name, line.description, line.currency, card, group.feature)
        place = LinePlace(
            self._name(self._wordings, WORDING, wording, _WORDING_BYTES),
            item.subscription.id,
            item.phase.id,
            item.item.id,
            beginning,
        )
        period, billing = _span_of(line.period), _span_of(item.billing_period)
        created_ms, updated_ms = timestamp.ms_of(line.created_at), timestamp.ms_of(line.updated_at)
        named_ms = ulid.at_ms(group.id)
        return StoredLine(
            self._name(self._places, PLACE + key[_CUSTOMER], place, _PLACE_BYTES),
            end,
            line.invoice_at_s,
            amount,
            None if period == span else period,
            None if billing == span else billing,
            None if created_ms == named_ms else created_ms,
            None if updated_ms == named_ms else updated_ms,
        )

    @staticmethod
    def _name(rows: CachedRows[R], prefix: bytes, row: R, size: int) -> str:
        """The name of a row that lines share, which is written if it is not there."""
        name = b64encode(blake2b(encode_json(row), digest_size=size).digest()).decode()
        key = prefix + name.encode()
        known = rows.get(key)
        if known is None:
            rows.put(key, row)
        elif known != row:
            raise Broken(f"Two rows that lines share have the name {name}.")
        return name


def _period(span: tuple[int, int]) -> LinePeriod:
    return LinePeriod(text_of_s(span[0]), text_of_s(span[1]))


def _span_of(period: LinePeriod) -> tuple[int, int]:
    return second_of(period.start), second_of(period.end)


@lru_cache(_INSTANTS_KEPT)
def _text_of(at_ms: int) -> str:
    return timestamp.text_of(at_ms)
