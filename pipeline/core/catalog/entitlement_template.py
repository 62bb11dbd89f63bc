"""The entitlement that a rate card gives to a customer: its template.

Owns: its Structs, reading them, what is wrong with one. Does not own: entitlements themselves (quota.entitlement), the
rate card around it (rate_card).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from pipeline.core.catalog.catalog_issue import ROOT, CatalogIssue, issue, member
from pipeline.core.catalog.iso_duration import exact_duration, read_duration
from pipeline.core.definitions.body import BodyReader
from pipeline.core.values import json_value, number
from pipeline.errors import Rejected

MOST_PRIORITY = 255
MOST_CONFIG = 10_000
_OF_TYPE = {
    "metered": (
        "isSoftLimit", "issueAfterReset", "issueAfterResetPriority", "preserveOverageAtReset", "usagePeriod",
    ),
    "static": ("config",),
    "boolean": (),
}  # fmt: skip


class MeteredTemplate(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    omit_defaults=True,
    tag_field="type",
    tag="metered",
):
    """A metered entitlement.

    Args:
        issue_after_reset: the balance from which each usage period begins, plain decimal text.
        issue_after_reset_priority: of that grant; 1 if it is absent.
        usage_period: an ISO 8601 duration; absent: the billing cadence of the rate card.
    """

    is_soft_limit: bool | None = None
    issue_after_reset: str | None = None
    issue_after_reset_priority: int | None = None
    preserve_overage_at_reset: bool | None = None
    usage_period: str | None = None
    metadata: dict[str, str] | None = None


class StaticTemplate(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="static"
):
    """An entitlement with a fixed configuration. config: JSON, as text."""

    config: str
    metadata: dict[str, str] | None = None


class BooleanTemplate(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="boolean"
):
    """An entitlement that is there or not."""

    metadata: dict[str, str] | None = None


EntitlementTemplate: TypeAlias = MeteredTemplate | StaticTemplate | BooleanTemplate


def read_template(sent: BodyReader, kind: str, place: str) -> EntitlementTemplate | None:
    """The template of a rate card.

    Args:
        sent: the rate card.
        kind: of the definition; `bad-<kind>` is the reason of refusals.
        place: of the rate card in the definition.
    """
    nested = sent.nested("entitlementTemplate")
    if nested is None:
        return None
    chosen = nested.get("type")
    if not isinstance(chosen, str) or chosen not in _OF_TYPE:
        sent.refuse(f"{sent.kind} entitlementTemplate type must be one of {', '.join(_OF_TYPE)}")
    members = ("type", *_OF_TYPE[chosen], "metadata")
    parts = BodyReader(kind, nested, members, inside=f"{place}.entitlementTemplate")
    metadata = parts.metadata()
    if chosen == "static":
        return StaticTemplate(config=_config(parts), metadata=metadata)
    if chosen == "boolean":
        return BooleanTemplate(metadata=metadata)
    issued = parts.at_least_zero("issueAfterReset")
    return MeteredTemplate(
        is_soft_limit=parts.flag("isSoftLimit"),
        issue_after_reset=None if issued is None else number.text(issued),
        issue_after_reset_priority=parts.integer("issueAfterResetPriority", 1, MOST_PRIORITY),
        preserve_overage_at_reset=parts.flag("preserveOverageAtReset"),
        usage_period=read_duration(parts, "usagePeriod"),
        metadata=metadata,
    )


def _config(parts: BodyReader) -> str:
    config = parts.text("config", MOST_CONFIG, multiline=True)
    if config is None:
        parts.refuse(f"{parts.kind} config is required")
    return config


def template_issues(template: EntitlementTemplate) -> Iterator[CatalogIssue]:
    """What is wrong with a template, with paths from the template."""
    if isinstance(template, StaticTemplate):
        if not _is_json(template.config):
            yield issue("entitlement_template_invalid_json_config", member(ROOT, "config"))
    elif isinstance(template, MeteredTemplate):
        yield from _metered_issues(template)


def _metered_issues(template: MeteredTemplate) -> Iterator[CatalogIssue]:
    issued = member(ROOT, "issueAfterReset")
    if template.issue_after_reset is None:
        yield issue("entitlement_template_issue_after_reset_required", issued)
        if template.issue_after_reset_priority is not None:
            yield issue("entitlement_template_invalid_issue_after_reset_with_priority", issued)
    if template.usage_period is not None:
        period, path = exact_duration(template.usage_period), member(ROOT, "usagePeriod")
        if period.is_negative:
            yield issue("entitlement_template_negative_usage_period", path)
        elif period.is_below_an_hour:
            yield issue("entitlement_template_usage_period_less_then_an_hour", path)


def _is_json(config: str) -> bool:
    try:
        json_value.read_decimals(config)  # only checked: answers hold the text as it was sent
    except Rejected:
        return False
    return True
