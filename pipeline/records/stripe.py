"""Usage and invoices on their way to Stripe: what changes them, and what they are."""

from __future__ import annotations

from typing import Literal

import msgspec

StripeWorkKind = Literal["clock", "attempt", "seen", "retry", "reported", "order", "called", "found"]
StripeAction = Literal["issue", "pay", "void"]
StripeItemKind = Literal["line", "discount", "credit"]


class StripeItemTax(msgspec.Struct, array_like=True):
    """A tax of an item. percent: plain decimal text. Amounts are in Stripe's smallest unit of the currency."""

    name: str
    percent: str
    inclusive: bool
    amount: int
    taxable: int


class StripeItem(msgspec.Struct, array_like=True):
    """A line of an invoice as Stripe shows it. amount: in Stripe's smallest unit of the currency, may be below 0."""

    kind: StripeItemKind
    line: str  # id
    amount: int
    description: str
    start_s: int
    end_s: int
    taxes: list[StripeItemTax] = []


class StripeOrder(msgspec.Struct, omit_defaults=True):
    """What Stripe is to do with an invoice. It has all that the calls need, so that their bytes follow from it.

    issue: the customer, if Stripe does not have it, then the invoice, its lines, its finalization. pay: try to collect
    the payment again. void: take back whatever Stripe has of it.
    """

    action: StripeAction
    app: str  # id
    sequence: int  # of the invoice's states, which the answer repeats
    stripe_id: str = ""  # of the invoice, where it is known
    number: str = ""
    currency: str = ""  # ISO 4217
    total: int = 0  # in Stripe's smallest unit, as all amounts of an order
    sends: bool = False  # Stripe sends it to the customer, who pays; else Stripe charges by itself
    due_days: int = 0  # of an invoice that is sent
    description: str = ""
    name: str = ""  # of the customer
    email: str = ""
    address: dict[str, str] = {}  # members as of Stripe's
    items: list[StripeItem] = []


class StripeFound(msgspec.Struct, omit_defaults=True):
    """What an answer of Stripe shows of an object: a customer has no more than an id."""

    id: str = ""  # empty: Stripe has no such object
    status: str = ""  # of an invoice: draft, open, paid, void, uncollectible, deleted
    total: int = 0
    items: int = 0
    number: str = ""
    hosted_url: str = ""
    pdf_url: str = ""
    due_s: int = 0  # 0: none
    credited: int = 0  # of an invoice that was paid: what credit notes have given back since


class StripeWork(msgspec.Struct, omit_defaults=True):
    """`stripe-work`, beside windows: everything else that changes the state of usage on its way to Stripe.

    clock: time has passed; `items` name what changed. attempt: a call with `identifier` was made. seen: the summaries
    of Stripe hold `units` for the customer and window of the request with `identifier`. retry: what Stripe refused of
    a customer and mapping is to be sent again. reported: Stripe reports that it did not count the event `identifier`.
    """

    kind: StripeWorkKind
    at_ms: int = 0  # of a clock that is ahead of the broker's; 0: the time of the record counts
    namespace: str = ""
    customer: str = ""  # id
    mapping: str = ""  # id of the stripe-meter
    identifier: str = ""  # of the meter event; the idempotency key of another call
    outcome: Literal["", "done", "refused", "later", "unauthorized", "unknown"] = ""
    status: int = 0  # of HTTP; 0: no answer
    message: str = ""  # Stripe's own
    retry_after_ms: int = 0  # what Stripe asked to wait
    units: str = ""  # plain decimal text
    items: list[list[str]] = []  # such as ["customer", namespace, id]
    actor: str = ""  # who requested a retry
    accept: Literal["", "stripe"] = ""  # of a retry: what Stripe has of a blocked window counts as confirmed
    invoice: str = ""  # id
    order: StripeOrder | None = None
    found: StripeFound | None = None
    stored: bool = False  # the answer is one that Stripe keeps for the key, so that a repeat brings the same


class StripeInvoiceFact(msgspec.Struct, omit_defaults=True):
    """What is known of an invoice at Stripe: the answer to an order, or an event that Stripe delivers.

    An answer has a `sequence` and an `outcome`; an event has a `type`.
    """

    app: str  # id
    at_s: int  # when it happened, by the clock of the answer or of Stripe
    sequence: int = 0  # of the order
    action: Literal["", "issue", "pay", "void"] = ""
    outcome: Literal["", "done", "failed"] = ""
    type: str = ""  # Stripe's
    message: str = ""  # Stripe's own, or ours where its totals are others
    found: StripeFound | None = None


class StripeUsage(msgspec.Struct, array_like=True):
    """`stripe-usage` (a list of them): a window of usage that is sent to Stripe, in its newest state.

    Its identity is (namespace, mapping, customer, dimensions, start_s); of several the one with the highest `revision`
    is the newest. Units are whole units of Stripe.
    """

    namespace: str
    app: str  # id
    mapping: str  # id of the stripe-meter
    meter: str  # slug
    customer: str  # id
    dimensions: dict[str, str]  # by member of the payload, sorted by name
    start_s: int
    end_s: int
    exact: str  # usage of the window, plain decimal text
    wanted: int  # units that Stripe is to have for it
    confirmed: int  # units that Stripe has
    unsendable: int  # units that Stripe does not take
    pending: int  # units of the request in progress
    cause: str  # of `unsendable`: "refused", "too_old" or "blocked"; empty: none
    message: str  # Stripe's own
    requests: int  # that were made for it
    revision: int  # offset in `stripe-work` of the record that changed it last
    at_ms: int  # time of that record


class StripeReport(msgspec.Struct, frozen=True):
    """`stripe-reports`: what Stripe reported by webhook of meter events that it accepted and could not count.

    Its key is namespace/app/event, so that an event that Stripe delivers twice is one record.
    """

    namespace: str
    app: str  # id
    event: str  # Stripe's id of it
    type: str  # Stripe's
    meter: str  # Stripe's id; empty: no meter has the name of the events
    created_ms: int  # when Stripe made the event
    from_ms: int  # of the time in which Stripe validated the meter events
    to_ms: int
    codes: dict[str, int]  # number of meter events by Stripe's code
    identifiers: dict[str, str]  # samples: Stripe's message by identifier of the meter event
    sentence: str  # Stripe's own summary
