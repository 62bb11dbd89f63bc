"""The kinds of definitions on `control`, and the handles by which the index finds them.

Owns: these names, which are stored, and which members of a body are handles. Does not own: the other members of a body
(each kind's Struct, in its subject's module), or the look-up (index).
"""

from __future__ import annotations

from collections.abc import Mapping

METER, CUSTOMER, SUBJECT, FEATURE, KEY, PORTAL_TOKEN = (
    "meter", "customer", "subject", "feature", "key", "portal-token",
)  # fmt: skip
PLAN, ADDON, PLAN_ADDON = "plan", "addon", "plan-addon"
ENTITLEMENT, GRANT, RULE, ENDPOINT = "entitlement", "grant", "rule", "endpoint"
APP, CUSTOMER_APP, STRIPE_METER = "app", "customer-app", "stripe-meter"
BILLING_PROFILE = "billing-profile"
BILLING_OVERRIDE = "billing-override"  # its definition's name is the customer's id
ATTRIBUTION = "attribution"  # its definition's name is the subject's key

CUSTOMER_KEY, CUSTOMER_SUBJECT = "customer/key", "customer/subject"
SUBJECT_KEY, FEATURE_KEY, METER_ULID = "subject/key", "feature/key", "meter/id"
FEATURE_METER, TOKEN_SUBJECT = "feature/meter", "portal-token/subject"
PLAN_KEY, ADDON_KEY = "plan/key", "addon/key"
PLAN_ADDON_PLAN, PLAN_ADDON_ADDON = "plan-addon/plan", "plan-addon/addon"
ENTITLEMENT_CUSTOMER, GRANT_ENTITLEMENT = "entitlement/customer", "grant/entitlement"
RULE_ENDPOINT, RULE_METER = "rule/endpoint", "rule/meter"
ATTRIBUTION_CUSTOMER = "attribution/customer"
APP_ACCOUNT = "app/stripe-account"
CUSTOMER_APP_CUSTOMER, CUSTOMER_APP_STRIPE = "customer-app/customer", "customer-app/stripe-customer"
# Mappings that have ended share them too: their usage is at Stripe.
STRIPE_METER_APP, STRIPE_METER_METER = "stripe-meter/app", "stripe-meter/meter"
STRIPE_METER_EVENT = "stripe-meter/event"
OVERRIDE_PROFILE = "billing-override/profile"

Handle = tuple[str, str]  # its name, and the value that one definition or several have
MemberPath = tuple[str, ...]  # from the body inwards; each text at its end is a value, in lists too

# At most one definition of a namespace has the value.
UNIQUE: Mapping[str, tuple[tuple[str, MemberPath], ...]] = {
    METER: ((METER_ULID, ("id",)),),
    CUSTOMER: (
        (CUSTOMER_KEY, ("key",)),
        (CUSTOMER_SUBJECT, ("usageAttribution", "subjectKeys")),
        (CUSTOMER_SUBJECT, ("key",)),
    ),
    SUBJECT: ((SUBJECT_KEY, ("key",)),),
    FEATURE: ((FEATURE_KEY, ("key",)),),
    APP: ((APP_ACCOUNT, ("stripeAccountId",)),),
}
# Several definitions may have the value.
SHARED: Mapping[str, tuple[tuple[str, MemberPath], ...]] = {
    FEATURE: ((FEATURE_METER, ("meterSlug",)),),
    PLAN: ((PLAN_KEY, ("key",)),),  # deleted versions too: their numbers are not used again
    ADDON: ((ADDON_KEY, ("key",)),),
    PLAN_ADDON: ((PLAN_ADDON_PLAN, ("planId",)), (PLAN_ADDON_ADDON, ("addonId",))),
    PORTAL_TOKEN: ((TOKEN_SUBJECT, ("subject",)),),
    ENTITLEMENT: ((ENTITLEMENT_CUSTOMER, ("customerId",)),),
    GRANT: ((GRANT_ENTITLEMENT, ("entitlementId",)),),
    RULE: ((RULE_ENDPOINT, ("channels",)), (RULE_METER, ("meterSlug",))),
    ATTRIBUTION: ((ATTRIBUTION_CUSTOMER, ("holders",)),),
    CUSTOMER_APP: (
        (CUSTOMER_APP_CUSTOMER, ("customerId",)),
        (CUSTOMER_APP_STRIPE, ("stripeCustomerId",)),
    ),
    STRIPE_METER: (
        (STRIPE_METER_APP, ("appId",)),
        (STRIPE_METER_METER, ("meterSlug",)),
        (STRIPE_METER_EVENT, ("eventName",)),
    ),
    BILLING_OVERRIDE: ((OVERRIDE_PROFILE, ("billingProfileId",)),),
}
# A body with this member has ended, and its handles are free again.
ENDED: Mapping[str, str] = {
    CUSTOMER: "deletedAt",
    FEATURE: "archivedAt",
    RULE: "deletedAt",
    PLAN_ADDON: "deletedAt",
    APP: "deletedAt",
    BILLING_OVERRIDE: "deletedAt",
}


def handles(
    declared: Mapping[str, tuple[tuple[str, MemberPath], ...]], kind: str, body: Mapping[str, object]
) -> dict[Handle, None]:
    """The handles of a body, each once.

    Args:
        declared: UNIQUE or SHARED.
        kind: of the definition.
        body: its JSON members.

    >>> list(handles(UNIQUE, CUSTOMER, {"key": "acme", "usageAttribution": {"subjectKeys": ["web", "acme"]}}))
    [('customer/key', 'acme'), ('customer/subject', 'web'), ('customer/subject', 'acme')]
    >>> list(handles(SHARED, ATTRIBUTION, {"subject": "web", "holders": [[0, "01A"], [60, ""], [120, "01A"]]}))
    [('attribution/customer', '01A')]
    """
    paths = declared.get(kind)
    if paths is None or ENDED.get(kind) in body:
        return {}
    values: dict[Handle, None] = {}
    for by, path in paths:
        value: object = body
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if type(value) is str:
            values[by, value] = None
        elif type(value) is list:
            _add_texts(values, by, value)
    return values


def _add_texts(values: dict[Handle, None], by: str, listed: list[object]) -> None:
    for value in listed:
        if type(value) is str:
            if value:
                values[by, value] = None
        elif type(value) is list:
            _add_texts(values, by, value)
