"""Which entitlement of which customer a request is about.

Owns: customers by id, key or subject, entitlements by id or feature key, the present moment. Does not own: any answer.
"""

from __future__ import annotations

import time
from typing import Annotated, Literal, NamedTuple

from fastapi import Depends, Request

from pipeline.api.customers.lookup import customer_named
from pipeline.api.http.auth import namespace_of
from pipeline.api.http.submit import definitions
from pipeline.core.customers.customer import Customer
from pipeline.core.quota.entitlement import Entitlement
from pipeline.errors import Rejected


class Holder(NamedTuple):
    """Whose entitlements a path is about. member: what `named`, an id or a key, is of."""

    member: Literal["customerId", "subject"]
    named: str

    def find(self, request: Request) -> CustomerRef:
        """The customer. Raises Rejected `not-found`."""
        found = by_customer if self.member == "customerId" else by_subject
        return found(request, self.named)

    @property
    def members(self) -> dict[str, str]:
        """As commands name it."""
        return {self.member: self.named}


def holder_of(request: Request) -> Holder:
    """A dependency of routes below a customer and below a subject."""
    path = request.path_params
    if "customerIdOrKey" in path:
        return Holder("customerId", path["customerIdOrKey"])
    return Holder("subject", path["subjectIdOrKey"])


HolderOf = Annotated[Holder, Depends(holder_of)]


class CustomerRef(NamedTuple):
    """A customer, and the subject by which it was asked for, if it was."""

    customer: Customer
    subject: str | None = None

    @property
    def id(self) -> str:
        return self.customer.id


def now_s() -> int:
    """Seconds since 1970."""
    return int(time.time())


def by_customer(request: Request, id_or_key: str) -> CustomerRef:
    """Raises Rejected `not-found`."""
    return CustomerRef(customer_named(request, id_or_key))


def by_subject(request: Request, id_or_key: str) -> CustomerRef:
    """The customer that holds a subject now. Raises Rejected `not-found`: no customer does."""
    key = subject_key(request, id_or_key)
    found = definitions(request).customer_of(namespace_of(request), key)
    if found is None:
        raise Rejected("not-found", f"There is no customer with the subject {key[:256]}.")
    return CustomerRef(found, key)


def subject_key(request: Request, id_or_key: str) -> str:
    """The key of the subject with this id; whatever is no id is a key."""
    subject = definitions(request).subject(namespace_of(request), id_or_key)
    return id_or_key if subject is None else subject.key


def entitlement(request: Request, holder: CustomerRef, id_or_feature_key: str) -> Entitlement:
    """By id, or the one in force by feature key. Raises Rejected `not-found`."""
    return definitions(request).entitlement(
        namespace_of(request), id_or_feature_key[:256], now_s(), holder.id
    )


def by_id(request: Request, id: str) -> Entitlement:
    """An entitlement by its id alone, deleted or not. Raises Rejected `not-found`."""
    found = definitions(request).find(Entitlement, namespace_of(request), id)
    if found is None:
        raise Rejected("not-found", f"There is no entitlement with the id {id[:64]}.")
    return found
