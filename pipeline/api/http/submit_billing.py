"""From a request to a decided command of billing, and that this process has the documents that it changed.

Owns: what every route does that changes a subscription or an invoice. Does not own: sending and waiting for the reply
(stores.kafka.billing_commands), rules (core.bills), the documents (stores.kafka.bills).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial

from fastapi import Request

from pipeline.api.http.auth import REPLAYED, principal
from pipeline.api.http.bulkheads import loaded
from pipeline.api.http.services import Services, services_of
from pipeline.api.http.submit import COMMAND_KIND, OWN_WRITE_S, caller, idempotency_key, keyed
from pipeline.errors import Unavailable
from pipeline.records import Reply
from pipeline.stores.kafka.bills import BillsView, DocumentKind
from pipeline.stores.kafka.commands import command_of

# The member of a reply's body that holds the ids of changed documents, by their kind.
CHANGED: Mapping[DocumentKind, str] = {
    "subscription": "subscriptions",
    "invoice": "invoices",
    "credit": "credits",
    "transaction": "ledger",
}


def submit_billing(
    request: Request,
    kind: str,
    customer_id: str,
    asked: Mapping[str, object],
    *,
    added: Mapping[str, object] | None = None,
) -> Reply:
    """The reply to a command in the name of the request's principal, once this process has read what it changed.

    Args:
        request: Whose principal asks; its header `Idempotency-Key` counts. It belongs to the customer, since customers
            are decided about on several partitions, which share nothing.
        kind: Of the command, such as `subscription.create`.
        customer_id: The customer whose bill changes.
        asked: What the client asks, in path and body: the members `id` and `sent` of Command.body, and others of the
            kind. A later request with the same idempotency key has to ask the same.
        added: What the server puts into the command beside it.

    Raises:
        Rejected: As decided.
        Unavailable: Nothing is decided in time, or this process did not read the result in time.
    """
    services, who = services_of(request), principal(request)
    request.scope["state"][COMMAND_KIND] = kind
    services.bills.wait_loaded()
    key = idempotency_key(request)
    named = {**asked, "customer": customer_id}
    command = command_of(
        kind,
        who.namespace,
        {**named, **(added or {})},
        **caller(request),
        **keyed(None if key is None else f"{customer_id}/{key}", kind, named),
    )
    reply = services.billing_commands.run(customer_id, command, services.definitions.revision)
    request.scope["state"][REPLAYED] = reply.repeated
    read_changed(services, who.namespace, reply)
    return reply


async def submit_billing_in_turn(
    request: Request,
    kind: str,
    customer_id: str,
    asked: Mapping[str, object],
    *,
    added: Mapping[str, object] | None = None,
) -> Reply:
    """As `submit_billing`, from a route that awaits something else too: it takes a turn of the billing stage."""
    call = partial(submit_billing, request, kind, customer_id, asked, added=added)
    return await services_of(request).bulkheads.billing.run(call)


def changed(reply: Reply) -> Iterator[tuple[DocumentKind, str]]:
    """The kind and id of each document that a reply names as changed."""
    body = reply.body or {}
    for kind, member in CHANGED.items():
        ids = body.get(member, [])
        if isinstance(ids, list):
            yield from ((kind, str(id)) for id in ids)


def read_changed(services: Services, namespace: str, reply: Reply, within_s: float = OWN_WRITE_S) -> None:
    """Returns when this process has read every document of a reply. Raises Unavailable after `within_s`."""
    until_s = time.monotonic() + within_s
    for kind, id in changed(reply):
        left_s = max(0.0, until_s - time.monotonic())
        if not services.bills.wait(kind, namespace, id, reply.revision, left_s):
            raise Unavailable(
                f"The change is stored, but this process did not read the {kind} {id} back in {within_s:g} s."
            )


async def bills_loaded(request: Request) -> BillsView:
    """The documents, once they were read to their ends; no thread waits. Raises Unavailable."""
    view = services_of(request).bills
    for one in view.views():
        await loaded(one)
    return view


def bills(request: Request) -> BillsView:
    """The documents, once they were read to their ends; for a route that runs in a thread. Raises Unavailable."""
    view = services_of(request).bills
    view.wait_loaded()
    return view
