"""Invoices of the sandbox: drafts, their lines, what finalization makes of them, payments.

Owns: invoices and what Stripe checks of them. Does not own: customers (account), sending events (webhooks). Instants
are seconds since 1970 and are arguments. Source: Stripe's API reference, "Invoices"; Stripe's documentation, "Invoice
status transitions".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from pipeline.local.stripe_sandbox.account import SandboxAccount
from pipeline.local.stripe_sandbox.errors import invalid, missing
from pipeline.local.stripe_sandbox.form import Form, integer, only, part, parts, text, texts

Status = Literal["draft", "open", "paid", "void", "uncollectible"]
MOST_ITEMS: Final = 250
MOST_NUMBER: Final = 26
SHOWN_LINES: Final = 10  # an invoice shows its first lines
DAY_S: Final = 86_400
_CREATED: Final = (
    "customer", "currency", "auto_advance", "collection_method", "days_until_due", "due_date", "number", "description",
    "footer", "effective_at", "metadata", "pending_invoice_items_behavior", "default_payment_method",
)  # fmt: skip
_LINE: Final = (
    "amount", "description", "discountable", "metadata", "period", "quantity", "tax_amounts", "tax_rates",
)  # fmt: skip


@dataclass(slots=True)
class SandboxLine:
    """taxes: exclusive ones, in sum."""

    id: str
    amount: int
    description: str
    metadata: dict[str, str]
    taxes: int


@dataclass(slots=True)
class SandboxInvoice:
    id: str
    customer: str
    currency: str
    created_s: int
    collection_method: str
    days_until_due: int
    number: str
    metadata: dict[str, str]
    description: str
    status: Status = "draft"
    due_s: int = 0
    lines: list[SandboxLine] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(line.amount + line.taxes for line in self.lines)

    def json(self) -> dict[str, object]:
        due = max(0, self.total)
        paid = due if self.status == "paid" else 0
        shown = [
            {"id": line.id, "object": "line_item", "amount": line.amount, "description": line.description,
             "metadata": line.metadata}
            for line in self.lines[:SHOWN_LINES]
        ]  # fmt: skip
        final = self.status != "draft"
        return {
            "id": self.id, "object": "invoice", "status": self.status, "customer": self.customer,
            "currency": self.currency, "created": self.created_s, "livemode": False, "number": self.number or None,
            "metadata": self.metadata, "description": self.description or None, "total": self.total,
            "subtotal": sum(line.amount for line in self.lines), "amount_due": due, "amount_paid": paid,
            "collection_method": self.collection_method, "due_date": self.due_s or None,
            "hosted_invoice_url": f"https://invoice.invalid/i/{self.id}" if final else None,
            "invoice_pdf": f"https://invoice.invalid/i/{self.id}/pdf" if final else None,
            "lines": {"object": "list", "data": shown, "has_more": len(self.lines) > SHOWN_LINES,
                      "url": f"/v1/invoices/{self.id}/lines"},
        }  # fmt: skip


class SandboxInvoices:
    """The invoices of an account. `happened` holds their changes, for webhooks: type, time, object."""

    def __init__(self, account: SandboxAccount) -> None:
        self._account = account
        self._made = 0
        self.invoices: dict[str, SandboxInvoice] = {}
        self.happened: list[tuple[str, int, dict[str, object]]] = []

    def create(self, form: Form, now_s: int) -> dict[str, object]:
        """A draft. Raises StripeRefusal as Stripe does."""
        only(form, *_CREATED)
        customer = text(form, "customer")
        if self._account.customer(customer).deleted:
            raise missing("customer", customer)
        method = str(form.get("collection_method", "charge_automatically"))
        if method == "send_invoice" and "days_until_due" not in form and "due_date" not in form:
            raise invalid(
                "You must pass either days_until_due or due_date.", "parameter_missing", "days_until_due"
            )
        if method != "send_invoice" and "days_until_due" in form:
            raise invalid("days_until_due is only for send_invoice.", param="days_until_due")
        number = str(form.get("number", ""))
        if len(number) > MOST_NUMBER:
            raise invalid(f"The number has more than {MOST_NUMBER} characters.", param="number")
        if number and any(one.number == number for one in self.invoices.values()):
            raise invalid(f"An invoice with the number {number} exists already.", param="number")
        self._made += 1
        id = f"in_sandbox{self._made:08d}"
        made = SandboxInvoice(
            id, customer, text(form, "currency").lower(), now_s, method, integer(form, "days_until_due", 0), number,
            texts(form, "metadata"), str(form.get("description", "")),
        )  # fmt: skip
        self.invoices[id] = made
        return self._note("created", made, now_s)

    def get(self, id: str) -> SandboxInvoice:
        """Raises StripeRefusal 404 where there is none."""
        found = self.invoices.get(id)
        if found is None:
            raise missing("invoice", id)
        return found

    def listed(self, form: Form) -> dict[str, object]:
        """Those of a customer or of all, the newest first."""
        only(form, "customer", "created", "limit", "starting_after", "status")
        since_s = integer(part(form, "created"), "gte", 0)
        until_s = integer(part(form, "created"), "lt", 1 << 62)
        found = [
            one
            for one in reversed(self.invoices.values())
            if form.get("customer", one.customer) == one.customer and since_s <= one.created_s < until_s
        ]
        after = form.get("starting_after")
        if isinstance(after, str):
            found = found[[one.id for one in found].index(after) + 1 :]
        page = found[: integer(form, "limit", 10)]
        return {"object": "list", "url": "/v1/invoices", "has_more": len(page) < len(found),
                "data": [one.json() for one in page]}  # fmt: skip

    def delete(self, id: str, now_s: int) -> dict[str, object]:
        """Only a draft can be deleted."""
        found = self._in(id, "draft")
        del self.invoices[id]
        self._note("deleted", found, now_s)
        return {"id": id, "object": "invoice", "deleted": True}

    def add_lines(self, id: str, form: Form, now_s: int) -> dict[str, object]:
        """All lines or none."""
        only(form, "lines", "invoice_metadata")
        invoice = self._in(id, "draft")
        added = [
            self._line(one, len(invoice.lines) + place, id) for place, one in enumerate(parts(form, "lines"))
        ]
        if not added:
            raise invalid("Missing required param: lines.", "parameter_missing", "lines")
        if len(invoice.lines) + len(added) > MOST_ITEMS:
            raise invalid(f"An invoice has at most {MOST_ITEMS} lines.", param="lines")
        invoice.lines += added
        return self._note("updated", invoice, now_s)

    def finalize(self, id: str, form: Form, now_s: int) -> dict[str, object]:
        """A draft becomes open; one of nothing, or below, is paid at once."""
        only(form, "auto_advance")
        invoice = self._in(id, "draft")
        invoice.status = "open" if invoice.total > 0 else "paid"
        invoice.number = invoice.number or f"SANDBOX-{self._made:04d}"
        if invoice.collection_method == "send_invoice":
            invoice.due_s = now_s + invoice.days_until_due * DAY_S
        shown = self._note("finalized", invoice, now_s)
        if invoice.status == "paid":
            self._note("paid", invoice, now_s)
        return shown

    def pay(self, id: str, form: Form, now_s: int) -> dict[str, object]:
        """An open invoice is paid."""
        only(form, "paid_out_of_band", "payment_method")
        invoice = self._in(id, "open", "uncollectible")
        invoice.status = "paid"
        return self._note("paid", invoice, now_s)

    def void(self, id: str, now_s: int) -> dict[str, object]:
        """An open invoice is taken back."""
        invoice = self._in(id, "open", "uncollectible")
        invoice.status = "void"
        return self._note("voided", invoice, now_s)

    def mark_uncollectible(self, id: str, now_s: int) -> dict[str, object]:
        """An open invoice is given up."""
        invoice = self._in(id, "open")
        invoice.status = "uncollectible"
        return self._note("marked_uncollectible", invoice, now_s)

    def note(self, id: str, kind: str, now_s: int) -> None:
        """Something happened to an invoice that changes no status, as a payment that failed."""
        self._note(kind, self.get(id), now_s)

    def _in(self, id: str, *statuses: Status) -> SandboxInvoice:
        invoice = self.get(id)
        if invoice.status not in statuses:
            raise invalid(f"The invoice {id} is {invoice.status}.", "invoice_not_editable", "invoice")
        return invoice

    def _line(self, form: Form, place: int, id: str) -> SandboxLine:
        only(form, *_LINE)
        taxes = sum(self._exclusive(parts(form, "tax_amounts")))
        return SandboxLine(
            f"il_{id}_{place:04d}", integer(form, "amount"), str(form.get("description", "")),
            texts(form, "metadata"), taxes,
        )  # fmt: skip

    def _exclusive(self, taxes: list[Form]) -> Iterator[int]:
        for tax in taxes:
            rate = part(tax, "tax_rate_data")
            text(rate, "display_name")
            text(rate, "percentage")
            integer(tax, "taxable_amount")
            if text(rate, "inclusive").lower() != "true":
                yield integer(tax, "amount")

    def _note(self, kind: str, invoice: SandboxInvoice, now_s: int) -> dict[str, object]:
        shown = invoice.json()
        self.happened.append((f"invoice.{kind}", now_s, shown))
        return shown
