"""Our invoices of a Stripe app against those that Stripe has: each difference with its cause.

Owns: the causes and when each holds. Does not own: reading either side, the drift of usage (billing.stripe_drift).

    pending     it is on its way to Stripe, or Stripe's answer is
    failed      Stripe refused it
    missing     we have issued it, and Stripe does not have it
    doubled     Stripe has it more than once
    total       Stripe's total is another
    changed     its number or its state was changed at Stripe by hand
    not_voided  it is voided here, and Stripe refused to void it
    reported    Stripe has a state of its payment that no webhook has brought yet
    foreign     Stripe has an invoice with our mark, and we have none with its id
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple, get_args

from pipeline.core.billing.stripe_amount import plain_amount, stripe_amount
from pipeline.core.billing.stripe_found import found_in, owner_of
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.stripe_order import is_refused
from pipeline.records import StripeFound

InvoiceDrift = Literal[
    "pending", "failed", "missing", "doubled", "total", "changed", "not_voided", "reported", "foreign"
]
INVOICE_CAUSES: Final[tuple[InvoiceDrift, ...]] = get_args(InvoiceDrift)
# Differences that end by themselves, or by a retry of the invoice.
EXPLAINED: Final = frozenset({"pending", "failed", "reported"})
_NOT_SENT: Final = ("gathering", "draft", "deleted", "delete")
# What Stripe's states mean of ours; an open invoice may be in any state of an unpaid one.
_ENDED: Final[Mapping[str, str]] = {"paid": "paid", "void": "voided", "uncollectible": "uncollectible"}


class InvoiceDifference(NamedTuple):
    """A difference of one invoice.

    Attributes:
        invoice: our id; of one that is foreign, the id that it names.
        customer: our id.
        stripe_id: Stripe's id of the invoice; empty: it has none.
        ours, stripe: what differs, as text.
        cause: of it.
    """

    invoice: str
    customer: str
    number: str
    stripe_id: str
    ours: str
    stripe: str
    cause: InvoiceDrift


def compare_invoices(
    app: str, ours: Iterable[StoredInvoice], theirs: Iterable[Mapping[str, object]]
) -> list[InvoiceDifference]:
    """What differs, in the order of our invoices; what is foreign comes last.

    Args:
        app: id of the app.
        ours: its invoices, drafts too.
        theirs: invoices of its account, as Stripe shows them; those without our mark are left out.
    """
    there: dict[str, list[StripeFound]] = {}
    owners: dict[str, str] = {}
    for shown in theirs:
        owner = owner_of(shown)
        if owner.app == app and owner.invoice:
            there.setdefault(owner.invoice, []).append(found_in(shown))
            owners[owner.invoice] = owner.customer
    found: list[InvoiceDifference] = []
    for stored in ours:
        found += _differences(stored, there.pop(stored.content.id, []))
    for id, rest in there.items():
        found += (
            InvoiceDifference(id, owners[id], one.number, one.id, "", one.status, "foreign") for one in rest
        )
    return found


def _differences(stored: StoredInvoice, there: list[StripeFound]) -> Iterator[InvoiceDifference]:
    content, progress = stored.content, stored.progress
    number = progress.number or content.number
    stage = progress.state.partition(".")[0]

    def difference(one: StripeFound, ours: str, stripe: str, cause: InvoiceDrift) -> InvoiceDifference:
        return InvoiceDifference(content.id, content.customer.id, number, one.id, ours, stripe, cause)

    if stage == "issuing":
        cause: InvoiceDrift = "failed" if progress.state.endswith("failed") else "pending"
        yield difference(_first(there), progress.state, _first(there).status, cause)
        return
    if not there:
        never = progress.state == "voided" and (content.external_ids is None)
        if stage not in _NOT_SENT and not never:
            yield difference(StripeFound(), progress.state, "", "missing")
        return
    if len(there) > 1:
        yield difference(there[0], "1", str(len(there)), "doubled")
    one = there[0]
    wanted = stripe_amount(content.totals.total, content.currency)
    if one.total != wanted:
        yield difference(
            one, plain_amount(wanted, content.currency), plain_amount(one.total, content.currency), "total"
        )
    if progress.number is not None and one.number != progress.number:
        yield difference(one, progress.number, one.number, "changed")
    if stored.awaits_void and one.status != "void":
        yield difference(one, progress.state, one.status, _of_void(stored))
        return
    ended = _ENDED.get(one.status)
    if one.status == "draft" or (ended is None and progress.state in ("paid", "voided")):
        yield difference(one, progress.state, one.status, "changed")
    elif ended is not None and ended != progress.state and not _is_given_back(stored, one):
        is_paid_late = ended == "paid" and progress.state != "voided"  # no webhook moves a voided one
        yield difference(one, progress.state, one.status, "reported" if is_paid_late else "changed")


def _is_given_back(stored: StoredInvoice, one: StripeFound) -> bool:
    """Whether it is voided here, and Stripe has credited all of what it had collected."""
    return stored.progress.state == "voided" and one.status == "paid" and one.credited >= one.total


def _of_void(stored: StoredInvoice) -> InvoiceDrift:
    """Why an invoice that is voided here is not so at Stripe: it refused that, or its answer is on its way."""
    return "not_voided" if is_refused(stored.content) else "pending"


def _first(there: list[StripeFound]) -> StripeFound:
    return there[0] if there else StripeFound()
