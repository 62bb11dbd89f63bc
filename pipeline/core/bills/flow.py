"""The way of an invoice through its states: what each effect does, who answers it.

Owns: doing the local effects, the answers of the apps that need no other stage, asking for numbers, reminders, when an
invoice is due next. Does not own: the states (invoices.machine), ratings and issues (drafts), bookings (placing).
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.billing.app import SANDBOX, STRIPE, CustomInvoicingApp
from pipeline.core.bills import credit_burn, drafts, placing, stripe_orders
from pipeline.core.bills.bill_rows import InvoiceDue
from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.issues import issue, with_issues
from pipeline.core.bills.terms import NEVER_MS, BillTerms
from pipeline.core.credits.settlement import CREDIT_ONLY
from pipeline.core.invoices import actions, credit_note, custom_invoicing, dunning, machine, payment, sandbox
from pipeline.core.invoices.custom_invoicing import CustomHooks
from pipeline.core.invoices.invoice import InvoiceContent, ValidationIssue, due_of
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.numbering import Numbering, series_of, statement_number, stem_of
from pipeline.core.invoices.payment_fact import PaymentFact
from pipeline.core.invoices.progress import EffectAnswer, InvoiceIntent, InvoiceProgress, Step
from pipeline.core.invoices.state_table import Effect
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.workflow import dunning_of
from pipeline.records import BillingWork, NumberWork

NUMBERING: Final = "numbering"  # of the issue that shows why an invoice has no number
_EDITS_AFTER_COLLECTION: Final = ("draft.created", "draft.waiting_for_collection")


class Flow:
    """Moves the invoices of one customer within one record."""

    def __init__(self, bills: CustomerBills, terms: BillTerms) -> None:
        self.bills = bills
        self._terms = terms
        self._now_s = bills.moment.now_s
        self._rated: dict[str, InvoiceContent] = {}  # as they were rated within this record

    # -- moving -------------------------------------------------------------------------------------------------

    def begin(self, content_id: str) -> None:
        """Start a draft whose content was put with any progress."""
        stored = self.bills.invoice(content_id)
        self._run(stored, machine.begin(content_id, stored.progress.terms, self._now_s))

    def move(self, id: str, step: Step) -> None:
        """Take over what a trigger did to an invoice, and do the effects that follow."""
        self._run(self.bills.invoice(id), step)

    def tick(self, id: str) -> None:
        """Time has passed, or usage is settled."""
        stored = self.bills.invoice(id)
        progress = stored.progress
        if progress.waiting[:1] == ("collect",):
            if self._is_settled(progress):
                self._run(stored, machine.answer(progress, _done(progress, "collect"), self._now_s))
            else:
                self.bills.set_due(id, self._due(stored))
            return
        step = machine.advance(progress, self._now_s)
        if step.invoice != progress or step.intents:
            self._run(stored, step)
        self._remind(id)
        stored = self.bills.invoice(id)
        if id in self.bills.head.open:
            self.bills.set_due(id, self._due(stored))

    def numbered(self, work: BillingWork) -> None:
        """The answer of the numbering. The same answer again changes nothing."""
        stored = self.bills.find_invoice(work.invoice)
        if stored is None:
            return
        if not work.error or stored.progress.waiting[:1] == ("request_number",):
            stored = self._number_noted(stored, work)
        if stored.content.type == "credit_note":
            if work.number:
                stored = credit_note.numbered(stored, work.number, self._now_s)
            elif stored.progress.waiting:
                stored = credit_note.not_numbered(stored, self._now_s)
            self.bills.put_invoice(stored)
            return
        progress = stored.progress
        answer = EffectAnswer(
            sequence=progress.sequence,
            effect="request_number",
            failed=bool(work.error),
            number=work.number or None,
        )
        if work.error and progress.waiting[:1] != ("request_number",):
            return
        self._run(stored, machine.answer(progress, answer, self._now_s))

    def _number_noted(self, stored: StoredInvoice, work: BillingWork) -> StoredInvoice:
        """The invoice with why it has no number as an issue. A retry asks in the series that the profile has then."""
        id, found = work.invoice, tuple[ValidationIssue, ...]()
        if self.bills.is_closed(id):
            return stored
        if work.error:
            found = (issue(id, "critical", work.error, NUMBERING, work.detail, self.bills.moment.now_ms),)
            self.bills.forget_number(id)
        return with_issues(stored, NUMBERING, found)

    def number_again(self, id: str) -> None:
        """A credit note whose number was refused asks again. Raises Rejected `invoice_action_not_available`."""
        self.bills.put_invoice(credit_note.retried(self.bills.invoice(id), self._now_s))
        self.ask_number(self.bills.invoice(id))

    def edit_again(self, id: str) -> bool:
        """The lines of a draft have to be rated again. Returns whether that is done, or will be."""
        stored = self.bills.invoice(id)
        progress = stored.progress
        if progress.state in _EDITS_AFTER_COLLECTION or progress.waiting[:1] == ("collect",):
            # They are rated again when usage is collected; until then the draft shows what its lines cost by now.
            self.bills.put_invoice(self._rate(stored))
            return True
        if machine.way_of(progress, "edit", self._now_s) is None:
            return False
        terms = drafts.terms_for(self.bills, stored.content, progress.terms.zone)
        self._run(stored, actions.edit(progress, terms, self._now_s))
        return True

    # -- effects ------------------------------------------------------------------------------------------------

    def _run(self, stored: StoredInvoice, step: Step) -> None:
        """Do the effects of a step and of those that follow, as far as they are answered within this record."""
        stored = self._entered(stored, step)
        intents = list(step.intents)
        while intents:
            intent = intents.pop(0)
            stored, following = self._perform(stored, intent)
            if following is not None:
                stored = self._entered(stored, following)
                intents += following.intents
        self.bills.put_invoice(stored)
        if stored.content.id not in self.bills.head.gathering.values():
            self.bills.set_due(stored.content.id, self._due(stored))

    def _entered(self, stored: StoredInvoice, step: Step) -> StoredInvoice:
        """The invoice in its new state; the effect of some states is on its content."""
        content, now = stored.content, self.bills.moment.now
        if "deleted" in step.entered:
            content = msgspec.structs.replace(content, deleted_at=now)
        if "voided" in step.entered:
            content = msgspec.structs.replace(content, voided_at=now)
        credit_burn.enter(self.bills, content, step.entered)
        if "voided" in step.entered or "delete.in_progress" in step.entered:
            placing.taken_back(self.bills, content.id)
        if step.entered:
            content = msgspec.structs.replace(content, updated_at=now)
        return msgspec.structs.replace(stored, content=content, progress=step.invoice)

    def _perform(self, stored: StoredInvoice, intent: InvoiceIntent) -> tuple[StoredInvoice, Step | None]:
        """Do one effect. Returns the invoice, and what its answer did; None: it is answered later, or not at all."""
        progress = stored.progress
        match intent.effect:
            case "rate" | "validate":
                stored = (
                    self._rate(stored) if intent.effect == "rate" else drafts.validated(self.bills, stored)
                )
                terms = drafts.terms_for(self.bills, stored.content, progress.terms.zone)
                answer = msgspec.structs.replace(_done(progress, intent.effect), terms=terms)
                return stored, machine.answer(progress, answer, self._now_s)
            case "finalize_lines":
                stored = credit_burn.pay_by_credits(self.bills, stored)
                placing.book_lines(self.bills, stored.content)
            case "book":
                credit_burn.earn(self.bills, stored.content)
            case "book_payment":
                credit_burn.pay(self.bills, stored.content, progress.state)
            case "collect":
                if intent.trigger != "snapshot_quantities" and not self._is_settled(progress):
                    return stored, None
            case "request_number" if stored.content.settlement_mode == CREDIT_ONLY:
                number_of = statement_number(stored.content.id, stored.content.customer.name)
                answer = msgspec.structs.replace(_done(progress, "request_number"), number=number_of)
                return stored, machine.answer(progress, answer, self._now_s)
            case "request_number":
                self.bills.put_invoice(stored)
                self.ask_number(stored)
                return stored, None
            case "collect_payment":
                return self._collect_payment(stored, intent)
            case _:
                stored, answered = self._app_answer(stored, intent)
                return stored, None if answered is None else machine.answer(progress, answered, self._now_s)
        return stored, machine.answer(progress, _done(progress, intent.effect), self._now_s)

    def _rate(self, stored: StoredInvoice) -> StoredInvoice:
        """Rate a draft. One that is rated stays as it is until usage, its lines or their groups change."""
        known = self._rated.get(stored.content.id)
        if known is None or known.lines != stored.content.lines or self.bills.has_stale:
            self.bills.put_invoice(stored)
            if self.bills.has_stale or not self.bills.is_rated(stored.content):
                stored = drafts.rated(self.bills, stored)
            self._rated[stored.content.id] = stored.content
        return drafts.noted(self.bills, stored)

    def _app_answer(
        self, stored: StoredInvoice, intent: InvoiceIntent
    ) -> tuple[StoredInvoice, EffectAnswer | None]:
        """The invoice, and the answer of its app; None: it comes later."""
        app = drafts.app_of(self.bills, stored.content)
        if app is not None and app.type == STRIPE:
            return stripe_orders.answer_of(self.bills, stored, intent)
        if isinstance(app, CustomInvoicingApp):
            hooks = CustomHooks(app.enable_draft_sync_hook, app.enable_issuing_sync_hook)
            return stored, custom_invoicing.answer_of(intent, hooks)
        return stored, sandbox.answer_of(intent)

    def _collect_payment(
        self, stored: StoredInvoice, intent: InvoiceIntent
    ) -> tuple[StoredInvoice, Step | None]:
        app = drafts.app_of(self.bills, stored.content)
        if app is not None and app.type == STRIPE:
            return stripe_orders.answer_of(self.bills, stored, intent)[0], None
        fact: PaymentFact | None = None
        if due_of(stored.content) == 0:
            fact = PaymentFact("paid", intent.at_s * 1000)  # nothing is due, so no app is asked to collect it
        elif app is not None and app.type == SANDBOX:
            method = stored.content.workflow.workflow.payment.collection_method
            fact = sandbox.payment_of(intent, stored.content.metadata, method)
        if fact is None:
            return stored, None
        return stored, payment.report(stored.progress, fact, self._now_s).step

    def ask_number(self, stored: StoredInvoice) -> None:
        """Ask for the number of an invoice; a request that was made is repeated as it was."""
        bills, content = self.bills, stored.content
        request = bills.number_of(content.id)
        if request is None:
            profile_id = content.workflow.source_billing_profile_id
            profile = bills.definitions.profile(bills.namespace, profile_id)
            numbering = Numbering() if profile is None else profile.numbering
            customer = content.customer
            request = NumberWork(
                bills.namespace,
                bills.customer,
                content.id,
                series_of(bills.namespace, content.type, numbering, bills.customer, profile_id),
                stem_of(content.type, numbering, customer.name, bills.customer),
                numbering.start,
            )
        bills.ask_number(content.id, request)

    # -- time ---------------------------------------------------------------------------------------------------

    def _is_settled(self, progress: InvoiceProgress) -> bool:
        """Whether the usage of a draft is complete, or was awaited for long enough."""
        collection_ms = progress.terms.collection_at_s * 1000
        anyway_ms = collection_ms + self._terms.collect_anyway_s * 1000
        return self.bills.moment.settled_ms >= collection_ms or self.bills.moment.now_ms >= anyway_ms

    def _due(self, stored: StoredInvoice) -> InvoiceDue:
        """When an invoice moves next by itself."""
        progress = stored.progress
        if progress.waiting[:1] == ("collect",):
            collection_ms = progress.terms.collection_at_s * 1000
            return InvoiceDue(collection_ms + self._terms.collect_anyway_s * 1000, collection_ms)
        instants = (machine.next_due_s(progress), self._next_reminder_s(stored))
        due_s = min((one for one in instants if one is not None), default=None)
        return InvoiceDue(NEVER_MS if due_s is None else due_s * 1000)

    def _next_reminder_s(self, stored: StoredInvoice) -> int | None:
        progress, due_s = stored.progress, stored.progress.due_at_s
        if due_s is None:
            return None
        reminders = dunning_of(stored.content.workflow.workflow.dunning)
        return dunning.next_step_s(reminders, progress.state, due_s, stored.dunning_made, progress.terms.zone)

    def _remind(self, id: str) -> None:
        """Make the reminders that are due, in order."""
        stored = self.bills.invoice(id)
        due_s = stored.progress.due_at_s
        if due_s is None:
            return
        reminders = dunning_of(stored.content.workflow.workflow.dunning)
        for due in dunning.due_steps(
            reminders,
            stored.progress.state,
            due_s,
            stored.dunning_made,
            self._now_s,
            stored.progress.terms.zone,
        ):
            stored = msgspec.structs.replace(self.bills.invoice(id), dunning_made=due.number)
            self.bills.put_invoice(stored)
            if due.action == "retry_payment":
                step = machine.fire(stored.progress, "retry", self._now_s)
            elif due.action == "give_up" and reminders.then == "uncollectible":
                fact = PaymentFact("uncollectible", self.bills.moment.now_ms)
                step = payment.report(stored.progress, fact, self._now_s).step
            else:
                step = None  # the invoice changed, which is what notifications report
            if step is not None:
                self._run(stored, step)
            if self.bills.invoice(id).progress.state not in dunning.UNPAID:
                return


def _done(progress: InvoiceProgress, effect: Effect) -> EffectAnswer:
    return EffectAnswer(sequence=progress.sequence, effect=effect)


def deleted_lines(lines: tuple[InvoiceLine, ...], now: str) -> tuple[InvoiceLine, ...]:
    """The lines of an invoice that is deleted."""
    live = {line.id for line in live_lines(lines)}
    return tuple(
        msgspec.structs.replace(line, deleted_at=now, updated_at=now) if line.id in live else line
        for line in lines
    )
