"""Which scope each endpoint needs.

Owns: the table, which every test over all endpoints uses. Does not own: any test.
"""

from __future__ import annotations

NO_KEY, PORTAL = "no key", "portal"
CUSTOMERS, SUBJECTS, FEATURES = "/api/v1/customers", "/api/v1/subjects", "/api/v1/features"
OF_CUSTOMER = "/customers/{customerIdOrKey}/entitlements"
OF_SUBJECT = "/api/v1/subjects/{subjectIdOrKey}/entitlements"
ENTITLEMENTS, GRANTS = "/api/v1/entitlements", "/api/v1/grants"
CHANNELS, RULES = "/api/v1/notification/channels", "/api/v1/notification/rules"
LISTINGS, APPS, MAPPINGS = "/api/v1/marketplace/listings", "/api/v1/apps", "/api/v1/billing/stripe/meters"
PROFILES, OVERRIDES = "/api/v1/billing/profiles", "/api/v1/billing/customers"
OF_CUSTOMER_APPS = "/api/v1/customers/{customerIdOrKey}/apps"
FIRED, DELIVERIES, ENDPOINTS = "/api/v1/notification/events", "/api/v1/deliveries", "/api/v1/endpoints"
ONE = "/{entitlementIdOrFeatureKey}"
METERS, KEYS, TOKENS = "/api/v1/meters", "/api/v1/keys", "/api/v1/portal/tokens"
SUBSCRIPTIONS = "/api/v1/subscriptions"
SUBSCRIPTION_ADDONS = SUBSCRIPTIONS + "/{subscriptionId}/addons"
PLANS, ADDONS, PLAN_ADDONS = "/api/v1/plans", "/api/v1/addons", "/api/v1/plans/{planId}/addons"

# Which scope each endpoint needs. A new endpoint fails the test until it stands here.
NEEDED: dict[tuple[str, str], str] = {
    ("GET", "/api/v1/healthz"): NO_KEY,
    ("GET", "/api/v1/ready"): NO_KEY,
    ("POST", "/api/v1/events"): "ingest",
    ("GET", "/api/v1/events"): "query",
    ("GET", "/api/v1/events/{source}/{id}"): "query",
    ("GET", "/api/v2/events"): "query",
    ("GET", METERS): "query",
    ("POST", METERS): "meters:write",
    ("POST", METERS + "/apply"): "meters:write",
    ("GET", METERS + "/{meterIdOrSlug}"): "query",
    ("PUT", METERS + "/{meterIdOrSlug}"): "meters:write",
    ("DELETE", METERS + "/{meterIdOrSlug}"): "meters:write",
    ("GET", METERS + "/{idOrSlug}/query"): "query",
    ("POST", METERS + "/{idOrSlug}/query"): "query",
    ("GET", METERS + "/{idOrSlug}/subjects"): "query",
    ("GET", METERS + "/{idOrSlug}/group-by/{key}/values"): "query",
    ("GET", METERS + "/{slug}/backfill"): "query",
    ("POST", "/api/v1/imports"): "customers:write",
    ("GET", CUSTOMERS): "query",
    ("POST", CUSTOMERS): "customers:write",
    ("GET", CUSTOMERS + "/{customerIdOrKey}"): "query",
    ("PUT", CUSTOMERS + "/{customerIdOrKey}"): "customers:write",
    ("DELETE", CUSTOMERS + "/{customerIdOrKey}"): "customers:write",
    ("GET", CUSTOMERS + "/{customerIdOrKey}/access"): "query",
    ("GET", CUSTOMERS + "/{customerIdOrKey}/entitlements/{featureKey}/value"): "query",
    ("POST", "/api/v1/entitlements/check"): "query",
    ("GET", SUBJECTS): "query",
    ("POST", SUBJECTS): "customers:write",
    ("GET", SUBJECTS + "/{subjectIdOrKey}"): "query",
    ("DELETE", SUBJECTS + "/{subjectIdOrKey}"): "customers:write",
    ("GET", FEATURES): "query",
    ("POST", FEATURES): "entitlements:write",
    ("GET", FEATURES + "/{featureId}"): "query",
    ("DELETE", FEATURES + "/{featureId}"): "entitlements:write",
    ("GET", KEYS): "keys:write",
    ("POST", KEYS): "keys:write",
    ("GET", KEYS + "/{keyId}"): "keys:write",
    ("DELETE", KEYS + "/{keyId}"): "keys:write",
    ("POST", KEYS + "/{keyId}/rotate"): "keys:write",
    ("GET", TOKENS): "query",
    ("POST", TOKENS): "query",
    ("POST", TOKENS + "/invalidate"): "query",
    ("GET", "/api/v1/portal/meters/{meterSlug}/query"): PORTAL,
    ("GET", "/api/v1/audit"): "audit:read",
    ("GET", "/api/v1/reconcile"): "admin",
    ("GET", "/api/v1/reconcile/money"): "admin",
    ("GET", "/api/v1/status"): "admin",
}
NEEDED |= {
    ("GET", PLANS): "query",
    ("POST", PLANS): "billing:write",
    ("GET", PLANS + "/{planId}"): "query",
    ("PUT", PLANS + "/{planId}"): "billing:write",
    ("DELETE", PLANS + "/{planId}"): "billing:write",
    ("POST", PLANS + "/{planId}/publish"): "billing:write",
    ("POST", PLANS + "/{planId}/archive"): "billing:write",
    ("POST", PLANS + "/{planIdOrKey}/next"): "billing:write",
    ("GET", PLAN_ADDONS): "query",
    ("POST", PLAN_ADDONS): "billing:write",
    ("GET", PLAN_ADDONS + "/{planAddonId}"): "query",
    ("PUT", PLAN_ADDONS + "/{planAddonId}"): "billing:write",
    ("DELETE", PLAN_ADDONS + "/{planAddonId}"): "billing:write",
    ("GET", ADDONS): "query",
    ("POST", ADDONS): "billing:write",
    ("GET", ADDONS + "/{addonId}"): "query",
    ("PUT", ADDONS + "/{addonId}"): "billing:write",
    ("DELETE", ADDONS + "/{addonId}"): "billing:write",
    ("POST", ADDONS + "/{addonId}/publish"): "billing:write",
    ("POST", ADDONS + "/{addonId}/archive"): "billing:write",
    ("GET", "/api/v1/info/currencies"): "query",
    ("GET", "/api/v1/info/progress/{meterIdOrSlug}"): "query",
    ("GET", "/api/v1/debug/metrics"): "query",
}
for method, path in (
    ("POST", ""), ("PATCH", "/{subscriptionId}"), ("DELETE", "/{subscriptionId}"), ("POST", "/{subscriptionId}/cancel"),
    ("POST", "/{subscriptionId}/change"), ("POST", "/{subscriptionId}/migrate"), ("POST", "/{subscriptionId}/restore"),
    ("POST", "/{subscriptionId}/unschedule-cancelation"), ("POST", "/{subscriptionId}/addons"),
    ("PATCH", "/{subscriptionId}/addons/{subscriptionAddonId}"),
):  # fmt: skip
    NEEDED[method, SUBSCRIPTIONS + path] = "billing:write"
for path in (
    "/{subscriptionId}",
    "/{subscriptionId}/addons",
    "/{subscriptionId}/addons/{subscriptionAddonId}",
):
    NEEDED["GET", SUBSCRIPTIONS + path] = "query"
NEEDED["GET", CUSTOMERS + "/{customerIdOrKey}/subscriptions"] = "query"
for base in ("/api/v1" + OF_CUSTOMER, "/api/v2" + OF_CUSTOMER, OF_SUBJECT):
    NEEDED |= {
        ("GET", base): "query",
        ("POST", base): "entitlements:write",
        ("GET", base + ONE): "query",
        ("DELETE", base + ONE): "entitlements:write",
        ("PUT", base + ONE + "/override"): "entitlements:write",
        ("POST", base + ONE + "/reset"): "entitlements:write",
        ("GET", base + ONE + "/grants"): "query",
        ("POST", base + ONE + "/grants"): "entitlements:write",
        ("GET", base + ONE + "/history"): "query",
    }
NEEDED |= {
    ("GET", "/api/v2" + OF_CUSTOMER + ONE + "/value"): "query",
    ("GET", OF_SUBJECT + ONE + "/value"): "query",
    ("GET", ENTITLEMENTS): "query",
    ("GET", ENTITLEMENTS + "/{entitlementId}"): "query",
    ("GET", "/api/v2/entitlements"): "query",
    ("GET", "/api/v2/entitlements/{entitlementId}"): "query",
    ("GET", GRANTS): "query",
    ("GET", "/api/v2/grants"): "query",
    ("DELETE", GRANTS + "/{grantId}"): "entitlements:write",
    ("GET", LISTINGS): "query",
    ("GET", LISTINGS + "/{listingType}"): "query",
    ("POST", LISTINGS + "/stripe/install/apikey"): "billing:write",
    ("GET", LISTINGS + "/{listingType}/install/oauth2"): "billing:write",
    ("GET", LISTINGS + "/{listingType}/install/oauth2/authorize"): "billing:write",
    ("POST", LISTINGS + "/{listingType}/install"): "billing:write",
    ("GET", PROFILES): "query",
    ("POST", PROFILES): "billing:write",
    ("GET", PROFILES + "/{profileId}"): "query",
    ("PUT", PROFILES + "/{profileId}"): "billing:write",
    ("DELETE", PROFILES + "/{profileId}"): "billing:write",
    ("GET", OVERRIDES): "query",
    ("GET", OVERRIDES + "/{customerIdOrKey}"): "query",
    ("PUT", OVERRIDES + "/{customerIdOrKey}"): "billing:write",
    ("DELETE", OVERRIDES + "/{customerIdOrKey}"): "billing:write",
    ("GET", APPS): "query",
    ("GET", APPS + "/{appId}"): "query",
    ("PUT", APPS + "/{appId}"): "billing:write",
    ("DELETE", APPS + "/{appId}"): "billing:write",
    ("PUT", APPS + "/{appId}/stripe/api-key"): "billing:write",
    ("POST", APPS + "/{appId}/stripe/webhook"): NO_KEY,  # Stripe's signature opens it
    ("GET", "/api/v1/billing/stripe/drift"): "query",
    ("GET", "/api/v1/billing/stripe/drift/invoices"): "query",
    ("GET", "/api/v1/billing/stripe/status"): "query",
    ("POST", "/api/v1/billing/stripe/retry"): "billing:write",
    ("GET", OF_CUSTOMER_APPS): "query",
    ("PUT", OF_CUSTOMER_APPS): "customers:write",
    ("DELETE", OF_CUSTOMER_APPS + "/{appId}"): "customers:write",
    ("GET", "/api/v1/customers/{customerIdOrKey}/stripe"): "query",
    ("PUT", "/api/v1/customers/{customerIdOrKey}/stripe"): "customers:write",
    ("POST", "/api/v1/customers/{customerIdOrKey}/stripe/portal"): "customers:write",
    ("POST", "/api/v1/stripe/checkout/sessions"): "customers:write",
    ("GET", MAPPINGS): "query",
    ("POST", MAPPINGS): "billing:write",
    ("GET", MAPPINGS + "/{mappingId}"): "query",
    ("PUT", MAPPINGS + "/{mappingId}"): "billing:write",
    ("DELETE", MAPPINGS + "/{mappingId}"): "billing:write",
    ("GET", CHANNELS): "webhooks:write",
    ("POST", CHANNELS): "webhooks:write",
    ("GET", CHANNELS + "/{channelId}"): "webhooks:write",
    ("PUT", CHANNELS + "/{channelId}"): "webhooks:write",
    ("DELETE", CHANNELS + "/{channelId}"): "webhooks:write",
    ("POST", ENDPOINTS + "/{channelId}/rotate"): "webhooks:write",
    ("POST", ENDPOINTS + "/{channelId}/replay"): "webhooks:write",
    ("GET", RULES): "query",
    ("POST", RULES): "webhooks:write",
    ("GET", RULES + "/{ruleId}"): "query",
    ("PUT", RULES + "/{ruleId}"): "webhooks:write",
    ("DELETE", RULES + "/{ruleId}"): "webhooks:write",
    ("POST", RULES + "/{ruleId}/test"): "webhooks:write",
    ("GET", FIRED): "query",
    ("GET", FIRED + "/{eventId}"): "query",
    ("POST", FIRED + "/{eventId}/resend"): "webhooks:write",
    ("GET", DELIVERIES): "query",
    ("GET", DELIVERIES + "/{deliveryId}"): "query",
    ("POST", DELIVERIES + "/{deliveryId}/resend"): "webhooks:write",
}
INVOICES, OF_CUSTOMER_INVOICES = (
    "/api/v1/billing/invoices",
    "/api/v1/billing/customers/{customerIdOrKey}/invoices",
)
CREDIT_NOTES = "/api/v3/openmeter/credit-notes"
CREDITS, LEDGER = "/api/v3/openmeter/customers/{customerIdOrKey}/credits", "/api/v1/ledger/trial-balance"
NEEDED |= {
    ("GET", CREDITS + "/grants"): "query",
    ("POST", CREDITS + "/grants"): "billing:write",
    ("GET", CREDITS + "/grants/{grantId}"): "query",
    ("POST", CREDITS + "/grants/{grantId}/void"): "billing:write",
    ("POST", CREDITS + "/grants/{grantId}/settlement/external"): "billing:write",
    ("POST", CREDITS + "/adjustments"): "billing:write",
    ("GET", CREDITS + "/balance"): "query",
    ("GET", CREDITS + "/transactions"): "query",
    ("PUT", CREDITS + "/top-ups/{currency}"): "billing:write",
    ("DELETE", CREDITS + "/top-ups/{currency}"): "billing:write",
    ("GET", LEDGER): "query",
    ("GET", CREDIT_NOTES): "query",
    ("GET", CREDIT_NOTES + "/{creditNoteId}"): "query",
    ("GET", CREDIT_NOTES + "/{creditNoteId}.html"): "query",
}
PORTAL_CREDITS = "/api/v1/portal/credits.html"
UPCOMING = "/api/v1/customers/{customerIdOrKey}/billing/upcoming"
CUSTOM_INVOICING, PORTAL_INVOICES = "/api/v1/apps/custom-invoicing/{invoiceId}", "/api/v1/portal/invoices"
NEEDED |= {
    ("GET", INVOICES): "query",
    ("POST", INVOICES + "/invoice"): "billing:write",
    ("GET", INVOICES + "/{invoiceId}"): "query",
    ("PUT", INVOICES + "/{invoiceId}"): "billing:write",
    ("DELETE", INVOICES + "/{invoiceId}"): "billing:write",
    ("GET", INVOICES + "/{invoiceId}.html"): "query",
    ("GET", INVOICES + "/{invoiceId}.pdf"): "query",
    ("GET", INVOICES + "/{invoiceId}/lines"): "query",
    ("GET", INVOICES + "/{invoiceId}/proof"): "query",
    ("POST", "/api/v1/billing/replay"): "query",
    ("GET", "/api/v1/billing/lines/{lineId}/explain"): "query",
    ("POST", INVOICES + "/{invoiceId}/advance"): "billing:write",
    ("POST", INVOICES + "/{invoiceId}/approve"): "billing:write",
    ("POST", INVOICES + "/{invoiceId}/retry"): "billing:write",
    ("POST", INVOICES + "/{invoiceId}/snapshot-quantities"): "billing:write",
    ("POST", INVOICES + "/{invoiceId}/taxes/recalculate"): "billing:write",
    ("POST", INVOICES + "/{invoiceId}/void"): "billing:write",
    ("POST", OF_CUSTOMER_INVOICES + "/pending-lines"): "billing:write",
    ("POST", OF_CUSTOMER_INVOICES + "/simulate"): "query",
    ("POST", CUSTOM_INVOICING + "/draft/synchronized"): "billing:write",
    ("POST", CUSTOM_INVOICING + "/issuing/synchronized"): "billing:write",
    ("POST", CUSTOM_INVOICING + "/payment/status"): "billing:write",
    ("GET", UPCOMING): "query",
    ("GET", PORTAL_INVOICES): PORTAL,
    ("GET", PORTAL_CREDITS): PORTAL,
    ("GET", PORTAL_INVOICES + "/{invoiceId}.html"): PORTAL,
    ("GET", PORTAL_INVOICES + "/{invoiceId}.pdf"): PORTAL,
    ("GET", PORTAL_INVOICES + "/upcoming"): PORTAL,
}
