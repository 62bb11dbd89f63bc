"""The records on Tallymark's own topics, each declared once, in the module of its subject.

Owns: field order, meaning and units. Does not own: creating a record (core) or publishing it (engine).
Inner topics are packed: one Kafka record holds the events of one chunk for one partition, because a Kafka record costs
more CPU than counting an event. Array-like records only ever grow at the end, so old ones can be decoded for ever.
All instants are UTC; `_ns` and `_ms` are integers since 1970. Decimals are plain decimal strings.
"""

from pipeline.records.billing import BillDocument, BillingWork, BillingWorkKind, InvoiceRoot, NumberWork
from pipeline.records.control import Audit, Command, Definition, Reply
from pipeline.records.events import KEY, AcceptedBatch, Backfilled, Event, Fate, Refused, Settled
from pipeline.records.ledger import LedgerAccount, LedgerEntry, LedgerTransaction
from pipeline.records.notifications import (
    Alert,
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryState,
    WebhookWork,
)
from pipeline.records.operation import Counts, TopicId, Worker
from pipeline.records.quota import Balance, LateUsage
from pipeline.records.stripe import (
    StripeAction,
    StripeFound,
    StripeInvoiceFact,
    StripeItem,
    StripeItemKind,
    StripeItemTax,
    StripeOrder,
    StripeReport,
    StripeUsage,
    StripeWork,
    StripeWorkKind,
)
from pipeline.records.usage import Backfill, CustomerWindow, Window

__all__ = [
    "KEY",
    "AcceptedBatch",
    "Alert",
    "Attempt",
    "AttemptOutcome",
    "Audit",
    "Backfill",
    "Backfilled",
    "Balance",
    "BillDocument",
    "BillingWork",
    "BillingWorkKind",
    "Command",
    "Counts",
    "CustomerWindow",
    "Definition",
    "Delivery",
    "DeliveryState",
    "Event",
    "Fate",
    "InvoiceRoot",
    "LateUsage",
    "LedgerAccount",
    "LedgerEntry",
    "LedgerTransaction",
    "NumberWork",
    "Refused",
    "Reply",
    "Settled",
    "StripeAction",
    "StripeFound",
    "StripeInvoiceFact",
    "StripeItem",
    "StripeItemKind",
    "StripeItemTax",
    "StripeOrder",
    "StripeReport",
    "StripeUsage",
    "StripeWork",
    "StripeWorkKind",
    "TopicId",
    "WebhookWork",
    "Window",
    "Worker",
]
