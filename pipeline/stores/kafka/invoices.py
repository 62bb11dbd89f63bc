"""Invoices of customers, as billing published them last: what lists need in memory, settled ones on the disk.

Owns: the view of `invoices`, which invoices are on the disk. Does not own: what every view of documents does
(documents), the file (body_file), lists (core.invoices.invoice_list).

An invoice that is paid, voided or deleted rarely changes and is rarely read: of it a head stays in memory, some hundred
bytes. The file is filled again from the topic at every start.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from pipeline.core.invoices.invoice_list import InvoiceHead, head_of
from pipeline.core.invoices.state_table import FINAL
from pipeline.core.values.json_value import reader_of
from pipeline.errors import Rejected
from pipeline.records import BillDocument
from pipeline.settings import Settings
from pipeline.stores.kafka.body_file import BodyFile, BodyPlace
from pipeline.stores.kafka.documents import DocumentsView

TOPIC: Final = "invoices"
FOLDER: Final = "api"  # of the setting state_dir
SEARCHED_AT_ONCE: Final = 200
_ISSUES: Final = b'"validationIssues":['  # within a text, its quotes would be escaped
_AWAITS_VOID: Final = b'"awaits_void":true'

_readable = reader_of(BillDocument)
_decode = msgspec.json.Decoder(BillDocument).decode
_packed = msgspec.msgpack.Encoder().encode
_head = msgspec.msgpack.Decoder(InvoiceHead).decode


class KeptInvoice(NamedTuple):
    """head: packed. record: the bytes of the document's record, or where they are. is_settled: they go to the disk."""

    head: bytes
    revision: int
    record: bytes | BodyPlace
    is_settled: bool


class InvoicesView(DocumentsView[KeptInvoice]):
    """The newest state of each invoice."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, TOPIC, _kept)
        self._bodies = BodyFile(settings.state_dir / FOLDER)
        self._with_issues: dict[str, None] = {}  # keys

    def close(self) -> None:
        """Stop reading and give up the space on the disk: settled invoices cannot be read any more."""
        super().close()
        with self._changed:
            self._bodies.close()

    def heads(self, namespace: str) -> list[InvoiceHead]:
        """Those of a namespace, by id."""
        with self._changed:
            self._check()
            found = [self._values[key].head for key in self._keys(namespace)]
        return [_head(one) for one in found]

    def heads_of(self, namespace: str, customer: str) -> list[InvoiceHead]:
        """Those of a customer (id), by id."""
        with self._changed:
            self._check()
            found = [self._values[key].head for key in self._keys_of(namespace, customer)]
        return [_head(one) for one in found]

    def having(self, namespace: str, text: str) -> list[BillDocument]:
        """Those of a namespace with a text anywhere in their bytes, by id. It reads every invoice."""
        with self._changed:
            self._check()
            keys = self._keys(namespace)
        found: list[BillDocument] = []
        for start in range(0, len(keys), SEARCHED_AT_ONCE):
            with self._changed:
                values = [self._values.get(key) for key in keys[start : start + SEARCHED_AT_ONCE]]
                records = [self._record(one) for one in values if one is not None]
            found += [_decode(record) for record in records if text.encode() in record]
        return found

    def with_issues(self) -> list[BillDocument]:
        """Those of all namespaces that have a validation issue, in no order; settled ones only if a void is awaited."""
        with self._changed:
            self._check()
            return [self._document(self._values[key]) for key in self._with_issues]

    def _document(self, value: KeptInvoice) -> BillDocument:
        return _decode(self._record(value))

    def _record(self, value: KeptInvoice) -> bytes:
        record = value.record
        return self._bodies.read(record) if isinstance(record, BodyPlace) else record

    def _revision(self, value: KeptInvoice) -> int:
        return value.revision

    def _keep(self, key: str, value: KeptInvoice | None) -> None:
        before = self._values.get(key)
        if (
            value is not None
            and isinstance(value.record, bytes)
            and _ISSUES in value.record
            and (not value.is_settled or _AWAITS_VOID in value.record)
        ):
            self._with_issues[key] = None
        else:
            self._with_issues.pop(key, None)
        if value is not None and value.is_settled and isinstance(value.record, bytes):
            value = value._replace(record=self._bodies.append(value.record))
        super()._keep(key, value)
        if before is not None and isinstance(before.record, BodyPlace):
            self._bodies.drop(before.record)
            if self._bodies.is_mostly_dead:
                self._rewrite()

    def _rewrite(self) -> None:
        settled = [(key, one) for key, one in self._values.items() if isinstance(one.record, BodyPlace)]
        places = self._bodies.rewritten(one.record for _, one in settled if isinstance(one.record, BodyPlace))
        for (key, one), place in zip(settled, places, strict=True):
            self._values[key] = one._replace(record=place)


def _kept(value: bytes) -> KeptInvoice:
    """Raises Rejected for the bytes of no invoice."""
    document = _readable(value)
    try:
        head = head_of(document.body)
    except msgspec.DecodeError as error:
        raise Rejected("bad-record", f"Its body is no invoice: {error}") from None
    return KeptInvoice(_packed(head), document.revision, value, head.progress.state in FINAL)
