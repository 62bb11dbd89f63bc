"""Subscriptions, invoices and credits of customers, as billing published them last.

Owns: the view of `subscriptions`, all views together. Does not own: the other views (invoices, credits), what they have
in common (documents), the meaning of a document's body (core.subscriptions, core.invoices, core.credits).

A subscription is kept as the bytes of its record and decoded when it is read: most are read rarely.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

import msgspec

from pipeline.core.invoices.invoice_list import InvoiceHead
from pipeline.core.values.json_value import reader_of
from pipeline.records import BillDocument, LedgerTransaction
from pipeline.settings import Settings
from pipeline.stores.kafka.credits import GRANTS, CreditsView, LedgerView
from pipeline.stores.kafka.documents import DocumentsView, document_key
from pipeline.stores.kafka.invoices import InvoicesView
from pipeline.stores.kafka.view import LOAD_TIMEOUT_S, CompactedView

__all__ = ["TOPICS", "BillsView", "DocumentKind", "SubscriptionsView", "document_key"]

DocumentKind = Literal["subscription", "invoice", "credit", "transaction"]
TOPICS: dict[DocumentKind, str] = {"subscription": "subscriptions", "invoice": "invoices", "credit": GRANTS}

_readable = reader_of(BillDocument)
_decode = msgspec.json.Decoder(BillDocument).decode


class SubscriptionsView(DocumentsView[bytes]):
    """The newest state of each subscription."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, TOPICS["subscription"], _checked)

    def _document(self, value: bytes) -> BillDocument:
        return _decode(value)

    def _revision(self, value: bytes) -> int:
        return _decode(value).revision


class BillsView:
    """The views of the topics. Use it as a context manager, or call `start` and `close`."""

    def __init__(self, settings: Settings) -> None:
        self._subscriptions = SubscriptionsView(settings)
        self._invoices = InvoicesView(settings)
        self._credits = CreditsView(settings)
        self._ledger = LedgerView(settings)

    def start(self) -> Self:
        """Start to read; returns at once."""
        for view in self.views():
            view.start()
        return self

    def close(self) -> None:
        """Stop reading."""
        for view in self.views():
            view.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def views(self) -> Iterable[CompactedView[bytes] | InvoicesView]:
        """All of them, to wait until they are loaded."""
        return self._subscriptions, self._invoices, self._credits, self._ledger

    def wait_loaded(self, timeout_s: float = LOAD_TIMEOUT_S) -> None:
        """Returns when the topics were read to their ends. Raises NotAnswering."""
        for view in self.views():
            view.wait_loaded(timeout_s)

    def subscription(self, namespace: str, id: str) -> BillDocument | None:
        """A subscription, deleted ones too."""
        return self._subscriptions.document(namespace, id)

    def subscriptions_of(self, namespace: str, customer: str) -> list[BillDocument]:
        """The subscriptions of a customer (id), by id: in the order in which they were made."""
        return self._subscriptions.of(namespace, customer)

    def all_subscriptions(self, namespace: str) -> list[BillDocument]:
        """The subscriptions of a namespace, by id."""
        return self._subscriptions.all(namespace)

    def invoice(self, namespace: str, id: str) -> BillDocument | None:
        """An invoice, gathering and deleted ones too."""
        return self._invoices.document(namespace, id)

    def invoices_of(self, namespace: str, customer: str) -> list[BillDocument]:
        """The invoices of a customer (id), by id."""
        return self._invoices.of(namespace, customer)

    def invoice_heads(self, namespace: str) -> list[InvoiceHead]:
        """What lists need of the invoices of a namespace, by id."""
        return self._invoices.heads(namespace)

    def invoice_heads_of(self, namespace: str, customer: str) -> list[InvoiceHead]:
        """What lists need of the invoices of a customer (id), by id."""
        return self._invoices.heads_of(namespace, customer)

    def credit(self, namespace: str, id: str) -> BillDocument | None:
        """A credit grant, ended ones too."""
        return self._credits.document(namespace, id)

    def credits_of(self, namespace: str, customer: str) -> list[BillDocument]:
        """The credit grants of a customer (id), by id."""
        return self._credits.of(namespace, customer)

    def ledger_of(self, namespace: str, customer: str) -> list[LedgerTransaction]:
        """The transactions of the ledger of a customer (id)."""
        return self._ledger.of(namespace, customer)

    def ledger(self, namespace: str) -> list[LedgerTransaction]:
        """The transactions of the ledger of a namespace."""
        return self._ledger.all(namespace)

    def customers(self, namespace: str) -> set[str]:
        """The ids of the customers who have a subscription or an invoice."""
        return self._subscriptions.customers(namespace) | self._invoices.customers(namespace)

    def invoices_with(self, namespace: str, line_id: str) -> list[BillDocument]:
        """The invoices that may have a line."""
        return self._invoices.having(namespace, line_id)

    def invoices_with_issues(self) -> list[BillDocument]:
        """The invoices of all namespaces that have a validation issue and are not settled, in no order."""
        return self._invoices.with_issues()

    def wait(self, kind: DocumentKind, namespace: str, id: str, revision: int, timeout_s: float) -> bool:
        """Whether a document was read at `revision`, or at a newer one, within `timeout_s`. A transaction has one."""
        if kind == "transaction":
            return self._ledger.wait(id, timeout_s)
        if kind == "invoice":
            return self._invoices.wait(namespace, id, revision, timeout_s)
        view = self._credits if kind == "credit" else self._subscriptions
        return view.wait(namespace, id, revision, timeout_s)


def _checked(value: bytes) -> bytes:
    """The bytes of a record that can be decoded. Raises Rejected."""
    _readable(value)
    return value
