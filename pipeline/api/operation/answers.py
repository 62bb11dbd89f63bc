"""Answers about health, reconciliation and the audit log, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (status, reconcile, audit).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pipeline.api.http.members import Events, InstantText


class HealthAnswer(msgspec.Struct, forbid_unknown_fields=True):
    status: Literal["ok"]


class ReadyAnswer(msgspec.Struct, forbid_unknown_fields=True):
    ready: bool
    needs: Annotated[dict[str, bool], Meta(description="by service, whether it answers")]


class WorkerAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    host: str
    pid: int
    partitions: Annotated[list[str], Meta(description="`topic/partition`")]
    controlRevision: Annotated[int, Meta(description="the newest definitions that it knows")]
    metricsUrl: Annotated[str, Meta(description="where it serves its metrics; empty: nowhere")]


class StageAnswer(msgspec.Struct, forbid_unknown_fields=True):
    stage: str
    up: Annotated[bool, Meta(description="whether a live worker owns partitions")]
    workers: list[WorkerAnswer]
    lag: Annotated[int | None, Meta(description="records that are not read yet; null: unknown")]
    rate: Annotated[float, Meta(description="events a second over the last seconds")]
    controlRevision: Annotated[
        int | None, Meta(description="the oldest of its workers'; null without workers")
    ]
    failing: Annotated[
        str, Meta(description="why a service refuses its work, in the service's words; empty: none does")
    ]


class NeighbourAnswer(msgspec.Struct, forbid_unknown_fields=True):
    ok: bool
    detail: Annotated[str, Meta(description="its own message; empty where it answers")]


class MeterRefusals(msgspec.Struct, forbid_unknown_fields=True):
    namespace: str
    meter: Annotated[str, Meta(description="slug")]
    meterId: int
    counted: Events
    refused: Annotated[dict[str, int], Meta(description="number of events by reason")]


class ConnectedApp(msgspec.Struct, forbid_unknown_fields=True):
    """An account of an outside system to which usage goes."""

    namespace: str
    appId: str
    type: Annotated[str, Meta(description="of the outside system")]
    account: Annotated[str, Meta(description="its id there")]
    status: Annotated[
        str, Meta(description="`ready`, or `unauthorized`: its key was refused and nothing is sent")
    ]
    detail: Annotated[str, Meta(description="the refusal of the key; empty where it was not refused")]


class BillIssue(msgspec.Struct, forbid_unknown_fields=True):
    """What keeps a customer from being billed, or is not billed."""

    since: InstantText
    namespace: str
    customerId: str
    invoiceId: str
    number: Annotated[str, Meta(description="of the draft or of the gathering invoice")]
    status: Annotated[str, Meta(description="of the invoice")]
    severity: Literal["critical", "warning"]
    code: str
    message: str


class BillIssues(msgspec.Struct, forbid_unknown_fields=True):
    totalCount: Annotated[int, Meta(ge=0)]
    items: Annotated[list[BillIssue], Meta(description="the oldest ones first, at most 20")]


class StatusAnswer(msgspec.Struct, forbid_unknown_fields=True):
    ok: bool
    stages: list[StageAnswer]
    neighbours: Annotated[dict[str, NeighbourAnswer], Meta(description="by service")]
    refused: Annotated[list[MeterRefusals], Meta(description="meters in force that refused events")]
    apps: Annotated[list[ConnectedApp], Meta(description="connected accounts, of all namespaces")]
    bills: Annotated[
        BillIssues | None, Meta(description="issues of invoices that are open; null: not known now")
    ]


class StoredMeter(msgspec.Struct, forbid_unknown_fields=True):
    """What ClickHouse holds of one meter."""

    meter: Annotated[str, Meta(description="slug")]
    meter_id: int
    events: Annotated[int, Meta(description="number of events that it counted")]
    windows: Annotated[int, Meta(description="sum of the counts of its windows")]
    totalled: Annotated[int, Meta(description="of the events, how many are in its totals")]
    refused: Annotated[dict[str, int], Meta(description="number of events by reason")]


class CountedMeter(msgspec.Struct, forbid_unknown_fields=True):
    """What the stages have counted of one meter."""

    meter: Annotated[str, Meta(description="slug")]
    meter_id: int
    counted: Events
    refused: Annotated[dict[str, int], Meta(description="number of events by reason")]


class WrongWindow(msgspec.Struct, forbid_unknown_fields=True):
    """A window whose count is not the number of its stored events."""

    meter: str
    meter_id: int
    subject: str
    start: InstantText
    events: Events
    windows: Annotated[int, Meta(description="number of events by the window")]


class WrongMembers(msgspec.Struct, forbid_unknown_fields=True):
    """A window of UNIQUE_COUNT that has fewer or more stored values than it counts."""

    meter: str
    subject: str
    start: InstantText
    least: Annotated[int, Meta(description="the fewest values that are right")]
    most: Annotated[int, Meta(description="the most values that are right")]
    members: Annotated[int, Meta(description="number of stored values")]


class StoredPlace(msgspec.Struct, forbid_unknown_fields=True):
    """What ClickHouse holds of one input partition."""

    topic: str
    partition: int
    events: Events


class StoredNamespace(msgspec.Struct, forbid_unknown_fields=True):
    """What ClickHouse holds of one namespace."""

    fates: Annotated[dict[str, int], Meta(description="number of events by fate")]
    meters: list[StoredMeter]
    windows: list[WrongWindow]
    uniques: list[WrongMembers]
    places: Annotated[list[StoredPlace] | None, Meta(description="null: not counted")]


class ReconciledNamespace(msgspec.Struct, forbid_unknown_fields=True):
    namespace: str
    read: Events
    fates: Annotated[dict[str, int], Meta(description="number of events by fate")]
    reasons: Annotated[dict[str, int], Meta(description="number of rejected events by reason")]
    pending: Annotated[int, Meta(description="number of events without a fate yet")]
    differences: Annotated[list[str], Meta(description="one sentence each")]
    stored: Annotated[StoredNamespace | None, Meta(description="null: not compared")]
    meters: list[CountedMeter]


class ReconcileAnswer(msgspec.Struct, forbid_unknown_fields=True):
    ok: Annotated[bool, Meta(description="every equation that could be checked holds")]
    settled: Annotated[bool, Meta(description="nothing was in flight, so that storage was compared too")]
    namespaces: list[ReconciledNamespace]
    differences: Annotated[list[str], Meta(description="one sentence each")]
    lag: Annotated[
        dict[str, int | None], Meta(description="by stage, records that are not read yet; null: unknown")
    ]


class ReconciledAmount(msgspec.Struct, forbid_unknown_fields=True):
    currency: str
    rated: Annotated[str, Meta(description="what the usage of collected lines costs")]
    booked: Annotated[str, Meta(description="what these lines and their corrections bill")]


class ReconciledUsage(msgspec.Struct, forbid_unknown_fields=True):
    """The usage of a customer and feature. Units are null where the meter does not add up (neither SUM nor COUNT)."""

    customer: Annotated[str, Meta(description="id")]
    meter: Annotated[str, Meta(description="slug")]
    meter_id: int
    feature: Annotated[str, Meta(description="key")]
    usage: Annotated[str | None, Meta(description="units in the period")]
    billed: Annotated[str | None, Meta(description="units on invoices that are issued")]
    pending: Annotated[str | None, Meta(description="units on drafts and gathering invoices")]
    free: Annotated[str | None, Meta(description="units without a price, discounted or waived")]
    amounts: Annotated[list[ReconciledAmount], Meta(description="of whole lines, by currency")]
    differences: Annotated[list[str], Meta(description="one sentence each, with the cause")]


class MoneyAnswer(msgspec.Struct, forbid_unknown_fields=True):
    ok: Annotated[bool, Meta(description="there is no difference")]
    settled: Annotated[bool, Meta(description="nothing was in flight, so that bills were compared")]
    from_: InstantText = msgspec.field(name="from")
    to: InstantText
    totalCount: Annotated[int, Meta(ge=0, description="number of customers")]
    page: int
    pageSize: int
    items: list[ReconciledUsage]
    lateUnbilled: Annotated[
        int,
        Meta(
            ge=0,
            description="windows of usage of the namespace that came when their period could not be billed any more",
        ),
    ]
    differences: Annotated[list[str], Meta(description="of the customers of this page, one sentence each")]


class AuditEntryAnswer(msgspec.Struct, forbid_unknown_fields=True):
    seq: Annotated[int, Meta(ge=1, description="without gaps, over all namespaces")]
    at: InstantText
    actor: Annotated[str, Meta(description="the public part of a key, or who else")]
    kind: Annotated[str, Meta(description="of the command, as `customer.create`")]
    name: Annotated[
        str,
        Meta(
            description="of the definition, subscription or invoice; empty where several definitions changed"
        ),
    ]
    before: Annotated[dict[str, Any] | None, Meta(description="the definition before, without secrets")]
    after: Annotated[
        dict[str, Any] | None,
        Meta(
            description="the definition after, without secrets; of a change of a subscription, an invoice or a credit: "
            "what was `asked` and what was `done`"
        ),
    ]
    error: Annotated[str | None, Meta(description="the reason of the refusal; null: it was done")]
    detail: Annotated[str | None, Meta(description="the sentence of the refusal")]
    requestId: str
    ip: str
    commandId: str
    hash: Annotated[str, Meta(description="SHA-256 of the entry, hexadecimal")]
    previous: Annotated[str, Meta(description="hash of the entry before")]


class AuditChain(msgspec.Struct, forbid_unknown_fields=True):
    holds: Annotated[bool, Meta(description="all entries since the first are as they were written")]
    detail: Annotated[str, Meta(description="names the first that is not; empty otherwise")]


class AuditPage(msgspec.Struct, forbid_unknown_fields=True):
    totalCount: Annotated[int, Meta(ge=0)]
    page: Annotated[int, Meta(ge=1)]
    pageSize: Annotated[int, Meta(ge=1)]
    items: list[AuditEntryAnswer]
    chain: AuditChain
