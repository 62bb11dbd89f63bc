"""Add-ons that clients buy for a subscription, and changes of them.

Owns: which members both may have. Does not own: what they do (subscription_addons).
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` SubscriptionAddonCreate, SubscriptionAddonUpdate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from pipeline.core.catalog.rate_card_reading import MOST_DESCRIPTION, MOST_NAME
from pipeline.core.catalog.version_commands import MOST_REFERENCE
from pipeline.core.definitions.body import BodyReader
from pipeline.core.subscriptions.subscription_addons import AddonOrder
from pipeline.core.subscriptions.timing import Timing
from pipeline.core.subscriptions.timing_reading import read_timing

SUBSCRIPTION_ADDON: Final = "subscription-addon"
MOST_QUANTITY: Final = 1_000_000_000
_DESCRIBED = ("name", "description", "metadata", "quantity", "timing")


class PurchaseOrder(NamedTuple):
    """Which add-on is bought: by its id or key, and how."""

    addon: str
    order: AddonOrder


class PurchaseChange(NamedTuple):
    """What changes of an add-on that was bought. quantity None: it stays. described: the other members."""

    quantity: int | None
    timing: Timing
    described: dict[str, object]


def read_purchase(body: Mapping[str, object]) -> PurchaseOrder:
    """An add-on to buy. Raises Rejected `bad-subscription-addon`."""
    sent = BodyReader(SUBSCRIPTION_ADDON, body, ("addon", *_DESCRIBED))
    named, quantity = sent.nested("addon"), sent.integer("quantity", 0, MOST_QUANTITY)
    if named is None or quantity is None:
        sent.refuse(f"subscription-addon {'addon' if named is None else 'quantity'} is required")
    addon = BodyReader(SUBSCRIPTION_ADDON, named, ("id",), inside="addon")
    return PurchaseOrder(
        addon.required("id", MOST_REFERENCE),
        AddonOrder(
            quantity=quantity,
            timing=read_timing(sent) or "immediate",
            name=sent.text("name", MOST_NAME),
            description=sent.text("description", MOST_DESCRIPTION, multiline=True),
            metadata=sent.metadata(),
        ),
    )


def read_purchase_change(body: Mapping[str, object]) -> PurchaseChange:
    """A change of an add-on that was bought; a member that is absent or null stays. Raises as `read_purchase`."""
    sent = BodyReader(SUBSCRIPTION_ADDON, body, _DESCRIBED)
    quantity, timing = sent.integer("quantity", 0, MOST_QUANTITY), read_timing(sent)
    if timing is not None and quantity is None:
        sent.refuse("subscription-addon timing has no effect without a quantity")
    described: dict[str, object] = {
        "name": sent.text("name", MOST_NAME),
        "description": sent.text("description", MOST_DESCRIPTION, multiline=True),
        "metadata": sent.metadata(),
    }
    changes = {name: value for name, value in described.items() if value is not None}
    return PurchaseChange(quantity, timing or "immediate", changes)
