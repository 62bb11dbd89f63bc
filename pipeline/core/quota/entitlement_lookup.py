"""Which entitlement a command or a request means, and whose it is.

Owns: customers and entitlements by id, key, subject or feature key, the zone of a customer's calendars. Does not own:
what an entitlement is (entitlement), the commands (entitlement_commands).
"""

from __future__ import annotations

from pipeline.core.customers.customer import Customer
from pipeline.core.customers.subject import Subject
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.index import DefinitionIndex
from pipeline.core.definitions.kinds import CUSTOMER_KEY, CUSTOMER_SUBJECT, ENTITLEMENT_CUSTOMER
from pipeline.core.quota.entitlement import Entitlement
from pipeline.errors import Rejected


def customer_id(index: DefinitionIndex, namespace: str, wanted: str) -> str:
    """The id of the customer with this id or key. Raises Rejected `not-found`, also for a deleted one."""
    customer = index.find_by(Customer, namespace, CUSTOMER_KEY, wanted, deleted=False)
    if customer is None:
        raise Rejected("not-found", f"There is no customer with the id or key {wanted}.")
    return customer.id


def holder_id(index: DefinitionIndex, namespace: str, sent: BodyReader) -> str | None:
    """The id of the customer that a command names, by `customerId` or by one of its subjects.

    Args:
        index: the definitions.
        namespace: of the customer.
        sent: the command's body.

    Returns:
        None if the command names neither.

    Raises:
        Rejected: `not-found`.
    """
    customer, subject = sent.text("customerId", 256), sent.text("subject", 256)
    if customer is not None and subject is not None:
        sent.refuse("either customerId or subject is given, not both")
    if customer is not None:
        return customer_id(index, namespace, customer)
    if subject is None:
        return None
    key = subject_key(index, namespace, subject)
    if (id := index.one(namespace, CUSTOMER_SUBJECT, key)) is None:
        raise Rejected("not-found", f"There is no customer with the subject {key}.")
    return id


def subject_key(index: DefinitionIndex, namespace: str, id_or_key: str) -> str:
    """The key of the subject with this id; what is no id is a key."""
    subject = index.find(Subject, namespace, id_or_key)
    return id_or_key if subject is None else subject.key


def of_customer(index: DefinitionIndex, namespace: str, customer: str) -> list[Entitlement]:
    """All entitlements of a customer (id), ended and deleted ones too, oldest first."""
    return index.having(Entitlement, namespace, ENTITLEMENT_CUSTOMER, customer)


def find(
    index: DefinitionIndex, namespace: str, wanted: str, at_s: int, customer: str | None = None
) -> Entitlement:
    """The entitlement that a name means; a deleted one is not found.

    Args:
        index: the definitions.
        namespace: of the entitlement.
        wanted: its id, or with `customer` the key of its feature.
        at_s: when it is in force, where a feature key names it, in seconds since 1970.
        customer: its customer (id); None: any.

    Raises:
        Rejected: `not-found`.
    """
    entitlement = index.find(Entitlement, namespace, wanted)
    if entitlement is not None and not entitlement.is_deleted and customer in (None, entitlement.customer_id):
        return entitlement
    if customer is not None:
        for entitlement in of_customer(index, namespace, customer):
            if (
                wanted == entitlement.feature_key
                and not entitlement.is_deleted
                and entitlement.in_force(at_s)
            ):
                return entitlement
    raise Rejected("not-found", f"There is no entitlement with the id or feature key {wanted}.")


def zone_name(
    index: DefinitionIndex, namespace: str, customer_id: str, time_zone: str | None = None
) -> str | None:
    """The named zone in which calendars of an entitlement step unless they name their own.

    Args:
        index: the definitions.
        namespace: of the customer.
        customer_id: its id.
        time_zone: of the entitlement's usage period.

    Returns:
        An IANA name; None: they step in an offset.
    """
    if time_zone is not None:
        return time_zone
    customer = index.find(Customer, namespace, customer_id)
    return None if customer is None else customer.time_zone
