"""The kinds of definitions on `control`, and the handles by which they are found.

Owns: these names, which are stored. Does not own: what a definition of a kind holds, or the index by handles (index).
"""

from __future__ import annotations

METER, CUSTOMER, SUBJECT, FEATURE, KEY, PORTAL_TOKEN = (
    "meter", "customer", "subject", "feature", "key", "portal-token",
)  # fmt: skip
CUSTOMER_KEY, CUSTOMER_SUBJECT = "customer/key", "customer/subject"
ENTITLEMENT, GRANT, RULE, ENDPOINT = "entitlement", "grant", "rule", "endpoint"
ENTITLEMENT_CUSTOMER, GRANT_ENTITLEMENT = "entitlement/customer", "grant/entitlement"
RULE_ENDPOINT = "rule/endpoint"
SUBJECT_KEY, FEATURE_KEY, METER_ULID = "subject/key", "feature/key", "meter/id"
FEATURE_METER, TOKEN_SUBJECT = "feature/meter", "portal-token/subject"
ATTRIBUTION = "attribution"  # its definition's name is the subject's key
ATTRIBUTION_CUSTOMER = "attribution/customer"
