"""`/billing/invoices/{invoiceId}/proof`: a file that proves an invoice.

Owns: making the file of stored events, publishing its root. Does not own: the rows and their check (core.proof),
reading events (counted_lines).
"""

from __future__ import annotations

import time

from fastapi import Depends, Request, Response

from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import TEXT, described
from pipeline.api.http.paths import Reconciles, Router
from pipeline.api.http.services import Services, services_of
from pipeline.api.invoices.counted_lines import checked, counted_line, events_of, invoices_of
from pipeline.api.invoices.lookup import invoice_of
from pipeline.core.explain.line_basis import basis_of, earlier_lines, given_up_of
from pipeline.core.explain.line_recount import LineInclusion
from pipeline.core.explain.recount import MeasuredEvent
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.proof.proof_file import LineProof, ProofWriter, check_issued
from pipeline.errors import Rejected
from pipeline.records import InvoiceRoot

router = Router(
    prefix="/billing/invoices",
    tags=["invoices"],
    route_class=Reconciles,
    dependencies=[Depends(needs("query"))],
)
MOST_EVENTS = 200_000  # of one file, which is made in memory
REASONS = ["invoice_not_issued", "invoice_proof_too_large", "line_not_explained", "line_meter_deleted"]


@router.get(
    "/{invoiceId}/proof",
    summary="A file that proves an invoice",
    **described(answer=str, media_type=TEXT, reasons=REASONS),
)
def get_proof(request: Request, invoiceId: str) -> Response:
    """JSON lines: the invoice, each line with its price, and every event under it; the last one is the Merkle root of
    all before it (SHA-256, RFC 6962). `tallymark verify` computes sums, ratings and the root again, without the server.

    Only an issued invoice is proven. The root is the same whenever the file is made; once it was made, the page of the
    invoice shows it.
    """
    services, namespace = services_of(request), namespace_of(request)
    stored = invoice_of(request, invoiceId)
    check_issued(stored)
    writer = ProofWriter()
    content = b"".join(writer.rows(namespace, stored, _proofs(services, namespace, stored)))
    root = writer.root
    services.invoice_roots.publish(
        InvoiceRoot(namespace, stored.content.id, root.root, root.rows, time.time_ns() // 1_000_000)
    )
    headers = {"content-disposition": f'attachment; filename="{stored.progress.number}.jsonl"'}
    return Response(content, media_type=TEXT, headers=headers)


def _proofs(services: Services, namespace: str, stored: StoredInvoice) -> list[LineProof]:
    invoices = invoices_of(services, namespace, stored.content.customer.id)
    found: list[LineProof] = []
    for line in live_lines(stored.content.lines):
        if line.counted is None and (line.corrects is not None or not line.is_metered):
            earlier = earlier_lines(invoices, line)
            found.append(LineProof(earlier, given_up=given_up_of(invoices, line, earlier)))
            continue
        found.append(_counted(services, namespace, invoices, (stored, line)))
        if sum(len(one.events or ()) for one in found) > MOST_EVENTS:
            raise _too_large(stored)
    return found


def _counted(
    services: Services,
    namespace: str,
    invoices: list[StoredInvoice],
    place: tuple[StoredInvoice, InvoiceLine],
) -> LineProof:
    stored, line = place
    counted = counted_line(services, namespace, stored.content.customer.id, basis_of(invoices, stored, line))
    recount = counted.recount()
    events: list[tuple[MeasuredEvent, LineInclusion]] = []
    for event in events_of(services, counted):
        if (inclusion := recount.include(event)) is not None:
            events.append((event, inclusion))
            if len(events) > MOST_EVENTS:
                raise _too_large(stored)
    checked(services, recount)
    earlier = counted.basis.earlier
    return LineProof(earlier, events, given_up_of(invoices, line, earlier))


def _too_large(stored: StoredInvoice) -> Rejected:
    return Rejected(
        "invoice_proof_too_large",
        f"The invoice {stored.content.id} has more than {MOST_EVENTS} events, the most of a proof; explain its lines "
        "one by one.",
    )
