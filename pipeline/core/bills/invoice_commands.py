"""What clients do with invoices: each command `invoice.*` and what it changes.

Owns: reading their bodies but for those of lines, doing them. Does not own: what is allowed in which state (actions,
custom_invoicing), what a line may be (pending_line), editing (invoice_update), voiding (invoice_void).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from pipeline.core.billing.app import CustomInvoicingApp
from pipeline.core.bills import custom_callbacks, drafts, stripe_orders
from pipeline.core.bills.collection import invoice_now
from pipeline.core.bills.custom_callbacks import Callback
from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.flow import Flow, deleted_lines
from pipeline.core.bills.gathering_invoice import gathering_of
from pipeline.core.bills.invoice_update import update_invoice
from pipeline.core.bills.invoice_void import void
from pipeline.core.bills.placing import give_up, new_group, put_lines
from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.body import BodyReader
from pipeline.core.invoices import actions, machine
from pipeline.core.invoices.actions import Action
from pipeline.core.invoices.line import live_lines
from pipeline.core.invoices.pending_line import MOST_LINES, PendingContext, read_pending_lines
from pipeline.core.invoices.progress import EffectAnswer
from pipeline.core.values.currency import digits_of
from pipeline.errors import Rejected
from pipeline.records import Command

ReplyMembers = dict[str, object]
KIND: Final = "invoice"
MOST_WAITING: Final = 1000  # lines on a gathering invoice, so that it fits into a record


class InvoiceCommand(NamedTuple):
    """A command with what it is decided on."""

    bills: CustomerBills
    flow: Flow
    command: Command
    customer: Customer

    @property
    def id(self) -> str:
        """The invoice that the path names."""
        return str(self.command.body.get("id"))

    @property
    def sent(self) -> Mapping[str, object]:
        """The client's JSON; empty without a body."""
        sent = self.command.body.get("sent")
        return sent if isinstance(sent, Mapping) else {}

    @property
    def now_s(self) -> int:
        return self.bills.moment.now_s


def decide_invoice(asked: InvoiceCommand) -> ReplyMembers:
    """Do a command `invoice.*`.

    Returns:
        Members of the reply.

    Raises:
        Rejected: `bad-command` for another kind; the reasons of the function that does it.
    """
    decider = DECIDERS.get(asked.command.kind)
    if decider is None:
        raise Rejected("bad-command", f"There is no command {asked.command.kind[:64]!r}.")
    _check_type(asked)
    return decider(asked)


def _check_type(asked: InvoiceCommand) -> None:
    """Raises Rejected `invoice_cannot_be_edited`, `invoice_action_not_available` for a credit note."""
    found = asked.bills.find_invoice(asked.id)
    if found is not None and found.content.type == "credit_note" and asked.command.kind != "invoice.retry":
        edits = asked.command.kind in ("invoice.update", "invoice.recalculate-tax")
        reason = "invoice_cannot_be_edited" if edits else "invoice_action_not_available"
        raise Rejected(reason, "A credit note is final: it cannot be changed.")


def pending_lines(asked: InvoiceCommand) -> ReplyMembers:
    """New lines wait on the gathering invoice. Raises Rejected."""
    bills, moment = asked.bills, asked.bills.moment
    sent = BodyReader(KIND, asked.sent, ("currency", "lines"))
    currency = sent.required("currency", 3)
    digits_of(currency)
    bodies = sent.objects("lines", 0, MOST_LINES) or []
    features = {key: bills.definitions.feature(bills.namespace, key) for key in _feature_keys(bodies)}
    has_meter = {key: feature is not None for key, feature in features.items()}
    context = PendingContext(asked.customer, currency, has_meter, asked.command.id, moment.now_ms)
    lines = read_pending_lines(bodies, context)
    is_new = currency not in bills.head.gathering
    id = gathering_of(bills, currency)
    waiting = bills.invoice(id).content.lines
    if len(waiting) + len(lines) > MOST_WAITING:
        raise Rejected(
            "invoice_too_many_lines", f"At most {MOST_WAITING} lines of a currency can wait to be invoiced."
        )
    put_lines(bills, id, [*waiting, *lines])
    for line in lines:
        feature = features.get(line.rate_card.feature_key or "") if line.is_metered else None
        new_group(bills, line, feature, id)
    return {"invoice": id, "lines": [line.id for line in lines], "isInvoiceNew": is_new}


def _feature_keys(bodies: list[Mapping[str, object]]) -> set[str]:
    cards = [body.get("rateCard") for body in bodies]
    found = [body.get("featureKey") for body in bodies]
    found += [card.get("featureKey") for card in cards if isinstance(card, Mapping)]
    return {key for key in found if isinstance(key, str)}


def now(asked: InvoiceCommand) -> ReplyMembers:
    """Drafts of lines that wait. Raises Rejected."""
    members = ("customerId", "asOf", "filters", "progressiveBillingOverride")
    sent = BodyReader(KIND, asked.sent, members)
    sent.text("customerId", 64)
    as_of_ms = sent.instant_ms("asOf")
    filters = sent.nested("filters")
    ids = (
        None if filters is None else BodyReader(KIND, filters, ("lineIds",)).texts("lineIds", MOST_LINES, 64)
    )
    progressive = sent.flag("progressiveBillingOverride")
    as_of_s = asked.now_s if as_of_ms is None else as_of_ms // 1000
    return {"created": invoice_now(asked.bills, asked.flow, as_of_s, progressive, ids)}


def delete(asked: InvoiceCommand) -> ReplyMembers:
    """A draft is deleted; its lines are not billed again. Raises Rejected."""
    bills, id = asked.bills, asked.id
    stored = bills.invoice(id)
    step = actions.act(stored.progress, "delete", asked.now_s)
    for line in live_lines(stored.content.lines):
        give_up(bills, id, line)
    lines = deleted_lines(stored.content.lines, bills.moment.now)
    bills.put_invoice(
        msgspec.structs.replace(stored, content=msgspec.structs.replace(stored.content, lines=lines))
    )
    asked.flow.move(id, step)
    return {}


def advance(asked: InvoiceCommand) -> ReplyMembers:
    """An invoice continues as far as it can. Raises Rejected."""
    stored = asked.bills.invoice(asked.id)
    before = stored.progress
    asked.flow.tick(asked.id)
    if asked.bills.invoice(asked.id).progress == before:
        actions.advance(before, asked.now_s)
    return {}


def _act(action: Action) -> Callable[[InvoiceCommand], ReplyMembers]:
    def act(asked: InvoiceCommand) -> ReplyMembers:
        progress = asked.bills.invoice(asked.id).progress
        asked.flow.move(asked.id, actions.act(progress, action, asked.now_s))
        return {}

    return act


def retry(asked: InvoiceCommand) -> ReplyMembers:
    """What failed is tried again, also a void that Stripe refused. Raises Rejected."""
    stored = asked.bills.invoice(asked.id)
    if stored.content.type == "credit_note":
        asked.flow.number_again(asked.id)
        return {}
    again = stripe_orders.void_again(stored, asked.now_s)
    if again is None:
        return _act("retry")(asked)
    asked.flow.move(asked.id, again)
    return {}


def snapshot(asked: InvoiceCommand) -> ReplyMembers:
    """The usage of a draft is taken as it is now. Raises Rejected."""
    progress = asked.bills.invoice(asked.id).progress
    if progress.waiting[:1] == ("collect",):
        answer = EffectAnswer(sequence=progress.sequence, effect="collect")
        asked.flow.move(asked.id, machine.answer(progress, answer, asked.now_s))
        return {}
    return _act("snapshot_quantities")(asked)


def void_invoice(asked: InvoiceCommand) -> ReplyMembers:
    """An issued invoice is taken back. Raises Rejected."""
    void(asked.bills, asked.flow, asked.id, asked.sent)
    return {}


def _called_back(callback: Callback) -> Callable[[InvoiceCommand], ReplyMembers]:
    def called(asked: InvoiceCommand) -> ReplyMembers:
        stored = asked.bills.invoice(asked.id)
        if not isinstance(drafts.app_of(asked.bills, stored.content), CustomInvoicingApp):
            raise Rejected(
                "invoice_action_not_available", "The invoice is not one of a custom invoicing app."
            )
        found = callback(stored, asked.sent, asked.bills.moment.now_ms)
        asked.bills.put_invoice(msgspec.structs.replace(stored, content=found.content))
        asked.flow.move(asked.id, found.step)
        return {}

    return called


def update(asked: InvoiceCommand) -> ReplyMembers:
    """An invoice is edited. Raises Rejected."""
    update_invoice(asked.bills, asked.flow, asked.customer, asked.command, asked.id)
    return {}


def recalculate_tax(asked: InvoiceCommand) -> ReplyMembers:
    """The taxes of a draft are computed by the rates that its profile has now. Raises Rejected."""
    bills, id = asked.bills, asked.id
    stored = bills.invoice(id)
    actions.check_editable(stored.progress)
    content = stored.content
    profile = bills.definitions.profile(bills.namespace, content.workflow.source_billing_profile_id)
    if profile is not None:
        workflow = msgspec.structs.replace(content.workflow, tax_rates=profile.tax_rates)
        content = msgspec.structs.replace(content, workflow=workflow)
    content = msgspec.structs.replace(drafts.taxed(content), updated_at=bills.moment.now)
    bills.put_invoice(msgspec.structs.replace(stored, content=content))
    if not bills.is_gathering(id):
        terms = drafts.terms_for(bills, content, stored.progress.terms.zone)
        asked.flow.move(id, actions.edit(stored.progress, terms, asked.now_s))
    return {}


DECIDERS: Final[Mapping[str, Callable[[InvoiceCommand], ReplyMembers]]] = {
    "invoice.pending-lines": pending_lines,
    "invoice.now": now,
    "invoice.update": update,
    "invoice.delete": delete,
    "invoice.advance": advance,
    "invoice.approve": _act("approve"),
    "invoice.retry": retry,
    "invoice.snapshot": snapshot,
    "invoice.void": void_invoice,
    "invoice.recalculate-tax": recalculate_tax,
    "invoice.draft-synchronized": _called_back(custom_callbacks.draft_synchronized),
    "invoice.issuing-synchronized": _called_back(custom_callbacks.issuing_synchronized),
    "invoice.payment-status": _called_back(custom_callbacks.payment_status),
}
