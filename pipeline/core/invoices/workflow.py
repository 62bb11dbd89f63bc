"""How an invoice is collected, issued and paid: the settings of a profile, as JSON has them, with their defaults.

Owns: the Structs, the durations as intervals, the terms that follow for one invoice. Does not own: what a client may
send (workflow_reading), profiles and which one is in force for a customer (profile). An invoice keeps the settings that
it was created with.
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` BillingWorkflow. `dunning` is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from pipeline.core.catalog.tax_config import TaxConfig
from pipeline.core.invoices.dunning import AfterDunning, Dunning, DunningAction, DunningStep
from pipeline.core.invoices.progress import DraftTerms
from pipeline.core.invoices.times import collection_at_s, draft_until_s
from pipeline.core.values import calendar
from pipeline.core.values.calendar import Interval

EndProration = Literal["bill_actual_period", "bill_full_period"]
CollectionMethod = Literal["charge_automatically", "send_invoice"]


class AlignmentPeriod(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """interval: as sent. anchor: RFC 3339; collection happens at anchor + k intervals."""

    interval: str
    anchor: str


class SubscriptionAlignment(
    msgspec.Struct, frozen=True, gc=False, rename="camel", tag_field="type", tag="subscription"
):
    """Lines are collected when they are due."""


class AnchoredAlignment(
    msgspec.Struct, frozen=True, gc=False, rename="camel", tag_field="type", tag="anchored"
):
    """Lines that are due wait for the next tick of a period."""

    recurring_period: AlignmentPeriod


Alignment = SubscriptionAlignment | AnchoredAlignment


class CollectionSettings(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel"):
    """interval: for how long usage that is late is awaited."""

    alignment: Alignment = SubscriptionAlignment()
    interval: str = "PT1H"


class InvoicingSettings(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel"):
    """auto_advance: it is issued without an approval, after `draft_period`.

    default_tax_config: of lines that have none.
    """

    auto_advance: bool = True
    draft_period: str = "P0D"
    due_after: str = "P30D"
    progressive_billing: bool = True
    subscription_end_proration_mode: EndProration = "bill_actual_period"
    default_tax_config: TaxConfig | UnsetType = UNSET


class PaymentSettings(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel"):
    """How an app collects the payment."""

    collection_method: CollectionMethod = "charge_automatically"


class TaxSettings(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel"):
    """enforced: without a tax that can be computed no invoice is issued."""

    enabled: bool = True
    enforced: bool = False


class DunningStepSettings(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel"):
    """after: the due date."""

    after: str
    action: DunningAction


class DunningSettings(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True
):
    """The reminders of unpaid invoices."""

    steps: tuple[DunningStepSettings, ...] = ()
    give_up_after: str | None = None
    then: AfterDunning = "nothing"


class BillingWorkflow(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel"):
    """All settings."""

    collection: CollectionSettings = CollectionSettings()
    invoicing: InvoicingSettings = InvoicingSettings()
    payment: PaymentSettings = PaymentSettings()
    tax: TaxSettings = TaxSettings()
    dunning: DunningSettings = DunningSettings()


@lru_cache(maxsize=1 << 10)
def interval_of(duration: str) -> Interval:
    """The interval of a duration of these settings."""
    return calendar.parse(duration, 0)


def terms_of(
    workflow: BillingWorkflow,
    created_at_s: int,
    metered_at_s: Sequence[int],
    zone: str,
    *,
    app_numbers: bool = False,
    app_has_clock: bool = False,
) -> DraftTerms:
    """What the settings mean for one draft.

    Args:
        workflow: of the invoice.
        created_at_s: of the invoice.
        metered_at_s: `invoiceAt` of each line that has a meter and is not deleted.
        zone: in which days and months are counted.
        app_numbers: its app may give it a number.
        app_has_clock: its app reports itself when payment is overdue.
    """
    invoicing = workflow.invoicing
    collected_at_s = collection_at_s(
        created_at_s, metered_at_s, interval_of(workflow.collection.interval), zone
    )
    return DraftTerms(
        auto_advance=invoicing.auto_advance,
        collection_at_s=collected_at_s,
        draft_until_s=draft_until_s(
            created_at_s, collected_at_s, invoicing.auto_advance, interval_of(invoicing.draft_period), zone
        ),
        due_after=interval_of(invoicing.due_after),
        zone=zone,
        app_numbers=app_numbers,
        app_has_clock=app_has_clock,
    )


def usual_tax(workflow: BillingWorkflow) -> TaxConfig | None:
    """The tax configuration of lines that have none."""
    found = workflow.invoicing.default_tax_config
    return None if found is UNSET else found


def dunning_of(settings: DunningSettings) -> Dunning:
    """The reminders with their intervals."""
    end = settings.give_up_after
    return Dunning(
        tuple(DunningStep(interval_of(step.after), step.action) for step in settings.steps),
        None if end is None else interval_of(end),
        settings.then,
    )
