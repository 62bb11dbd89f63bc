"""Every code of the catalog: a case that has it, where it lies, and what it stops."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from pipeline.core.catalog.addon import Addon
from pipeline.core.catalog.addon_validation import addon_issues
from pipeline.core.catalog.catalog_issue import CRITICAL, WARNING, CatalogIssue, refuse_all
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.plan import Plan
from pipeline.core.catalog.plan_addon import PlanAddon
from pipeline.core.catalog.plan_addon_validation import assignment_issues, match_issues
from pipeline.core.catalog.plan_validation import plan_issues
from pipeline.core.catalog.price import UnitPrice
from pipeline.core.catalog.rate_card import RateCard
from pipeline.core.catalog.version_validation import reference_issues
from pipeline.errors import Rejected
from tests.fixtures.catalog_bodies import ADDON, ASSIGNED, FEE, PLAN, TOKENS, Body, log, with_card
from tests.fixtures.control_log import AT_MS, Log

# The list of the reference, written down independently of the code.
CRITICAL_CODES = """
plan_billing_cadence_invalid plan_phase_duplicated_key plan_invalid_status rate_card_duplicated_key
rate_card_feature_not_found rate_card_feature_archived rate_card_feature_mismatch
rate_card_key_feature_key_mismatch percentage_discount_invalid_value entitlement_template_invalid_json_config
currency_invalid currency_not_found addon_key_empty addon_invalid_instance_type addon_invalid_status
addon_invalid_status_for_publish resource_key_empty resource_name_empty resource_id_empty
resource_namespace_empty
"""
WARNING_CODES = """
plan_with_no_phases plan_phase_has_no_rate_cards plan_has_non_last_phase_with_no_duration
plan_has_last_phase_with_duration plan_phase_with_negative_duration plan_phase_duration_less_then_an_hour
plan_billing_cadence_not_compatible plan_multiple_fiat_currencies plan_has_incompatible_addon
billing_cadence_invalid_value rate_card_billing_cadence_unaligned rate_card_multiple_billing_cadence
usage_based_price_with_no_feature usage_based_price_with_feature_and_no_meter usage_discount_negative_quantity
usage_discount_with_flat_price entitlement_template_with_no_feature
entitlement_template_issue_after_reset_required entitlement_template_invalid_issue_after_reset_with_priority
entitlement_template_negative_usage_period entitlement_template_usage_period_less_then_an_hour
effective_period_from_after_to effective_period_from_not_set addon_name_empty addon_has_no_rate_cards
addon_invalid_ratecard_price_for_multi_instance plan_addon_incompatible_status
plan_addon_max_quantity_must_be_set plan_addon_max_quantity_must_not_be_set plan_addon_currency_mismatch
plan_addon_unknown_plan_phase_key rate_card_key_mismatch rate_card_price_type_mismatch
rate_card_price_payment_term_mismatch rate_card_feature_id_mismatch rate_card_feature_key_mismatch
rate_card_billing_cadence_mismatch rate_card_entitlement_template_type_mismatch
rate_card_metered_entitlement_template_usage_period_mismatch rate_card_only_flat_price_allowed
rate_card_static_entitlement_template_not_allowed rate_card_percentage_discount_not_allowed
"""
CARD = "$.phases[?(@.key=='paid')].ratecards[1]"
TEMPLATE = TOKENS["entitlementTemplate"]
USAGE = {"usage": {"quantity": "5"}}


def changed(**members: Any) -> Body:
    return {**copy.deepcopy(PLAN), **members}


def card(**members: Any) -> Body:
    """The plan with other members of its card `tokens`."""
    return with_card({**TOKENS, **members})


def phase(number: int, **members: Any) -> Body:
    plan = copy.deepcopy(PLAN)
    plan["phases"][number] |= members
    return plan


def template(**members: Any) -> Body:
    return card(entitlementTemplate={**TEMPLATE, **members})


# A body of plan.create, and the path of the code.
OF_PLANS: dict[str, tuple[Body, str]] = {
    "plan_billing_cadence_invalid": (changed(billingCadence="P2M"), "$.billingCadence"),
    "plan_phase_duplicated_key": (phase(0, key="paid"), "$.phases[?(@.key=='paid')].key"),
    "rate_card_duplicated_key": (with_card(FEE), f"{CARD}.key"),
    "rate_card_feature_not_found": (card(key="other", featureKey="other"), f"{CARD}.featureKey"),
    "rate_card_feature_mismatch": (card(key="sso", featureKey="sso", featureId="TOKENS"), f"{CARD}.featureKey"),
    "rate_card_feature_archived": (card(featureId="ARCHIVED", key="old", featureKey="old"), f"{CARD}.featureKey"),
    "rate_card_key_feature_key_mismatch": (card(key="other"), f"{CARD}.key"),
    "percentage_discount_invalid_value": (
        card(discounts={"percentage": {"percentage": 100.5}}), f"{CARD}.discounts.percentage.percentage",
    ),
    "entitlement_template_invalid_json_config": (
        card(entitlementTemplate={"type": "static", "config": "{"}), f"{CARD}.entitlementTemplate.config",
    ),
    "currency_invalid": (changed(currency="eur"), "$.currency"),
    "currency_not_found": (changed(currency="ZZZ"), "$.currency"),
    "resource_key_empty": (changed(key=""), "$.key"),
    "resource_name_empty": (changed(name=""), "$.name"),
    "plan_with_no_phases": (changed(phases=[]), "$.phases"),
    "plan_phase_has_no_rate_cards": (phase(0, rateCards=[]), "$.phases[?(@.key=='trial')].rateCards"),
    "plan_has_non_last_phase_with_no_duration": (phase(0, duration=None), "$.phases[?(@.key=='trial')].duration"),
    "plan_has_last_phase_with_duration": (phase(1, duration="P1M"), "$.phases[?(@.key=='paid')].duration"),
    "plan_phase_with_negative_duration": (phase(0, duration="-P1M"), "$.phases[?(@.key=='trial')].duration"),
    "plan_phase_duration_less_then_an_hour": (phase(0, duration="PT59M"), "$.phases[?(@.key=='trial')].duration"),
    "plan_billing_cadence_not_compatible": (card(billingCadence="P1W"), "$.billingCadence"),
    "rate_card_billing_cadence_unaligned": (card(billingCadence="P1W"), f"{CARD}.billingCadence"),
    "plan_multiple_fiat_currencies": (card(currency="USD"), f"{CARD}.currency"),
    "billing_cadence_invalid_value": (card(billingCadence="PT30M"), f"{CARD}.billingCadence"),
    "usage_based_price_with_no_feature": (
        card(featureKey=None, entitlementTemplate=None), f"{CARD}.featureKey",
    ),
    "usage_based_price_with_feature_and_no_meter": (card(key="sso", featureKey="sso"), f"{CARD}.featureKey"),
    "usage_discount_negative_quantity": (
        card(discounts={"usage": {"quantity": "-1"}}), f"{CARD}.discounts.usage.quantity",
    ),
    "usage_discount_with_flat_price": (
        with_card({**FEE, "key": "other", "discounts": USAGE}), f"{CARD}.discounts.usage",
    ),
    "entitlement_template_with_no_feature": (
        with_card({**FEE, "key": "other", "entitlementTemplate": {"type": "boolean"}}), f"{CARD}.featureKey",
    ),
    "entitlement_template_issue_after_reset_required": (
        template(issueAfterReset=None), f"{CARD}.entitlementTemplate.issueAfterReset",
    ),
    "entitlement_template_invalid_issue_after_reset_with_priority": (
        template(issueAfterReset=None, issueAfterResetPriority=2), f"{CARD}.entitlementTemplate.issueAfterReset",
    ),
    "entitlement_template_negative_usage_period": (
        template(usagePeriod="-P1D"), f"{CARD}.entitlementTemplate.usagePeriod",
    ),
    "entitlement_template_usage_period_less_then_an_hour": (
        template(usagePeriod="PT1M"), f"{CARD}.entitlementTemplate.usagePeriod",
    ),
}  # fmt: skip
# A body of addon.create, and the path of the code.
OF_ADDONS: dict[str, tuple[Body, str]] = {
    "addon_key_empty": ({**ADDON, "key": None}, "$.key"),
    "addon_invalid_instance_type": ({**ADDON, "instanceType": "some"}, "$.instanceType"),
    "addon_name_empty": ({**ADDON, "name": ""}, "$.name"),
    "addon_has_no_rate_cards": ({**ADDON, "rateCards": []}, "$.rateCards"),
    "addon_invalid_ratecard_price_for_multi_instance": ({**ADDON, "rateCards": [TOKENS]}, "$.ratecards[0].price"),
    "rate_card_multiple_billing_cadence": (
        {**ADDON, "rateCards": [{**FEE, "key": "week", "billingCadence": "P1W"}, FEE]}, "$.ratecards[1].billingCadence",
    ),
}  # fmt: skip
# What of an assignment is changed, what of the add-on, and the path of the code.
OF_ASSIGNMENTS: dict[str, tuple[Body, Body, str]] = {
    "plan_addon_max_quantity_must_be_set": ({"maxQuantity": 0}, {}, "$.maxQuantity"),
    "plan_addon_max_quantity_must_not_be_set": ({}, {"instanceType": "single"}, "$.maxQuantity"),
    "plan_addon_currency_mismatch": ({}, {"currency": "USD"}, "$.currency"),
    "plan_addon_unknown_plan_phase_key": ({"fromPlanPhase": "later"}, {}, "$.fromPlanPhase"),
    "rate_card_price_type_mismatch": (
        {}, {"instanceType": "single", "rateCards": [{**FEE, "key": "tokens", "featureKey": "tokens"}]},
        f"{CARD}.price",
    ),
    "rate_card_only_flat_price_allowed": ({}, {"instanceType": "single", "rateCards": [TOKENS]}, f"{CARD}.price"),
    "rate_card_price_payment_term_mismatch": (
        {}, {"rateCards": [{**FEE, "price": {"type": "flat", "amount": "1", "paymentTerm": "in_arrears"}}]},
        "$.phases[?(@.key=='paid')].ratecards[0].price",
    ),
    "rate_card_billing_cadence_mismatch": (
        {}, {"rateCards": [{**FEE, "billingCadence": "P1Y"}]}, "$.phases[?(@.key=='paid')].ratecards[0].billingCadence",
    ),
    "rate_card_entitlement_template_type_mismatch": (
        {}, {"rateCards": [{**ADDON["rateCards"][0], "entitlementTemplate": {"type": "boolean"}}]},
        f"{CARD}.entitlementTemplate.type",
    ),
    "rate_card_metered_entitlement_template_usage_period_mismatch": (
        {}, {"rateCards": [{**ADDON["rateCards"][0], "entitlementTemplate": {**TEMPLATE, "usagePeriod": "P1W"}}]},
        f"{CARD}.entitlementTemplate.usagePeriod",
    ),
}  # fmt: skip


def placed(body: Any, ids: dict[str, str]) -> Any:
    """The body with the ids of features in place of their names."""
    if isinstance(body, dict):
        return {name: placed(value, ids) for name, value in body.items()}
    if isinstance(body, list):
        return [placed(one, ids) for one in body]
    return ids.get(body, body) if isinstance(body, str) else body


def prepared() -> tuple[Log, dict[str, str]]:
    """A log with an archived feature, and the ids of its features."""
    have = log()
    old = have.do("feature.create", {"key": "old", "name": "Old", "meterSlug": "tokens"})["id"]
    have.do("feature.archive", {"id": old})
    return have, {"ARCHIVED": old, "TOKENS": have.catalog.one("default", "feature/key", "tokens") or ""}


def codes(listed: Any) -> list[tuple[str, str]]:
    return [(one["code"], one["field"]) for one in listed["validationErrors"]]


def of(issues: Any) -> list[tuple[str, str]]:
    return [(one.code, one.field) for one in issues]


def refusal(have: Log, command: str, body: Body) -> list[tuple[str, str]]:
    """The codes of a refused command."""
    assert have.refused(command, body)[0].startswith("bad-")
    return codes(have.replies[-1].body)


def create_and_publish(kind: str, body: Body, code: str, path: str) -> None:
    """A critical code refuses to create; a warning is stored and shown, and refuses to publish."""
    have, ids = prepared()
    body = placed(body, ids)
    if code in CRITICAL:
        assert (code, path) in refusal(have, f"{kind}.create", body)
        assert not have.catalog.names("default", kind)
        return
    made = have.do(f"{kind}.create", body)
    assert (code, path) in codes(made)
    assert refusal(have, f"{kind}.publish", {"id": made["id"]}) == codes(made)
    assert "effectiveFrom" not in have.body(kind, made["id"])


@pytest.mark.parametrize("code", OF_PLANS)
def test_a_code_of_a_plan(code: str) -> None:
    create_and_publish("plan", OF_PLANS[code][0], code, OF_PLANS[code][1])


@pytest.mark.parametrize("code", OF_ADDONS)
def test_a_code_of_an_addon(code: str) -> None:
    create_and_publish("addon", OF_ADDONS[code][0], code, OF_ADDONS[code][1])


@pytest.mark.parametrize("code", OF_ASSIGNMENTS)
def test_a_code_of_an_assignment(code: str) -> None:
    have = log()
    assigned, of_addon, path = OF_ASSIGNMENTS[code]
    plan = have.do("plan.create", PLAN)
    addon = have.do("addon.create", {**ADDON, **of_addon})
    have.do("addon.publish", {"id": addon["id"]})
    made = have.do("plan-addon.create", {"planId": "pro", "addonId": "more", **ASSIGNED, **assigned})
    assert (code, path) in codes(made)
    published = refusal(have, "plan.publish", {"id": plan["id"]})
    at = "$.addons[?(@.key=='more')]"
    assert {("plan_has_incompatible_addon", at), (code, at + path.removeprefix("$"))} <= set(published)


def draft(have: Log) -> tuple[Plan, Addon, PlanAddon, CatalogNow]:
    """A plan with an add-on, both drafts."""
    plan, addon = have.do("plan.create", PLAN), have.do("addon.create", ADDON)
    assigned = have.do("plan-addon.create", {"planId": "pro", "addonId": addon["id"], **ASSIGNED})
    catalog = CatalogNow(have.catalog, "default", AT_MS)
    stored = have.catalog.find(PlanAddon, "default", assigned["id"])
    assert stored is not None
    return (
        Plan.read(have.body("plan", plan["id"])),
        Addon.read(have.body("addon", addon["id"])),
        stored,
        catalog,
    )


def _status_of_plan() -> list[tuple[str, str]]:
    have = log()
    have.do("plan.create", PLAN)
    have.do("plan.publish", {"id": "pro"})
    return refusal(have, "plan.publish", {"id": "pro"})


def _status_of_addon(command: str) -> list[tuple[str, str]]:
    have = log()
    have.do("addon.create", ADDON)
    if command == "addon.publish":
        have.do("addon.publish", {"id": "more"})
    id = have.catalog.names("default", "addon")[0]
    return refusal(have, command, {"id": id})


def _status_of_assignment() -> list[tuple[str, str]]:
    plan, addon, assigned, catalog = draft(log())
    return of(assignment_issues(plan, addon, assigned, catalog, "active"))


def _publish_with_a_draft_addon() -> list[tuple[str, str]]:
    have = log()
    draft(have)
    return refusal(have, "plan.publish", {"id": "pro"})


def _period(**instants: str) -> list[tuple[str, str]]:
    plan, _, _, catalog = draft(log())
    return of(plan_issues(plan.changed(**instants), catalog))


def _cards(**members: Any) -> list[tuple[str, str]]:
    """The card `tokens` of the plan, and that of the add-on with other members."""
    plan, addon, _, _ = draft(log())
    base = replace(plan.phases[1].rate_cards[1], **members.pop("base", {}))
    return of(match_issues(base, replace(addon.rate_cards[0], **members)))


def _static() -> list[tuple[str, str]]:
    body = {**TOKENS, "entitlementTemplate": {"type": "static", "config": "{}"}}
    one: RateCard = Plan.read(log().do("plan.create", with_card(body))).phases[1].rate_cards[1]
    return of(match_issues(replace(one, price=None), one))


def _discounted() -> list[tuple[str, str]]:
    body = {**TOKENS, "discounts": {"percentage": {"percentage": 5}}}
    one = Plan.read(log().do("plan.create", with_card(body))).phases[1].rate_cards[1]
    assert one.discounts is not None and one.discounts.percentage is not None
    assert one.discounts.percentage.percentage == Decimal(5)
    return of(match_issues(one, replace(one, price=None)))


# What has the codes that need more than one body, and the path of the code.
OTHERS: dict[str, tuple[Callable[[], list[tuple[str, str]]], str]] = {
    "plan_invalid_status": (_status_of_plan, "$.status"),
    "addon_invalid_status": (lambda: _status_of_addon("addon.archive"), "$.status"),
    "addon_invalid_status_for_publish": (lambda: _status_of_addon("addon.publish"), "$.status"),
    "plan_addon_incompatible_status": (_status_of_assignment, "$.status"),
    "plan_has_incompatible_addon": (_publish_with_a_draft_addon, "$.addons[?(@.key=='more')]"),
    "resource_id_empty": (lambda: refusal(log(), "plan.publish", {"id": ""}), "$.id"),
    "resource_namespace_empty": (lambda: of(reference_issues("", "pro")), "$.namespace"),
    "effective_period_from_not_set": (
        lambda: _period(effective_to="2026-01-01T00:00:00Z"),
        "$.effectiveFrom",
    ),
    "effective_period_from_after_to": (
        lambda: _period(effective_from="2026-01-02T00:00:00Z", effective_to="2026-01-01T00:00:00Z"),
        "$.effectiveFrom",
    ),
    "rate_card_key_mismatch": (lambda: _cards(key="other"), "$.key"),
    "rate_card_feature_key_mismatch": (lambda: _cards(feature_key="other"), "$.featureKey"),
    "rate_card_feature_id_mismatch": (lambda: _cards(feature_id="other"), "$.featureId"),
    "rate_card_static_entitlement_template_not_allowed": (_static, "$.entitlementTemplate.type"),
    "rate_card_percentage_discount_not_allowed": (_discounted, "$.discounts.percentage"),
}


@pytest.mark.parametrize("code", OTHERS)
def test_a_code_that_needs_more_than_a_body(code: str) -> None:
    found, path = OTHERS[code]
    assert (code, path) in found()


def test_every_code_of_the_list_has_a_case_and_its_severity() -> None:
    critical, warning = set(CRITICAL_CODES.split()), set(WARNING_CODES.split())
    assert (len(critical), len(warning)) == (20, 42)
    assert set(CRITICAL) == critical and set(WARNING) == warning
    assert {*OF_PLANS, *OF_ADDONS, *OF_ASSIGNMENTS, *OTHERS} == critical | warning


def test_what_can_be_published_has_no_issue() -> None:
    plan, addon, assigned, catalog = draft(log())
    assert plan_issues(plan, catalog) == addon_issues(addon, catalog) == []
    assert list(assignment_issues(plan, addon, assigned, catalog, "draft")) == []
    assert _cards() == _cards(base={"price": UnitPrice(amount="1")}) == []


def test_a_refusal_lists_all_issues_and_names_the_first() -> None:
    issues = [CatalogIssue(f"$.a{number}", "currency_invalid", "wrong") for number in range(9)]
    with pytest.raises(Rejected) as refused:
        refuse_all("plan", issues)
    assert refused.value.detail == "$.a0: wrong; $.a1: wrong; $.a2: wrong (and 6 more)"
    listed = [{**one.members, "in": "body", "detail": "wrong"} for one in issues]
    assert refused.value.facts == {"validationErrors": listed}
