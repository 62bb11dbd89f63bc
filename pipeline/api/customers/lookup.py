"""Whose usage a subject's is, for reads: resolved when asked, from the control log in memory.

Owns: a customer by id or key and its subjects, 404 for an unknown one, names for reports. Does not own: customers and
subjects themselves (core.customers.customer, core.customers.subject), attribution as of a time
(core.customers.attribution).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from fastapi import Query, Request

from pipeline.api.http.auth import namespace_of
from pipeline.api.http.services import Services
from pipeline.api.http.submit import definitions
from pipeline.core.customers.customer import Customer
from pipeline.errors import Rejected

Substring = Annotated[str | None, Query(description="part of it, upper or lower case")]


def has_part(text: str | None, part: str | None) -> bool:
    """Whether a text has a part that a list is asked for, in upper or lower case; without one each has."""
    return part is None or (text is not None and part.casefold() in text.casefold())


def customer_named(request: Request, id_or_key: str) -> Customer:
    """A customer of the request's namespace, deleted ones too. Raises Rejected `not-found`."""
    found = definitions(request).customer(namespace_of(request), id_or_key)
    if found is None:
        raise Rejected("not-found", f"There is no customer {id_or_key[:256]}.")
    return found


def subjects_of(services: Services, namespace: str, customers: Sequence[str]) -> dict[str, list[str]]:
    """Each customer's id with its subjects: the keys it names, and its own key. Ids or keys are asked for.

    Raises Rejected `not-found` that names the first that this namespace does not have.
    """
    services.definitions.wait_loaded()
    found: dict[str, list[str]] = {}
    for asked in dict.fromkeys(customers):
        customer = services.definitions.customer(namespace, asked)
        if customer is None or customer.is_deleted:
            raise Rejected("not-found", f"customer with id {asked[:256]} not found")
        found[customer.id] = customer.subjects
    return found


def customer_of(services: Services, namespace: str, subject: str) -> str | None:
    """The id of the customer whose usage the subject's is now, or None."""
    customer = services.definitions.customer_of(namespace, subject)
    return None if customer is None else customer.id


def display_names(services: Services, namespace: str, subjects: Iterable[str]) -> dict[str, str]:
    """Of those subjects that are defined, the name to show, which may be empty."""
    found = {key: services.definitions.subject(namespace, key) for key in set(subjects)}
    return {key: subject.display_name or "" for key, subject in found.items() if subject is not None}
