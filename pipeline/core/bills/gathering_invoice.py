"""The gathering invoice of a customer and currency: when it is made, when its lines are collected, when it ends.

Owns: these. Does not own: which lines are collected (invoices.gathering), which lines lie on it (placing).

Lines of subscriptions that are settled by credits only gather apart: what is made of them is no invoice but a
statement. It has the sandbox for an app, is issued without an approval and has no tax, which was due when the credits
were sold.
"""

from __future__ import annotations

import msgspec

from pipeline.core.billing.apps_now import sandbox_of
from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.terms import NEVER_MS
from pipeline.core.catalog.plan import SettlementMode
from pipeline.core.credits.settlement import CREDIT_ONLY
from pipeline.core.invoices import gathering
from pipeline.core.invoices.invoice import (
    InvoiceContent,
    InvoiceCustomer,
    InvoiceWorkflow,
    customer_snapshot,
    invoice_id,
    workflow_snapshot,
)
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.numbering import gathering_number
from pipeline.core.invoices.profile import BillingProfile, ProfileApps
from pipeline.core.invoices.progress import InvoiceProgress
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.totals import InvoiceTotals
from pipeline.core.invoices.workflow import BillingWorkflow, InvoicingSettings, TaxSettings, terms_of
from pipeline.errors import Rejected

CHECKED_AGAIN_MS = 86_400_000  # a profile that changed may collect earlier


def profile_of(bills: CustomerBills) -> BillingProfile:
    """The profile in force for the customer. Raises Rejected."""
    return bills.definitions.profile_of(bills.namespace, bills.customer)


def new_content(
    bills: CustomerBills, id: str, number: str, currency: str, mode: SettlementMode
) -> InvoiceContent:
    """An invoice without lines, with the customer and the profile as they are.

    Args:
        bills: of the customer.
        id: of the invoice.
        number: that it has until it is issued.
        currency: of its lines.
        mode: how its lines are settled.

    Raises:
        Rejected: `not-found`: the customer does not exist; or there is no profile.
    """
    profile = profile_of(bills)
    workflow = msgspec.structs.replace(workflow_snapshot(profile), tax_rates=profile.tax_rates)
    if mode == CREDIT_ONLY:
        workflow = _of_statement(workflow, sandbox_of(bills.namespace).id)
    return InvoiceContent(
        id=id,
        type="standard",
        number=number,
        currency=currency,
        supplier=profile.supplier,
        customer=snapshot_of(bills),
        totals=InvoiceTotals(),
        workflow=workflow,
        settlement_mode=mode,
        created_at=bills.moment.now,
        updated_at=bills.moment.now,
    )


def _of_statement(workflow: InvoiceWorkflow, sandbox: str) -> InvoiceWorkflow:
    """The settings of a statement. sandbox: id of the app."""
    collected = workflow.workflow.collection
    return msgspec.structs.replace(
        workflow,
        apps=ProfileApps(tax=sandbox, invoicing=sandbox, payment=sandbox),
        workflow=BillingWorkflow(
            collection=collected,
            invoicing=InvoicingSettings(due_after="P0D"),
            tax=TaxSettings(enabled=False),
        ),
        tax_rates=(),
    )


def settlement_of(bills: CustomerBills, line: InvoiceLine) -> SettlementMode:
    """How a line is settled: as its subscription is."""
    if line.subscription is None:
        return "credit_then_invoice"
    return bills.subscription(line.subscription.subscription.id).settlement_mode


def snapshot_of(bills: CustomerBills) -> InvoiceCustomer:
    """The customer as an invoice keeps it. Raises Rejected `not-found`."""
    customer = bills.definitions.customer(bills.namespace, bills.customer)
    if customer is None:
        raise Rejected("not-found", f"There is no customer with the id {bills.customer[:64]}.")
    return customer_snapshot(customer)


def gathering_of(bills: CustomerBills, currency: str, mode: SettlementMode = "credit_then_invoice") -> str:
    """The id of the gathering invoice of a currency, which is made if there is none.

    Args:
        bills: of the customer.
        currency: of its lines.
        mode: how they are settled.

    Raises:
        Rejected: as `new_content`.
    """
    key = currency if mode != CREDIT_ONLY else f"{currency}/{mode}"
    known = bills.head.gathering.get(key)
    if known is not None:
        return known
    moment = bills.moment
    cause = f"{bills.namespace}/{bills.customer}/{key}/gathering/{moment.offset}"
    id = invoice_id(moment.now_ms, cause)
    content = new_content(bills, id, gathering_number(id, snapshot_of(bills).name, currency), currency, mode)
    terms = terms_of(content.workflow.workflow, moment.now_s, (), profile_of(bills).time_zone)
    progress = InvoiceProgress(
        invoice_id=id, state="gathering", sequence=0, entered_at_s=moment.now_s, terms=terms
    )
    bills.put_invoice(StoredInvoice(content=content, progress=progress))
    bills.change(gathering=bills.head.gathering | {key: id})
    return id


def gathering_for(bills: CustomerBills, line: InvoiceLine) -> str:
    """The id of the gathering invoice on which a line waits, which is made if there is none. Raises Rejected."""
    return gathering_of(bills, line.currency, settlement_of(bills, line))


def keep_gathering(bills: CustomerBills, held: frozenset[str] = frozenset()) -> None:
    """See when the gathering invoices that changed are collected; one without lines ends, unless it shows a problem.

    Args:
        held: the currencies in which lines that are due stay, since their total is below 0.
    """
    for currency, id in bills.head.gathering.items():
        if id not in bills.changed_invoices and currency not in held and not _is_past(bills, currency):
            continue
        stored = bills.invoice(id)
        if live_lines(stored.content.lines):
            _schedule(bills, currency, stored, currency in held)
        elif _shows_problem(bills, currency):
            bills.change(collect_ms=bills.head.collect_ms | {currency: NEVER_MS})
        else:
            _end(bills, currency, stored)


def _shows_problem(bills: CustomerBills, currency: str) -> bool:
    """Whether a correction in the currency cannot be rated, which is shown on the gathering invoice."""
    return any(one.currency == currency for one in bills.problems.unrated.values())


def _is_past(bills: CustomerBills, currency: str) -> bool:
    return bills.head.collect_ms.get(currency, NEVER_MS) <= bills.moment.now_ms


def _schedule(bills: CustomerBills, currency: str, stored: StoredInvoice, is_held: bool) -> None:
    profile, moment = profile_of(bills), bills.moment
    lines = stored.content.lines
    if is_held:
        later = [line.invoice_at_s for line in live_lines(lines) if line.invoice_at_s > moment.now_s]
        next_s = min(later, default=None)
    else:
        next_s = gathering.next_collection_s(lines, profile.workflow.collection.alignment, profile.time_zone)
    next_ms = NEVER_MS if next_s is None else next_s * 1000
    first_ms = min(line.invoice_at_s for line in live_lines(lines)) * 1000
    if next_ms > moment.now_ms >= first_ms:
        next_ms = min(next_ms, moment.now_ms + CHECKED_AGAIN_MS)
    if bills.head.collect_ms.get(currency) != next_ms:
        bills.change(collect_ms=bills.head.collect_ms | {currency: next_ms})
    progress = stored.progress
    if next_s is not None and progress.terms.collection_at_s != next_s:
        terms = msgspec.structs.replace(progress.terms, collection_at_s=next_s)
        progress = msgspec.structs.replace(progress, terms=terms)
    aggregations = {
        line.rate_card.feature_key or "": group.feature.aggregation
        for line in live_lines(lines)
        if (group := bills.find_group(bills.groups_of(stored.content.id).get(line.id, ""))) is not None
        and group.feature is not None
    }
    is_billable = gathering.is_billable(
        lines, moment.now_ms, profile.workflow.invoicing.progressive_billing, aggregations
    )
    bills.put_invoice(msgspec.structs.replace(stored, progress=progress, is_billable=is_billable))


def _end(bills: CustomerBills, currency: str, stored: StoredInvoice) -> None:
    now = bills.moment.now
    content = msgspec.structs.replace(stored.content, deleted_at=now, updated_at=now)
    progress = msgspec.structs.replace(
        stored.progress,
        state="deleted",
        sequence=stored.progress.sequence + 1,
        entered_at_s=bills.moment.now_s,
    )
    bills.put_invoice(msgspec.structs.replace(stored, content=content, progress=progress, is_billable=False))
    head = bills.head
    bills.change(
        gathering={name: id for name, id in head.gathering.items() if name != currency},
        collect_ms={name: at_ms for name, at_ms in head.collect_ms.items() if name != currency},
    )
