"""Whose usage a subject's is, for reads: resolved when asked, from the control log in memory.

Owns: the subjects of customers, 404 for an unknown one, names for reports. Does not own: customers and subjects
themselves (core.customers.customer, core.customers.subject), attribution as of a time (core.customers.attribution).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.api.http.services import Services
from pipeline.errors import Rejected


def subjects_of(services: Services, namespace: str, customers: Sequence[str]) -> dict[str, list[str]]:
    """Each customer's id with its subjects: the keys it names, and its own key. Ids or keys are asked for.

    Raises Rejected `not-found` that names the first that this namespace does not have.
    """
    services.definitions.wait_loaded()
    found: dict[str, list[str]] = {}
    for asked in dict.fromkeys(customers):
        body = services.definitions.customer(namespace, asked)
        if body is None or "deletedAt" in body:
            raise Rejected("not-found", f"customer with id {asked[:256]} not found")
        attribution = body.get("usageAttribution")
        keys = attribution.get("subjectKeys") if isinstance(attribution, dict) else None
        subjects = [*(keys if isinstance(keys, list) else ()), body.get("key")]
        found[str(body["id"])] = list(dict.fromkeys(str(key) for key in subjects if key))
    return found


def customer_of(services: Services, namespace: str, subject: str) -> str | None:
    """The id of the customer whose usage the subject's is now, or None."""
    body = services.definitions.customer_of(namespace, subject)
    return None if body is None else str(body["id"])


def display_names(services: Services, namespace: str, subjects: Iterable[str]) -> dict[str, str]:
    """Of those subjects that are defined, the name to show, which may be empty."""
    found = {key: services.definitions.subject(namespace, key) for key in set(subjects)}
    return {key: str(body.get("displayName") or "") for key, body in found.items() if body is not None}
