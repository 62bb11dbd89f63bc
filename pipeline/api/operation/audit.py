"""`/audit`: who changed what, when, from where, and what it was before; refused commands and those of bills too.

Owns: the parameters and the form of an entry. Does not own: the log and its chain (audit_log, core.definitions.audit).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Request

from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.paging import MOST_PAGE_SIZE, PAGE_SIZE
from pipeline.api.http.paths import AsksKafka, Router
from pipeline.api.http.services import services_of
from pipeline.api.operation.answers import AuditPage
from pipeline.core.values import timestamp
from pipeline.core.values.user_time import instant_ns
from pipeline.records import Audit
from pipeline.stores.kafka.audit import AuditFilter

router = Router(
    prefix="/audit", tags=["audit"], route_class=AsksKafka, dependencies=[Depends(needs("audit:read"))]
)
AuditTime = Annotated[str | None, Query(description="RFC 3339, or a date in UTC")]


@router.get("", summary="The audit log, newest first", **described(answer=AuditPage, reasons=["bad-query"]))
def list_audit(
    request: Request,
    *,
    from_: Annotated[AuditTime, Query(alias="from")] = None,
    to: AuditTime = None,
    actor: Annotated[str | None, Query(description="the public part of a key")] = None,
    kind: Annotated[str | None, Query(description="of the command, such as customer.create")] = None,
    name: Annotated[str | None, Query(description="slug of a meter, or id of another definition")] = None,
    page: Annotated[int, Query(ge=1, le=10**9)] = 1,
    pageSize: Annotated[int, Query(ge=1, le=MOST_PAGE_SIZE)] = PAGE_SIZE,
) -> dict[str, Any]:
    """Every request that changes something adds one entry, also when it is refused.

    Each entry holds the hash of the entry before it, over all namespaces.

    `chain.holds` is true when no entry since the first has been changed; `chain.detail` names the first that has.
    """
    since, until = instant_ns("from", from_), instant_ns("to", to)
    wanted = AuditFilter(
        namespace_of(request),
        None if since is None else -(-since // 1_000_000),
        None if until is None else -(-until // 1_000_000),
        actor,
        kind,
        name,
    )
    total, found, chain = services_of(request).audit.find(wanted, (page - 1) * pageSize, pageSize)
    return {
        "totalCount": total,
        "page": page,
        "pageSize": pageSize,
        "items": [entry_json(record) for record in found],
        "chain": {"holds": chain.holds, "detail": chain.detail},
    }


def entry_json(record: Audit) -> dict[str, Any]:
    """An entry as the API shows it."""
    return {
        "seq": record.seq,
        "at": timestamp.text_of(record.at_ms),
        "actor": record.actor,
        "kind": record.kind,
        "name": record.name,
        "before": record.before,
        "after": record.after,
        "error": record.error or None,
        "detail": record.detail or None,
        "requestId": record.request_id,
        "ip": record.ip,
        "commandId": record.command_id,
        "hash": record.hash,
        "previous": record.previous,
    }
