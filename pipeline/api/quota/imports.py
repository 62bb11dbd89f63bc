"""`POST /imports`: many customers, subjects, entitlements and grants in one request, each decided by itself.

Owns: the route, what a key may import, the report. Does not own: what an item is (core.quota.import_item), the rules of
each command (core).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, Request

from pipeline.api.http.auth import needs, principal
from pipeline.api.http.described import described
from pipeline.api.http.paths import Router
from pipeline.api.http.submit import submit_all
from pipeline.api.quota.answers import ImportAnswer
from pipeline.api.quota.bodies import ImportItemBody
from pipeline.core.definitions.idempotency import REUSED
from pipeline.core.quota.import_item import ImportCommand, command_of
from pipeline.errors import Rejected

MAX_ITEMS = 1000

router = Router(prefix="/imports", tags=["customers"])
RefusedJson = dict[str, Any]


@router.post(
    "",
    summary="Import customers, subjects, entitlements and grants",
    dependencies=[Depends(needs("customers:write"))],
    **described(list[ImportItemBody], ImportAnswer, reasons=["too-many-items"]),
)
def import_items(request: Request, items: Annotated[list[Any], Body()]) -> dict[str, Any]:
    """Up to 1,000 items, decided in their order, each as by the request that creates it alone.

    An item that is refused changes nothing and does not keep the others from being applied. With an `Idempotency-Key`
    the request may be sent again: what it has applied is not applied twice, and another item at the same place is
    refused. Entitlements and grants need the scope `entitlements:write` too.
    """
    if len(items) > MAX_ITEMS:
        raise Rejected(
            "too-many-items", f"A request has at most {MAX_ITEMS} items; this one has {len(items)}."
        )
    commands: dict[int, ImportCommand] = {}
    refused: list[RefusedJson] = []
    for place, item in enumerate(items):
        try:
            commands[place] = _allowed(request, command_of(item))
        except Rejected as error:
            refused.append(_refusal(place, item, error.reason, error.detail))
    asked = {place: (one.command, one.body) for place, one in commands.items()}
    replies = dict(zip(asked, submit_all(request, asked), strict=True))
    if replies and all(one.error == REUSED for one in replies.values()):
        raise Rejected(REUSED, next(iter(replies.values())).detail)
    refused += [
        _refusal(place, items[place], one.error, one.detail) for place, one in replies.items() if one.error
    ]
    return {
        "applied": len(items) - len(refused),
        "refused": sorted(refused, key=lambda one: one["index"]),
    }


def _allowed(request: Request, command: ImportCommand) -> ImportCommand:
    if not principal(request).may(command.scope):
        raise Rejected("forbidden", f"This needs the scope {command.scope}, which the key does not have.")
    return command


def _refusal(place: int, item: object, reason: str, detail: str) -> RefusedJson:
    named = next(iter(item)) if isinstance(item, dict) and len(item) == 1 else None
    shown = {"kind": named} if isinstance(named, str) else {}
    return {"index": place, **shown, "reason": reason, "detail": detail}
