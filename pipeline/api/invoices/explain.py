"""`/billing/lines/{lineId}/explain`: what a line bills, and the events under it.

Owns: the parameters, pages of events, the form of the answer. Does not own: the count (core.explain), reading events
(counted_lines).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import Depends, Query, Request, Response

from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paths import Reconciles, Router
from pipeline.api.http.services import Services, services_of
from pipeline.api.http.submit_billing import bills
from pipeline.api.invoices.counted_lines import (
    CountedLine,
    checked,
    counted_line,
    events_of,
    invoices_of,
)
from pipeline.api.invoices.explain_answers import LineExplanationAnswer
from pipeline.api.invoices.invoice_json import read_invoice
from pipeline.api.metering.event_json import cursor_of, place_of
from pipeline.core.explain.line_basis import basis_of, find_line
from pipeline.core.explain.line_recount import EventChange
from pipeline.core.explain.line_tally import LineQuantities
from pipeline.core.explain.recount import MeasuredEvent
from pipeline.core.invoices.line import InvoiceLine, shown
from pipeline.core.metering.usage_query import instant_text
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.values import number, timestamp
from pipeline.stores.clickhouse.events import EventPosition

router = Router(
    prefix="/billing/lines", tags=["invoices"], route_class=Reconciles, dependencies=[Depends(needs("query"))]
)
REASONS = ["bad-query", "line_has_no_usage", "line_not_rated", "line_not_explained", "line_meter_deleted"]
_subscription = msgspec.json.Decoder(Subscription).decode
ExplanationJson = dict[str, Any]
ExplainedItem = tuple[MeasuredEvent, EventChange]


@router.get(
    "/{lineId}/explain",
    summary="What a line bills, and the events under it",
    **described(answer=LineExplanationAnswer, reasons=REASONS),
)
def explain_line(
    request: Request,
    lineId: str,
    limit: Annotated[int, Query(ge=1, le=1000, description="most events of a page")] = 100,
    cursor: Annotated[str | None, Query(description="`nextCursor` of the previous page")] = None,
    invoiceId: Annotated[
        str | None, Query(description="id of the invoice that has it; absent: all are searched")
    ] = None,
) -> Response:
    """The stored events that the line counted, newest first by their time: those that ClickHouse has up to the
    positions which the line keeps. Their quantity is counted again, and is that of the line; a difference is an error
    (500 `broken`).

    A correction lists what was added and removed since the line before it.
    """
    services, namespace = services_of(request), namespace_of(request)
    line = _line(request, services, namespace, (lineId, invoiceId))
    if cursor is None:
        return answer(_first_page(services, namespace, line, limit))
    return answer(_page(_some(services, line, limit, place_of(cursor)), limit))


def _line(request: Request, services: Services, namespace: str, asked: tuple[str, str | None]) -> CountedLine:
    """asked: the ids of the line and of its invoice."""
    line_id, invoice_id = asked
    if invoice_id is None:
        documents = bills(request).invoices_with(namespace, line_id)
    else:
        one = bills(request).invoice(namespace, invoice_id)
        documents = [] if one is None else [one]
    invoice, line = find_line([read_invoice(one.body) for one in documents], line_id)
    customer = next(one.customer for one in documents if one.id == invoice.content.id)
    basis = basis_of(invoices_of(services, namespace, customer), invoice, line)
    return counted_line(services, namespace, customer, basis)


def _first_page(services: Services, namespace: str, line: CountedLine, limit: int) -> ExplanationJson:
    """Every event is counted; the first ones are returned."""
    recount = line.recount()
    items: list[ExplainedItem] = []
    for event in events_of(services, line):
        change = recount.take(event)
        if change is not None and len(items) <= limit:
            items.append((event, change))
    quantities = checked(services, recount)
    page = _page(items, limit)
    return page | _summary(services, namespace, line, quantities) | {"events": recount.events}


def _some(services: Services, line: CountedLine, limit: int, after: EventPosition) -> list[ExplainedItem]:
    """The next events, and one more if there is one."""
    recount = line.recount()
    items: list[ExplainedItem] = []
    for event in events_of(services, line, after):
        change = recount.take(event)
        if change is not None:
            items.append((event, change))
        if len(items) > limit:
            break
    return items


def _page(items: list[ExplainedItem], limit: int) -> ExplanationJson:
    page: ExplanationJson = {"items": [_item(event, change) for event, change in items[:limit]]}
    if len(items) > limit:
        page["nextCursor"] = cursor_of(_place(items[limit - 1][0]))
    return page


def _place(measured: MeasuredEvent) -> EventPosition:
    event = measured.event
    return EventPosition(event.time_ns, event.topic, event.partition, event.offset)


def _item(measured: MeasuredEvent, change: EventChange) -> ExplanationJson:
    event = measured.event
    return {
        "id": event.id,
        "source": event.source,
        "subject": event.subject,
        "time": instant_text(event.time_ns),
        "value": measured.text,
        "groupBy": measured.dimensions,
        "change": change,
        "position": {"topic": event.topic, "partition": event.partition, "offset": event.offset},
    }


def _summary(
    services: Services, namespace: str, counted: CountedLine, quantities: LineQuantities
) -> ExplanationJson:
    basis, meter = counted.basis, counted.meter
    line, usage, progress = basis.line, basis.counted, basis.invoice.progress
    found: ExplanationJson = {
        "invoiceId": basis.invoice.content.id,
        "invoiceNumber": progress.number or basis.invoice.content.number,
        "lineId": line.id,
        "customerId": counted.owner.customer,
        "name": line.name,
        "currency": line.currency,
        "period": msgspec.to_builtins(line.period),
        "price": _price(services, namespace, line),
        "meter": {
            "slug": meter.slug,
            "meterId": meter.meter_id,
            "aggregation": meter.aggregation,
            "eventType": meter.event_type,
        },
        "filters": usage.filters,
        "from": timestamp.text_of(usage.start_s * 1000),
        "to": timestamp.text_of(usage.end_s * 1000),
        "quantity": number.text(quantities.quantity),
        "beforeQuantity": number.text(quantities.before),
        "positions": [{"partition": source, "position": position} for source, position in usage.seen],
        "tiers": [
            {
                "component": one.child_reference,
                "name": one.name,
                "quantity": one.quantity,
                "perUnitAmount": one.per_unit_amount,
                "total": one.totals.total,
            }
            for one in line.children
        ],
        "total": line.totals.total,
    }
    if meter.value_property is not None:
        found["meter"]["valueProperty"] = meter.value_property
    if line.corrects is not None:
        found["correctsLineId"] = line.corrects.line_id
    if basis.before is not None:
        found["correctedQuantity"] = basis.before.quantity
    return found


def _price(services: Services, namespace: str, line: InvoiceLine) -> ExplanationJson:
    found: ExplanationJson = {"rateCard": shown(line)["rateCard"]}
    if line.subscription is None:
        return found
    of = line.subscription
    found |= {"subscriptionId": of.subscription.id, "phaseId": of.phase.id, "itemId": of.item.id}
    document = services.bills.subscription(namespace, of.subscription.id)
    plan = None if document is None else _subscription(document.body).plan
    return found if plan is None else found | {"planKey": plan.key, "planVersion": plan.version}
