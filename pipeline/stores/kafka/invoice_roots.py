"""The Merkle roots of invoices of which a proof was made, published once they are known and in memory.

Owns: the view, publishing. Does not own: proofs (core.proof). The root of an invoice never changes, so it may be
published again.
"""

from __future__ import annotations

import msgspec

from pipeline.core.values.json_value import reader_of
from pipeline.records import InvoiceRoot
from pipeline.settings import Settings
from pipeline.stores.kafka.view import CompactedView
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord

TOPIC = "invoice-roots"
DELIVERY_S = 5.0


class InvoiceRootsView(CompactedView[InvoiceRoot]):
    """`invoice-roots` by key, and publishing one."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, TOPIC, reader_of(InvoiceRoot))
        self._writer = KafkaWriter(settings, "roots of invoices", DELIVERY_S)

    def of(self, namespace: str, invoice: str) -> InvoiceRoot | None:
        """The root of an invoice (id); None: no proof was made of it, or it is not read yet."""
        return self.get(_key(namespace, invoice))

    def publish(self, root: InvoiceRoot) -> None:
        """Return when the broker has stored it. Raises Unavailable."""
        if self.of(root.namespace, root.invoice) is None:
            key = _key(root.namespace, root.invoice)
            self._writer.write([WrittenRecord(TOPIC, msgspec.json.encode(root), key)])

    def close(self) -> None:
        """Stop reading and publishing."""
        super().close()
        self._writer.close()


def _key(namespace: str, invoice: str) -> str:
    return f"{namespace}/{invoice}"
