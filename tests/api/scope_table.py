"""Which scope each endpoint needs.

Owns: the table, which every test over all endpoints goes by. Does not own: any test.
"""

from __future__ import annotations

NOBODY, PORTAL = "nobody", "portal"
CUSTOMERS, SUBJECTS, FEATURES = "/api/v1/customers", "/api/v1/subjects", "/api/v1/features"
OF_CUSTOMER = "/customers/{customerIdOrKey}/entitlements"
OF_SUBJECT = "/api/v1/subjects/{subjectIdOrKey}/entitlements"
ENTITLEMENTS, GRANTS = "/api/v1/entitlements", "/api/v1/grants"
CHANNELS, RULES = "/api/v1/notification/channels", "/api/v1/notification/rules"
TOLD, DELIVERIES, ENDPOINTS = "/api/v1/notification/events", "/api/v1/deliveries", "/api/v1/endpoints"
ONE = "/{entitlementIdOrFeatureKey}"
METERS, KEYS, TOKENS = "/api/v1/meters", "/api/v1/keys", "/api/v1/portal/tokens"

# Which scope each endpoint needs. A new endpoint fails the test until it stands here.
NEEDED: dict[tuple[str, str], str] = {
    ("GET", "/api/v1/healthz"): NOBODY,
    ("GET", "/api/v1/ready"): NOBODY,
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
    ("GET", "/api/v1/status"): "admin",
}
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
    ("GET", TOLD): "query",
    ("GET", TOLD + "/{eventId}"): "query",
    ("POST", TOLD + "/{eventId}/resend"): "webhooks:write",
    ("GET", DELIVERIES): "query",
    ("GET", DELIVERIES + "/{deliveryId}"): "query",
    ("POST", DELIVERIES + "/{deliveryId}/resend"): "webhooks:write",
}
