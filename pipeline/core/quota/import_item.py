"""One item of an import: a customer, a subject, an entitlement or a grant, as the command that creates it.

Owns: which command an item is, and the refusal of what is none. Does not own: the rules of a command (core.customers,
entitlement_commands, grant_commands), how many items are sent at once (api.quota.imports).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pipeline.errors import Rejected

COMMANDS: Mapping[str, str] = {
    "customer": "customer.create",
    "subject": "subject.upsert",
    "entitlement": "entitlement.create",
    "grant": "grant.create",
}
SCOPES: Mapping[str, str] = {
    "customer": "customers:write",
    "subject": "customers:write",
    "entitlement": "entitlements:write",
    "grant": "entitlements:write",
}


class ImportCommand(NamedTuple):
    """kind: of the item. command: by which it is created. scope: which a key needs for it."""

    kind: str
    command: str
    scope: str
    body: dict[str, object]


def command_of(item: object) -> ImportCommand:
    """The command of `{"customer": {...}}`, `{"subject": {...}}`, `{"entitlement": {...}}` or `{"grant": {...}}`.

    The object inside is the body of the command. An entitlement of a metered feature may have `grants`. A grant without
    `maxRolloverAmount` keeps all that is left when its entitlement is reset, as one that is created by customer.

    Raises:
        Rejected: `bad-import`.
    """
    if not isinstance(item, dict) or len(item) != 1 or next(iter(item)) not in COMMANDS:
        names = ", ".join(COMMANDS)
        raise Rejected("bad-import", f"An item is an object with one member, which is one of {names}.")
    kind, body = next(iter(item.items()))
    if not isinstance(body, dict):
        raise Rejected("bad-import", f"The member {kind} of an item is an object.")
    form = _FORMS.get(kind, dict)
    return ImportCommand(kind, COMMANDS[kind], SCOPES[kind], form(body))


def with_rollover(grant: Mapping[str, object]) -> dict[str, object]:
    """A grant as v2 means it: without `maxRolloverAmount` a reset leaves all that is left."""
    if grant.get("maxRolloverAmount") is not None:
        return dict(grant)
    return {**grant, "maxRolloverAmount": grant.get("amount")}


def with_rollovers(entitlement: Mapping[str, object]) -> dict[str, object]:
    """An entitlement whose grants are as v2 means them."""
    grants = entitlement.get("grants")
    if not isinstance(grants, list):
        return dict(entitlement)
    return {**entitlement, "grants": [with_rollover(one) if isinstance(one, dict) else one for one in grants]}


_FORMS: Mapping[str, Callable[[dict[str, object]], dict[str, object]]] = {
    "entitlement": with_rollovers,
    "grant": with_rollover,
}
