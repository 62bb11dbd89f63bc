"""Editing an invoice: its texts, its parties, its settings, its lines.

Owns: the body of an update, what a change of a line does to its group and to the grant that it sells. Does not own:
which changes of lines are taken (invoices.line_edit), what a line may be (pending_line), whether the state allows an
edit (actions).

Members of a line that only the server writes may be sent back as answers have them; they are not read. Any other is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pipeline.core.bills import drafts
from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.flow import Flow
from pipeline.core.bills.grant_payment import withdraw_sale
from pipeline.core.bills.line_group import GroupFeature, LineGroup
from pipeline.core.bills.placing import give_up, mark_stale, new_group, put_lines
from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.body import BodyReader
from pipeline.core.invoices import actions
from pipeline.core.invoices.invoice import InvoiceContent, InvoiceCustomer
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.line_edit import SentLine, edited_lines
from pipeline.core.invoices.pending_line import MOST_LINES, PendingContext, read_pending_lines
from pipeline.core.invoices.profile_reading import read_supplier
from pipeline.core.invoices.rated_line import without_rating
from pipeline.core.invoices.workflow_reading import read_workflow
from pipeline.records import Command

KIND: Final = "invoice"
_SENT: Final = ("description", "metadata", "supplier", "customer", "lines", "workflow")
# What answers have beside them.
_WRITTEN: Final = frozenset({
    "id", "type", "managedBy", "status", "quantity", "meteredQuantity", "preLinePeriodQuantity",
    "meteredPreLinePeriodQuantity", "creditAllocations", "taxes", "totals", "subscription", "externalIds", "children",
    "split", "corrects", "invoice", "reference", "createdAt", "updatedAt", "deletedAt",
})  # fmt: skip
_OF_CARD: Final = "unitConfig"  # of a rate card


def update_invoice(bills: CustomerBills, flow: Flow, customer: Customer, command: Command, id: str) -> None:
    """Edit a draft or a gathering invoice.

    Raises:
        Rejected: `invoice_cannot_be_edited`, `bad-invoice`, the code of a change of a line.
    """
    sent_body = command.body.get("sent")
    sent = BodyReader(KIND, sent_body if isinstance(sent_body, Mapping) else {}, _SENT)
    stored = bills.invoice(id)
    actions.check_editable(stored.progress)
    content = _with_head(stored.content, sent)
    bodies = sent.objects("lines", 0, MOST_LINES)
    if bodies is not None:
        features = _features(bills, bodies, content.lines)
        has_meter = {key: feature is not None for key, feature in features.items()}
        context = PendingContext(customer, content.currency, has_meter, command.id, bills.moment.now_ms)
        lines = edited_lines(content.lines, _sent_lines(bodies, content.lines, context), bills.moment.now)
        bills.put_invoice(msgspec.structs.replace(stored, content=content))
        _change_groups(bills, id, content.lines, lines, features)
        shown = [one for one in lines if not bills.is_gathering(id) or one.deleted_at is None]
        put_lines(bills, id, shown)
        content = bills.invoice(id).content
    content = msgspec.structs.replace(content, updated_at=bills.moment.now)
    bills.put_invoice(msgspec.structs.replace(stored, content=content))
    if not bills.is_gathering(id):
        terms = drafts.terms_for(bills, content, stored.progress.terms.zone)
        flow.move(id, actions.edit(stored.progress, terms, bills.moment.now_s))


def _with_head(content: InvoiceContent, sent: BodyReader) -> InvoiceContent:
    """The content with all that was sent but for its lines."""
    supplier, customer, workflow = sent.nested("supplier"), sent.nested("customer"), sent.nested("workflow")
    changed = msgspec.structs.replace(
        content, description=sent.text("description", 1024, multiline=True), metadata=sent.metadata()
    )
    if supplier is not None:
        changed = msgspec.structs.replace(changed, supplier=read_supplier(supplier))
    if customer is not None:
        changed = msgspec.structs.replace(changed, customer=_customer(content.customer, customer))
    if workflow is not None:
        changed = _with_workflow(changed, workflow)
    return changed


def _customer(known: InvoiceCustomer, body: Mapping[str, object]) -> InvoiceCustomer:
    """The customer with another name, tax id or address; its id, key and subjects stay."""
    sent = BodyReader(
        KIND, body, ("id", "key", "name", "taxId", "addresses", "usageAttribution"), inside="customer"
    )
    parties = ("name", "taxId", "addresses")
    party = read_supplier({name: body[name] for name in parties if name in body})
    return msgspec.structs.replace(
        known, name=sent.required("name", 256), tax_id=party.tax_id, addresses=party.addresses
    )


def _with_workflow(content: InvoiceContent, body: Mapping[str, object]) -> InvoiceContent:
    """The content with other settings of invoicing and payment; what is not sent stays."""
    outer = BodyReader(KIND, body, ("workflow",), inside="workflow").nested("workflow") or {}
    sent = BodyReader(KIND, outer, ("invoicing", "payment"), inside="workflow workflow")
    known = content.workflow.workflow
    merged: dict[str, object] = {}
    for name, settings in (("invoicing", known.invoicing), ("payment", known.payment)):
        merged[name] = {**msgspec.to_builtins(settings), **(sent.nested(name) or {})}
    read = read_workflow(merged)
    workflow = msgspec.structs.replace(known, invoicing=read.invoicing, payment=read.payment)
    return msgspec.structs.replace(
        content, workflow=msgspec.structs.replace(content.workflow, workflow=workflow)
    )


# -- lines ------------------------------------------------------------------------------------------------------


def _features(
    bills: CustomerBills, bodies: Sequence[Mapping[str, object]], lines: Sequence[InvoiceLine]
) -> dict[str, GroupFeature | None]:
    """What is metered for each feature that is named; one of a line that is there need not exist any more."""
    keys = [body.get("featureKey") for body in bodies]
    keys += [card.get("featureKey") for body in bodies if isinstance(card := body.get("rateCard"), Mapping)]
    found = {
        key: bills.definitions.feature(bills.namespace, key)
        for key in sorted({key for key in keys if isinstance(key, str)})
    }
    for line in lines:
        group = bills.find_group(line.split.group if line.split else line.id)
        if group is not None and group.feature is not None:
            found[line.rate_card.feature_key or ""] = group.feature
    return found


def _sent_lines(
    bodies: Sequence[Mapping[str, object]], lines: Sequence[InvoiceLine], context: PendingContext
) -> list[SentLine]:
    """The lines that were sent. A member that only the server writes is left out."""
    known = {line.id: line for line in lines}
    found: list[SentLine] = []
    read: list[Mapping[str, object]] = []
    for body in bodies:
        sent = {name: value for name, value in body.items() if name not in _WRITTEN and value is not None}
        card = sent.get("rateCard")
        if isinstance(card, Mapping):
            sent["rateCard"] = {
                name: value for name, value in card.items() if name != _OF_CARD and value is not None
            }
        read.append(sent)
    for body, line in zip(bodies, _read(bodies, read, known, context), strict=True):
        id = body.get("id")
        found.append(SentLine(id if isinstance(id, str) else None, line))
    return found


def _read(
    bodies: Sequence[Mapping[str, object]],
    read: Sequence[Mapping[str, object]],
    known: Mapping[str, InvoiceLine],
    context: PendingContext,
) -> list[InvoiceLine]:
    """Each line as it is read; one that is free, or a correction, can only be sent back as it is."""
    found: list[InvoiceLine | None] = []
    fresh: list[Mapping[str, object]] = []
    old: list[int] = []
    for body, sent in zip(bodies, read, strict=True):
        line = known.get(str(body.get("id")))
        is_fixed = line is not None and (line.rate_card.price is None or line.corrects is not None)
        found.append(line if is_fixed else None)
        if not is_fixed:
            old += [len(fresh)] if line is not None else []
            fresh.append(sent)
    lines = iter(read_pending_lines(fresh, context, old) if fresh else [])
    return [next(lines) if one is None else one for one in found]


def _change_groups(
    bills: CustomerBills,
    invoice_id: str,
    before: Sequence[InvoiceLine],
    after: Sequence[InvoiceLine],
    features: Mapping[str, GroupFeature | None],
) -> None:
    """The groups of the lines that a client changed, deleted or added."""
    known = {line.id: line for line in before}
    for line in after:
        old = known.get(line.id)
        if old == line:
            continue
        if old is None:
            feature = features.get(line.rate_card.feature_key or "") if line.is_metered else None
            new_group(bills, line, feature, invoice_id)
        elif line.deleted_at is not None:
            give_up(bills, invoice_id, old)
            withdraw_sale(bills, old)
        else:
            _change_group(bills, invoice_id, line, features)


def _change_group(
    bills: CustomerBills, invoice_id: str, line: InvoiceLine, features: Mapping[str, GroupFeature | None]
) -> None:
    """A client changed a line: its group has the new price and period; a part of a line only the price."""
    group = bills.group(bills.groups_of(invoice_id)[line.id])
    place = group.part_of(line.id)
    if place is None:
        return
    fresh = msgspec.structs.replace(without_rating(line), id=group.id)
    if len(group.parts) > 1:
        whole = group.line
        fresh = msgspec.structs.replace(
            fresh, period=whole.period, invoice_at=whole.invoice_at, split=whole.split
        )
    feature = group.feature
    if (
        line.rate_card.feature_key != group.line.rate_card.feature_key
        or line.is_metered != group.line.is_metered
    ):
        feature = features.get(line.rate_card.feature_key or "") if line.is_metered else None
    parts = group.parts
    if len(parts) == 1:
        period = line.period
        parts = (msgspec.structs.replace(parts[0], start_s=period.start_s, end_s=period.end_s),)
    bills.put_group(LineGroup(group.id, fresh, feature, parts, group.is_wanted))
    if feature is not None:
        bills.change_metered(group.id, parts[-1].end_s)
    mark_stale(bills, group.id)
