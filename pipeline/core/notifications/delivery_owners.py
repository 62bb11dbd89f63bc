"""Whose the rows of webhook's state are: those of an endpoint.

Owns: a rule for each kind of row. Does not own: the rows (delivery_table).
A delivery names its endpoint; its payload and its mark have the same id.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.core.notifications.delivery_table import (
    ACTIVE,
    DELIVERY,
    ENDPOINT,
    MESSAGE,
    decode_delivery,
    endpoint_hash,
)
from pipeline.core.values.state_owners import FIRST, OwnerRule, StateOwners, part

RULES: Mapping[bytes, OwnerRule] = dict.fromkeys(
    (one[FIRST] for one in (DELIVERY, MESSAGE, ACTIVE, ENDPOINT)), part(2)
)


def delivery_owners() -> StateOwners:
    """The owners of webhook's rows."""

    def of_delivery(key: bytes, value: bytes) -> tuple[bytes, int]:
        delivery = decode_delivery(value)
        return key[len(DELIVERY) :], endpoint_hash(delivery.namespace, delivery.endpoint)

    def of_endpoint(key: bytes, _: bytes) -> tuple[bytes, int]:
        name = key[len(ENDPOINT) :]
        namespace, endpoint = name.decode().split("/", 1)
        return name, endpoint_hash(namespace, endpoint)

    return StateOwners(RULES, {DELIVERY[FIRST]: of_delivery, ENDPOINT[FIRST]: of_endpoint})
