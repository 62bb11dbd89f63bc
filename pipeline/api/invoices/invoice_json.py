"""The JSON of an invoice as clients ask for it: which of its parts are shown.

Owns: the values of `expand`, apps by reference or as a whole, deleted lines. Does not own: the members of an invoice
and of a line (core.invoices.invoice, core.invoices.line).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final, Literal, get_args

import msgspec

from pipeline.core.invoices.invoice import InvoiceAnswer, shown
from pipeline.core.invoices.profile import ProfileApps
from pipeline.core.invoices.stored_invoice import StoredInvoice, stored_answer

InvoicePart = Literal["lines", "preceding", "workflow.apps"]
PARTS: Final[tuple[InvoicePart, ...]] = get_args(InvoicePart)
WITH_LINES: Final[tuple[InvoicePart, ...]] = ("lines",)
InvoiceJson = dict[str, Any]
AppOf = Callable[[str], InvoiceJson]
_SNAPSHOT: Final = "quantitySnapshottedAt"
_AS_OPENMETER: Final = "quantitySnapshotedAt"  # as its API spells it
# What OpenMeter's detailed lines have, and ours share with their line.
_OF_LINE: Final = ("invoiceAt", "createdAt", "updatedAt", "invoice")

read_invoice = msgspec.json.Decoder(StoredInvoice).decode


def invoice_json(
    stored: StoredInvoice,
    now_s: int,
    expand: Collection[InvoicePart],
    app_of: AppOf,
    deleted_lines: bool = False,
) -> InvoiceJson:
    """An invoice at an instant.

    Args:
        now_s: decides which actions are available.
        expand: the parts to show. Apps are named by their ids unless `workflow.apps` is one of them.
        app_of: the JSON of an app by its id.
        deleted_lines: whether lines that were deleted are shown too.
    """
    content = stored.content
    if not deleted_lines:
        live = tuple(line for line in content.lines if line.deleted_at is None)
        stored = msgspec.structs.replace(stored, content=msgspec.structs.replace(content, lines=live))
    return answered_json(stored_answer(stored, now_s), expand, app_of)


def answered_json(answer: InvoiceAnswer, expand: Collection[InvoicePart], app_of: AppOf) -> InvoiceJson:
    """As `invoice_json`, of an invoice that may be stored nowhere."""
    parts: dict[InvoicePart, str] = {"lines": "lines", "preceding": "preceding"}
    left_out = [member for part, member in parts.items() if part not in expand]
    shown_answer = msgspec.structs.replace(answer, **dict.fromkeys(left_out, ()))
    members = shown(shown_answer)
    if _SNAPSHOT in members:
        members[_AS_OPENMETER] = members.pop(_SNAPSHOT)
    ids = answer.workflow.apps
    apps = {name: getattr(ids, name) for name in ProfileApps.__struct_fields__}
    whole = "workflow.apps" in expand
    members["workflow"] = {
        **_object(members["workflow"]),
        "apps": {name: app_of(id) if whole else {"id": id} for name, id in apps.items()},
    }
    if shown_answer.lines:
        members["lines"] = [_with_details(line) for line in _objects(members["lines"])]
    return members


def _with_details(line: InvoiceJson) -> InvoiceJson:
    if "children" not in line:
        return line
    shared = {name: line[name] for name in _OF_LINE} | {"managedBy": "system", "status": "detailed"}
    return {**line, "children": [{**shared, **child} for child in line["children"]]}


def _object(value: object) -> InvoiceJson:
    assert isinstance(value, dict)
    return value


def _objects(value: object) -> list[InvoiceJson]:
    assert isinstance(value, list)
    return value
