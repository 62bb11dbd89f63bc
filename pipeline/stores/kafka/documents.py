"""Documents of customers, as billing published them last: what the views of subscriptions and invoices have in common.

Owns: look-ups by id and by customer, waiting for a document. Does not own: how a document is kept (bills, invoices),
the meaning of its body (core.subscriptions, core.invoices), publishing it (agents.billing).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from sys import intern
from typing import TypeVar

from pipeline.records import BillDocument
from pipeline.settings import Settings
from pipeline.stores.kafka.view import CompactedView

V = TypeVar("V")


def document_key(namespace: str, customer: str, id: str) -> str:
    """The key of a document on its topic. customer: id."""
    return f"{namespace}/{customer}/{id}"


class DocumentsView(CompactedView[V]):
    """One topic of documents: each by its key, and the customer of each id."""

    def __init__(self, settings: Settings, topic: str, decode: Callable[[bytes], V]) -> None:
        super().__init__(settings, topic, decode, guarded=True)
        self._customers: dict[str, dict[str, str]] = {}  # namespace -> id -> customer
        self._ids: dict[tuple[str, str], dict[str, None]] = {}  # namespace and customer -> ids

    @abstractmethod
    def _document(self, value: V) -> BillDocument:
        """The document as it was published."""

    @abstractmethod
    def _revision(self, value: V) -> int:
        """Of the document."""

    def document(self, namespace: str, id: str) -> BillDocument | None:
        """The newest state of a document; None: there is none."""
        with self._changed:
            self._check()
            found = self._find(namespace, id)
            return None if found is None else self._document(found)

    def of(self, namespace: str, customer: str) -> list[BillDocument]:
        """Those of a customer (id), by id."""
        with self._changed:
            self._check()
            return [self._document(self._values[key]) for key in self._keys_of(namespace, customer)]

    def all(self, namespace: str) -> list[BillDocument]:
        """Those of a namespace, by id."""
        with self._changed:
            self._check()
            return [self._document(self._values[key]) for key in self._keys(namespace)]

    def customers(self, namespace: str) -> set[str]:
        """The ids of the customers who have one."""
        with self._changed:
            self._check()
            return set(self._customers.get(namespace, {}).values())

    def wait(self, namespace: str, id: str, revision: int, timeout_s: float) -> bool:
        """Whether the document was read at `revision`, or at a newer one, within `timeout_s`."""

        def has_come(_: object) -> bool:
            found = self._find(namespace, id)
            return found is not None and self._revision(found) >= revision

        return self.wait_for(has_come, timeout_s)

    def _find(self, namespace: str, id: str) -> V | None:
        customer = self._customers.get(namespace, {}).get(id)
        return None if customer is None else self._values[document_key(namespace, customer, id)]

    def _keys(self, namespace: str) -> list[str]:
        places = sorted(self._customers.get(namespace, {}).items())
        return [document_key(namespace, customer, id) for id, customer in places]

    def _keys_of(self, namespace: str, customer: str) -> list[str]:
        ids = sorted(self._ids.get((namespace, customer), ()))
        return [document_key(namespace, customer, id) for id in ids]

    def _keep(self, key: str, value: V | None) -> None:
        super()._keep(key, value)
        namespace, _, rest = key.partition("/")
        customer, _, id = rest.partition("/")
        customer = intern(customer)  # one text for all documents of a customer
        if value is None:
            self._customers.get(namespace, {}).pop(id, None)
            self._ids.get((namespace, customer), {}).pop(id, None)
        else:
            self._customers.setdefault(namespace, {})[id] = customer
            self._ids.setdefault((namespace, customer), {})[id] = None
