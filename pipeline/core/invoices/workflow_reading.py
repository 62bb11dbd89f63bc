"""Settings of a profile that a client sends, read member by member: whatever is wrong is refused with one sentence.

Owns: which values they may have. Does not own: the Structs and their defaults (workflow).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from msgspec import UNSET

from pipeline.core.catalog.tax_config import read_tax_config
from pipeline.core.definitions.body import BodyReader
from pipeline.core.invoices.dunning import AfterDunning, DunningAction
from pipeline.core.invoices.workflow import (
    Alignment,
    AlignmentPeriod,
    AnchoredAlignment,
    BillingWorkflow,
    CollectionMethod,
    CollectionSettings,
    DunningSettings,
    DunningStepSettings,
    EndProration,
    InvoicingSettings,
    PaymentSettings,
    SubscriptionAlignment,
    TaxSettings,
    interval_of,
)
from pipeline.core.values import calendar, timestamp

KIND: Final = "billing-profile"
MOST_STEPS: Final = 20
_TAX_IN: Final = "workflow invoicing"


def read_workflow(body: Mapping[str, object]) -> BillingWorkflow:
    """The settings that a client sent; what is absent has its default.

    Raises:
        Rejected: `bad-billing-profile`, with one sentence.
    """
    parts = ("collection", "invoicing", "payment", "tax", "dunning")
    sent = BodyReader(KIND, body, parts, inside="workflow")
    return BillingWorkflow(
        collection=_collection(_part(sent, "collection", "alignment", "interval")),
        invoicing=_invoicing(
            _part(
                sent,
                "invoicing",
                "autoAdvance",
                "draftPeriod",
                "dueAfter",
                "progressiveBilling",
                "subscriptionEndProrationMode",
                "defaultTaxConfig",
            )
        ),
        payment=_payment(_part(sent, "payment", "collectionMethod")),
        tax=_tax(_part(sent, "tax", "enabled", "enforced")),
        dunning=_dunning(_part(sent, "dunning", "steps", "giveUpAfter", "then")),
    )


def _part(sent: BodyReader, member: str, *names: str) -> BodyReader:
    return BodyReader(KIND, sent.nested(member) or {}, names, inside=f"workflow {member}")


def _duration(sent: BodyReader, member: str) -> str | None:
    return None if sent.interval(member, 0) is None else sent.text(member, 64)


def _or(value: bool | None, default: bool) -> bool:
    return default if value is None else value


def _collection(sent: BodyReader) -> CollectionSettings:
    usual = CollectionSettings()
    body = sent.nested("alignment")
    alignment = usual.alignment if body is None else _alignment(body)
    return CollectionSettings(alignment=alignment, interval=_duration(sent, "interval") or usual.interval)


def _alignment(body: Mapping[str, object]) -> Alignment:
    sent = BodyReader(KIND, body, ("type", "recurringPeriod"), inside="workflow collection alignment")
    chosen = sent.one_of("type", ("subscription", "anchored"))
    period = sent.nested("recurringPeriod")
    if chosen is None:
        sent.refuse(f"{sent.kind} type is required")
    if chosen == "subscription":
        if period is not None:
            sent.refuse(f"{sent.kind} recurringPeriod belongs to the type anchored")
        return SubscriptionAlignment()
    if period is None:
        sent.refuse(f"{sent.kind} recurringPeriod is required for the type anchored")
    parts = BodyReader(KIND, period, ("interval", "intervalISO", "anchor"), inside="workflow recurringPeriod")
    interval, anchor = parts.recurring(), parts.instant_ms("anchor")
    if interval is None or anchor is None:
        parts.refuse(f"{parts.kind} interval and anchor are required")
    return AnchoredAlignment(AlignmentPeriod(calendar.iso(interval), timestamp.text_of(anchor)))


def _invoicing(sent: BodyReader) -> InvoicingSettings:
    usual = InvoicingSettings()
    mode: EndProration | None = sent.one_of("subscriptionEndProrationMode", get_args(EndProration))
    tax = sent.nested("defaultTaxConfig")
    return InvoicingSettings(
        auto_advance=_or(sent.flag("autoAdvance"), usual.auto_advance),
        draft_period=_duration(sent, "draftPeriod") or usual.draft_period,
        due_after=_duration(sent, "dueAfter") or usual.due_after,
        progressive_billing=_or(sent.flag("progressiveBilling"), usual.progressive_billing),
        subscription_end_proration_mode=mode or usual.subscription_end_proration_mode,
        default_tax_config=UNSET
        if tax is None
        else read_tax_config(KIND, tax, f"{_TAX_IN} defaultTaxConfig"),
    )


def _payment(sent: BodyReader) -> PaymentSettings:
    method: CollectionMethod | None = sent.one_of("collectionMethod", get_args(CollectionMethod))
    return PaymentSettings() if method is None else PaymentSettings(collection_method=method)


def _tax(sent: BodyReader) -> TaxSettings:
    usual = TaxSettings()
    tax = TaxSettings(
        enabled=_or(sent.flag("enabled"), usual.enabled), enforced=_or(sent.flag("enforced"), usual.enforced)
    )
    if tax.enforced and not tax.enabled:
        sent.refuse(f"{sent.kind} cannot be enforced where it is not enabled")
    return tax


def _dunning(sent: BodyReader) -> DunningSettings:
    end = _duration(sent, "giveUpAfter")
    then: AfterDunning | None = sent.one_of("then", get_args(AfterDunning))
    if then == "uncollectible" and end is None:
        sent.refuse(f"{sent.kind} giveUpAfter is required, since `then` happens after it")
    steps = tuple(map(_step, sent.objects("steps", 0, MOST_STEPS) or []))
    after = [interval_of(step.after) for step in steps]
    if sorted(after, key=calendar.mean_s) != after:
        sent.refuse(f"{sent.kind} steps must be in the order of their time")
    return DunningSettings(steps=steps, give_up_after=end, then=then or DunningSettings().then)


def _step(body: Mapping[str, object]) -> DunningStepSettings:
    sent = BodyReader(KIND, body, ("after", "action"), inside="workflow dunning steps")
    after = _duration(sent, "after")
    action: DunningAction | None = sent.one_of("action", get_args(DunningAction))
    if after is None or action is None:
        sent.refuse(f"{sent.kind} after and action are required")
    return DunningStepSettings(after=after, action=action)
