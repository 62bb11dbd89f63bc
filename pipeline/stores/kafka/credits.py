"""Credits of customers and the ledger, as billing published them.

Owns: the views of `credit-grants` and `ledger`. Does not own: what documents have in common (documents), balances and
trial balances (core.credits, core.ledger), publishing (agents.billing).

Both are kept as the bytes of their records and decoded when they are read.
"""

from __future__ import annotations

import msgspec

from pipeline.core.values.json_value import reader_of
from pipeline.records import BillDocument, LedgerTransaction
from pipeline.settings import Settings
from pipeline.stores.kafka.documents import DocumentsView
from pipeline.stores.kafka.view import CompactedView

GRANTS, LEDGER = "credit-grants", "ledger"

_readable = reader_of(BillDocument)
_document = msgspec.json.Decoder(BillDocument).decode
_readable_transaction = reader_of(LedgerTransaction)
_transaction = msgspec.json.Decoder(LedgerTransaction).decode


class _Owner(msgspec.Struct):
    """Whose a transaction is."""

    namespace: str
    customer: str


_owner = msgspec.json.Decoder(_Owner).decode


class CreditsView(DocumentsView[bytes]):
    """The newest state of each credit grant."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, GRANTS, _checked)

    def _document(self, value: bytes) -> BillDocument:
        return _document(value)

    def _revision(self, value: bytes) -> int:
        return _document(value).revision


class LedgerView(CompactedView[bytes]):
    """Every transaction of the ledger by its id, and the ids of each customer."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, LEDGER, _checked_transaction, guarded=True)
        self._ids: dict[str, dict[str, list[str]]] = {}  # namespace -> customer -> ids

    def of(self, namespace: str, customer: str) -> list[LedgerTransaction]:
        """The transactions of a customer (id), each once."""
        with self._changed:
            self._check()
            ids = self._ids.get(namespace, {}).get(customer, ())
            found = [self._values[id] for id in ids]
        return [_transaction(value) for value in found]

    def all(self, namespace: str) -> list[LedgerTransaction]:
        """The transactions of a namespace, each once."""
        with self._changed:
            self._check()
            found = [self._values[id] for ids in self._ids.get(namespace, {}).values() for id in ids]
        return [_transaction(value) for value in found]

    def wait(self, id: str, timeout_s: float) -> bool:
        """Whether a transaction was read within `timeout_s`."""
        return self.wait_for(lambda _: id in self._values, timeout_s)

    def _keep(self, key: str, value: bytes | None) -> None:
        if value is None:
            return  # a transaction is never removed
        if key not in self._values:
            owner = _owner(value)
            self._ids.setdefault(owner.namespace, {}).setdefault(owner.customer, []).append(key)
        super()._keep(key, value)


def _checked(value: bytes) -> bytes:
    """The bytes of a record that can be decoded. Raises Rejected."""
    _readable(value)
    return value


def _checked_transaction(value: bytes) -> bytes:
    """The bytes of a record that can be decoded. Raises Rejected."""
    _readable_transaction(value)
    return value
