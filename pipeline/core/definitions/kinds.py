"""The kinds of definitions on `control`, and the handles by which the index finds them.

Owns: these names, which are stored, and which members of a body are handles. Does not own: the other members of a body
(each kind's Struct, in its subject's module), or the look-up (index).
"""

from __future__ import annotations

from collections.abc import Mapping

METER, CUSTOMER, SUBJECT, FEATURE, KEY, PORTAL_TOKEN = (
    "meter", "customer", "subject", "feature", "key", "portal-token",
)  # fmt: skip
ENTITLEMENT, GRANT, RULE, ENDPOINT = "entitlement", "grant", "rule", "endpoint"
ATTRIBUTION = "attribution"  # its definition's name is the subject's key

CUSTOMER_KEY, CUSTOMER_SUBJECT = "customer/key", "customer/subject"
SUBJECT_KEY, FEATURE_KEY, METER_ULID = "subject/key", "feature/key", "meter/id"
FEATURE_METER, TOKEN_SUBJECT = "feature/meter", "portal-token/subject"
ENTITLEMENT_CUSTOMER, GRANT_ENTITLEMENT = "entitlement/customer", "grant/entitlement"
RULE_ENDPOINT = "rule/endpoint"
ATTRIBUTION_CUSTOMER = "attribution/customer"

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
}
# Several definitions may have the value.
SHARED: Mapping[str, tuple[tuple[str, MemberPath], ...]] = {
    FEATURE: ((FEATURE_METER, ("meterSlug",)),),
    PORTAL_TOKEN: ((TOKEN_SUBJECT, ("subject",)),),
    ENTITLEMENT: ((ENTITLEMENT_CUSTOMER, ("customerId",)),),
    GRANT: ((GRANT_ENTITLEMENT, ("entitlementId",)),),
    RULE: ((RULE_ENDPOINT, ("channels",)),),
    ATTRIBUTION: ((ATTRIBUTION_CUSTOMER, ("holders",)),),
}
# A body with this member has ended, and its handles are free again.
ENDED: Mapping[str, str] = {CUSTOMER: "deletedAt", FEATURE: "archivedAt", RULE: "deletedAt"}


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
