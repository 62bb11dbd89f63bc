"""What is wrong with a plan, an add-on or an add-on of a plan: codes, their severity, and where they lie.

Owns: the codes with their sentences, the path to a field, refusing by codes. Does not own: when a code applies (the
`..._validation` modules). A critical issue refuses the change; a warning is shown in `validationErrors` and refuses
only publishing.

Source: openmeterio/openmeter at 7e57a394, `openmeter/productcatalog/errors.go`: codes, severities and paths, which
spell the rate cards of a path `ratecards`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

import msgspec

from pipeline.errors import Rejected

ROOT = "$"
CADENCES = ("P1W", "P2W", "P4W", "P1M", "P3M", "P6M", "P12M", "P1Y")
MOST_SHOWN = 3  # sentences in the detail of a refusal; `validationErrors` has all
CRITICAL: Mapping[str, str] = {
    "plan_billing_cadence_invalid": f"billing cadence must be one of {', '.join(CADENCES)}",
    "plan_phase_duplicated_key": "duplicated key",
    "plan_invalid_status": "the status of the plan does not allow this",
    "rate_card_duplicated_key": "duplicated key",
    "rate_card_feature_not_found": "feature not found",
    "rate_card_feature_archived": "feature archived",
    "rate_card_feature_mismatch": "feature id and key must reference the same feature",
    "rate_card_key_feature_key_mismatch": "rate card key must match feature key",
    "percentage_discount_invalid_value": "percentage must be between 0 and 100",
    "entitlement_template_invalid_json_config": "invalid JSON in static entitlement config",
    "currency_invalid": "currency must have three upper-case letters",
    "currency_not_found": "currency is not one of ISO 4217",
    "addon_key_empty": "key must not be empty",
    "addon_invalid_instance_type": "instance type must be single or multiple",
    "addon_invalid_status": "the status of the add-on does not allow this",
    "addon_invalid_status_for_publish": "only draft add-ons can be published",
    "resource_key_empty": "key must not be empty",
    "resource_name_empty": "name must not be empty",
    "resource_id_empty": "id must not be empty",
    "resource_namespace_empty": "namespace must not be empty",
}
WARNING: Mapping[str, str] = {
    "plan_with_no_phases": "plan must have at least one phase",
    "plan_phase_has_no_rate_cards": "plan phase must have at least one rate card",
    "plan_has_non_last_phase_with_no_duration": "duration must be set for plan phase if it is not the last one",
    "plan_has_last_phase_with_duration": "duration must not be set for the last plan phase",
    "plan_phase_with_negative_duration": "duration must be positive",
    "plan_phase_duration_less_then_an_hour": "duration must be at least 1 hour",
    "plan_billing_cadence_not_compatible": "plan billing cadence is not compatible with rate card billing cadence",
    "plan_multiple_fiat_currencies": "the currency of a rate card must be the currency of its plan",
    "plan_has_incompatible_addon": "plan has incompatible add-on assignment",
    "billing_cadence_invalid_value": "billing cadence must be positive and at least 1 hour long",
    "rate_card_billing_cadence_unaligned": "billing cadence must be a whole multiple or divisor of the plan's",
    "rate_card_multiple_billing_cadence": "rate cards with prices must have the same billing cadence",
    "usage_based_price_with_no_feature": "a price by usage requires a feature",
    "usage_based_price_with_feature_and_no_meter": "a price by usage requires a feature with a meter",
    "usage_discount_negative_quantity": "quantity must not be negative",
    "usage_discount_with_flat_price": "usage discount is not supported for flat price",
    "entitlement_template_with_no_feature": "entitlement template requires a feature",
    "entitlement_template_issue_after_reset_required": "issue after reset is required for a metered template",
    "entitlement_template_invalid_issue_after_reset_with_priority":
        "issue after reset is required if its priority is set",
    "entitlement_template_negative_usage_period": "usage period must be positive",
    "entitlement_template_usage_period_less_then_an_hour": "usage period must be at least 1 hour",
    "effective_period_from_after_to": "effectiveFrom is after effectiveTo",
    "effective_period_from_not_set": "effectiveFrom must be set if effectiveTo is set",
    "addon_name_empty": "name must not be empty",
    "addon_has_no_rate_cards": "add-on must have at least one rate card",
    "addon_invalid_ratecard_price_for_multi_instance":
        "only free or flat prices are allowed for an add-on with multiple instance type",
    "plan_addon_incompatible_status": "plan status is incompatible with the add-on status",
    "plan_addon_max_quantity_must_be_set": "maximum quantity must be positive for an add-on of multiple instance type",
    "plan_addon_max_quantity_must_not_be_set": "maximum quantity must not be set for an add-on of single instance type",
    "plan_addon_currency_mismatch": "currency of the plan and add-on must match",
    "plan_addon_unknown_plan_phase_key": "fromPlanPhase must be the key of a phase of the plan",
    "rate_card_key_mismatch": "key must match",
    "rate_card_price_type_mismatch": "price type must match",
    "rate_card_price_payment_term_mismatch": "price payment term must match",
    "rate_card_feature_id_mismatch": "feature id must match",
    "rate_card_feature_key_mismatch": "feature key must match",
    "rate_card_billing_cadence_mismatch": "billing cadence must match",
    "rate_card_entitlement_template_type_mismatch": "entitlement template type must match",
    "rate_card_metered_entitlement_template_usage_period_mismatch":
        "usage period of the metered entitlement template must match",
    "rate_card_only_flat_price_allowed": "only flat price is allowed",
    "rate_card_static_entitlement_template_not_allowed": "static entitlement template is not allowed",
    "rate_card_percentage_discount_not_allowed": "percentage discount is not allowed",
}  # fmt: skip


class CatalogIssue(msgspec.Struct, frozen=True):
    """One thing that is wrong. field: a JSONPath into the plan or add-on."""

    field: str
    code: str
    message: str

    @property
    def members(self) -> dict[str, str]:
        """Its JSON."""
        return {"field": self.field, "code": self.code, "message": self.message}

    @property
    def is_critical(self) -> bool:
        """Whether it refuses the change, and not only publishing."""
        return self.code in CRITICAL


def issue(code: str, field: str) -> CatalogIssue:
    """An issue with the sentence of its code.

    Args:
        code: of CRITICAL or WARNING.
        field: a path as `of_key`, `of_place` and `member` make it.
    """
    return CatalogIssue(field, code, CRITICAL.get(code) or WARNING[code])


def member(path: str, name: str) -> str:
    """The path to a member of an object.

    >>> member(of_key(ROOT, "phases", "pro"), "duration")
    "$.phases[?(@.key=='pro')].duration"
    """
    return f"{path}.{name}"


def of_key(path: str, name: str, key: str) -> str:
    """The path to the element with a `key` in the list `name`."""
    return f"{path}.{name}[?(@.key=='{key}')]"


def of_place(path: str, name: str, place: int) -> str:
    """The path to the element at a place, from 0, of the list `name`."""
    return f"{path}.{name}[{place}]"


def below(path: str, issues: Iterable[CatalogIssue]) -> list[CatalogIssue]:
    """Issues of an inner object as issues of the outer one that has it at `path`."""
    return [CatalogIssue(path + one.field.removeprefix(ROOT), one.code, one.message) for one in issues]


def shown(issues: Iterable[CatalogIssue]) -> list[dict[str, str]]:
    """The issues as `validationErrors` lists them."""
    return [one.members for one in issues]


def refuse_critical(kind: str, issues: Iterable[CatalogIssue]) -> None:
    """Raises Rejected `bad-<kind>` with the critical issues, if there are any."""
    if critical := [one for one in issues if one.is_critical]:
        refuse_all(kind, critical)


def refuse_all(kind: str, issues: Sequence[CatalogIssue], sentence: str = "") -> NoReturn:
    """Raises Rejected `bad-<kind>` with all of the issues. sentence: instead of those of the first issues."""
    sentences = [f"{one.field}: {one.message}" for one in issues[:MOST_SHOWN]]
    more = f" (and {len(issues) - MOST_SHOWN} more)" if len(issues) > MOST_SHOWN else ""
    listed = [{**one.members, "in": "body", "detail": one.message} for one in issues]
    raise Rejected(f"bad-{kind}", sentence or "; ".join(sentences) + more, {"validationErrors": listed})
