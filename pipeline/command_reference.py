"""The commands and the definitions that they write, as a reference: `schemas/commands.md`.

Owns: what the body of each command holds and what its reply holds, and the page. Does not own: deciding commands
(core.control), which members a definition has (each kind's Struct). Tests compare the members named here with those
that the deciders take.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from pipeline.core.access.api_key import ApiKey
from pipeline.core.access.portal_token import PortalToken
from pipeline.core.billing.app import App
from pipeline.core.billing.customer_app import CustomerApp
from pipeline.core.billing.stripe_meter import StripeMeter
from pipeline.core.catalog.addon import Addon
from pipeline.core.catalog.feature import Feature
from pipeline.core.catalog.plan import Plan
from pipeline.core.catalog.plan_addon import PlanAddon
from pipeline.core.control import DECIDERS
from pipeline.core.customers.attribution import Attribution
from pipeline.core.customers.customer import Customer
from pipeline.core.customers.subject import Subject
from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.invoices.profile import BillingProfile, CustomerOverride
from pipeline.core.metering.meter import Meter
from pipeline.core.notifications import rule
from pipeline.core.notifications.endpoint import Endpoint
from pipeline.core.quota import entitlement
from pipeline.core.quota.grant import GrantDefinition


class CommandShape(NamedTuple):
    """The members of a command's body, and the reply's body."""

    body: str
    reply: str


COMMANDS: Mapping[str, CommandShape] = {
    "meter.apply": CommandShape(
        "a meter: slug, eventType, aggregation, valueProperty?, groupBy?, name?, description?, eventFrom?, metadata?; "
        "or {meters: [meter]}",
        "{meters: [meter]}",
    ),
    "meter.create": CommandShape("as for meter.apply", "{meters: [meter]}"),
    "meter.update": CommandShape(
        "slug, name?, description?, groupBy?, metadata?; the others, as for meter.apply, may be sent as they are",
        "meter",
    ),
    "meter.delete": CommandShape("slug", "none"),
    "customer.create": CommandShape(
        "key?, name, description?, usageAttribution? {subjectKeys}, primaryEmail?, currency?, billingAddress?, "
        "metadata?, timeZone?",
        "customer",
    ),
    "customer.update": CommandShape("id (or key), and as for customer.create", "customer"),
    "customer.delete": CommandShape("id (or key)", "none"),
    "subject.upsert": CommandShape(
        "a subject: key, displayName?, metadata?, stripeCustomerId?; or {subjects: [subject]}", "{subjects: [subject]}"
    ),
    "subject.delete": CommandShape("id (or key)", "none"),
    "feature.create": CommandShape(
        "key, name, meterSlug?, meterGroupByFilters? {key: value}, advancedMeterGroupByFilters? {key: FilterString}, "
        "metadata?, unitCost?",
        "feature",
    ),
    "feature.archive": CommandShape("id (or key)", "feature"),
    "plan.create": CommandShape(
        "key, currency? (USD), name, description?, metadata?, billingCadence, alignment? {billablesMustAlign?}, "
        "proRatingConfig? {enabled?, mode?}, settlementMode?, phases [{key, name, description?, metadata?, duration?, "
        "rateCards: [rate card]}]; a rate card: type, key, name, description?, metadata?, featureKey?, featureId?, "
        "entitlementTemplate?, taxConfig?, billingCadence?, price?, discounts?, currency?, unitConfig?",
        "plan, with status and validationErrors",
    ),
    "plan.update": CommandShape("id (or key), and as for plan.create but for key and currency", "as for plan.create"),
    "plan.publish": CommandShape("id (or key)", "as for plan.create"),
    "plan.archive": CommandShape("id (or key)", "as for plan.create"),
    "plan.delete": CommandShape("id (or key)", "none"),
    "plan.next": CommandShape("id (or key)", "as for plan.create"),
    "addon.create": CommandShape(
        "key, currency? (USD), name, description?, metadata?, instanceType, rateCards: [rate card]",
        "addon, with status and validationErrors",
    ),
    "addon.update": CommandShape(
        "id (or key), and as for addon.create but for key and currency", "as for addon.create"
    ),
    "addon.publish": CommandShape("id (or key)", "as for addon.create"),
    "addon.archive": CommandShape("id (or key)", "as for addon.create"),
    "addon.delete": CommandShape("id (or key)", "none"),
    "plan-addon.create": CommandShape(
        "planId (or key), addonId (or key), fromPlanPhase, maxQuantity?, metadata?",
        "plan-addon, with addon and validationErrors",
    ),
    "plan-addon.update": CommandShape(
        "planId (or key), id (or id or key of the add-on), fromPlanPhase, maxQuantity?, metadata?",
        "as for plan-addon.create",
    ),
    "plan-addon.delete": CommandShape("planId (or key), id (or id or key of the add-on)", "none"),
    "key.create": CommandShape("id, hash, last4, name, scopes, expiresAt?", "key"),
    "key.rotate": CommandShape("id, newId, hash, last4, overlapS?", "{key: the new one, old: the old one}"),
    "key.revoke": CommandShape("id, force?", "key"),
    "portal-token.create": CommandShape(
        "subject, allowedMeterSlugs?, expiresAt? (in an hour at most, which is the default)", "portal token"
    ),
    "portal-token.invalidate": CommandShape("id, or subject", "{invalidated: number}"),
    "entitlement.create": CommandShape(
        "customerId or subject, featureKey or featureId, type, activeFrom?, activeTo?, metadata?; static: config; "
        "metered: usagePeriod {interval, anchor?, timeZone?}, measureUsageFrom?, isSoftLimit?, isUnlimited? (false), "
        "issueAfterReset?, issueAfterResetPriority?, issue? {amount, priority?}, preserveOverageAtReset?, "
        "gracePeriod?, grants? [as for grant.create]",
        "entitlement",
    ),
    "entitlement.override": CommandShape(
        "id, customerId? or subject?, entitlement {as for entitlement.create}", "the new entitlement"
    ),
    "entitlement.reset": CommandShape(
        "id, customerId? or subject?, effectiveAt?, retainAnchor?, preserveOverage?", "entitlement"
    ),
    "entitlement.delete": CommandShape(
        "id, customerId? or subject?; with one of them, id may be a feature key, as in override and reset",
        "entitlement",
    ),
    "entitlement.follow": CommandShape(
        "id, activeTo?, terms? {subscriptionId, customerId, featureId, featureKey, type, activeFrom, metadata?, "
        "config?, usagePeriod?, measureUsageFrom?, isSoftLimit?, issueAfterReset?, issueAfterResetPriority?, "
        "preserveOverageAtReset?}; without terms it is removed. The billing stage sends it",
        "entitlement",
    ),
    "grant.create": CommandShape(
        "entitlementId, customerId? or subject?, amount, priority?, effectiveAt?, expiration? {duration, count}, "
        "recurrence? {interval, anchor?, timeZone?}, minRolloverAmount?, maxRolloverAmount?, metadata?",
        "grant",
    ),
    "grant.void": CommandShape("id, at?", "grant"),
    "rule.create": CommandShape(
        "type, name, channels, disabled?, metadata?; entitlements.balance.threshold: thresholds, features?, rearm?; "
        "entitlements.reset: features?; entitlements.grant.expiring: before, features?; meter.volume.threshold: "
        "meterSlug, windowSize, limit, customers?, groupBy?; credit.low_balance: currency, threshold, customers?; "
        "invoice.created, invoice.updated, invoice.overdue: none",
        "rule",
    ),
    "rule.update": CommandShape("id, and as for rule.create", "rule"),
    "rule.delete": CommandShape("id", "rule"),
    "rule.test": CommandShape("id", "the alert that goes to its channels; no definition changes"),
    "endpoint.create": CommandShape(
        "type?, name, url, signingSecret (sealed), customHeaders?, disabled?, metadata?, urlRefusal? (why the API "
        "refuses the url)",
        "endpoint",
    ),
    "endpoint.update": CommandShape("id, and as for endpoint.create, with signingSecret?", "endpoint"),
    "endpoint.rotate": CommandShape("id, signingSecret, overlapS?", "endpoint"),
    "endpoint.disable": CommandShape("id, reason?", "endpoint"),
    "endpoint.delete": CommandShape("id", "endpoint"),
    "endpoint.replay": CommandShape("id, from, to, states?", "what is sent again; no definition changes"),
    "event.resend": CommandShape(
        "id, deliveries {channel: delivery}, channels?", "what is sent again; no definition changes"
    ),
    "delivery.resend": CommandShape("id, endpoint", "what is sent again; no definition changes"),
    "app.install": CommandShape(
        "apiKey (sealed), name?, webhookSecret? (sealed), checked {stripeAccountId, livemode, maskedApiKey} (what "
        "Stripe answered about the key)",
        "app",
    ),
    "app.add": CommandShape(
        "type (sandbox, custom_invoicing), name?, createBillingProfile? (true)",
        "{app, defaultForCapabilityTypes}",
    ),
    "app.update": CommandShape(
        "id, type?, name, description?, metadata?; stripe: secretAPIKey? (sealed), webhookSecret? (sealed), checked? "
        "(with a key, as for app.install); custom_invoicing: enableDraftSyncHook, enableIssuingSyncHook",
        "app",
    ),
    "app.rotate": CommandShape("id, secretAPIKey (sealed), checked (as for app.install)", "app"),
    "app.webhook": CommandShape("id, webhookSecret (sealed), stripeDestinationId", "app"),
    "app.unauthorized": CommandShape(
        "id, reason? (Stripe's answer), revision? (of the definition whose key was refused)", "app"
    ),
    "app.uninstall": CommandShape("id", "none"),
    "customer-app.upsert": CommandShape(
        "customerId (or key), appId, type?, stripeCustomerId, stripeDefaultPaymentMethodId?; or customerId, data: [the "
        "others]",
        "customer-app, or {data: [customer-app]}",
    ),
    "customer-app.delete": CommandShape("customerId (or key), appId", "none"),
    "stripe-meter.create": CommandShape(
        "appId, meterSlug (or id), eventName, window? (HOUR, DAY), multiplier? (1), dimensions? {group-by key: member "
        "of the payload}, from?, customerKey?, valueKey?, metadata?, checked {stripeMeterId, customerKey, valueKey, "
        "formula, active} (Stripe's meter)",
        "stripe-meter",
    ),
    "stripe-meter.update": CommandShape(
        "id, and as for stripe-meter.create; checked only with another eventName", "stripe-meter"
    ),
    "stripe-meter.delete": CommandShape("id", "stripe-meter"),
    "stripe.retry": CommandShape("customer, meter?, accept?", "what is sent again; no definition changes"),
    "billing-profile.create": CommandShape(
        "name, description?, metadata?, supplier {key?, name?, taxId? {code}, addresses?}, default, workflow "
        "{collection? {alignment?, interval?}, invoicing? {autoAdvance?, draftPeriod?, dueAfter?, "
        "progressiveBilling?, subscriptionEndProrationMode?}, payment? {collectionMethod?}, tax? {enabled?, "
        "enforced?}, dunning? {steps?, giveUpAfter?, then?}}, apps {tax, invoicing, payment: the id of an app}, "
        "timeZone?, numbering? {prefix?, scope?, start?}, taxRates? [{code, percent, behavior?}]",
        "billing-profile",
    ),
    "billing-profile.update": CommandShape(
        "id, and as for billing-profile.create but for apps", "billing-profile"
    ),
    "billing-profile.delete": CommandShape("id", "none"),
    "billing-override.upsert": CommandShape(
        "customerId (or key), billingProfileId?", "billing-override"
    ),
    "billing-override.delete": CommandShape("customerId (or key)", "none"),
}  # fmt: skip

BODIES: tuple[type[DefinitionBody], ...] = (
    Meter, Customer, Attribution, Subject, Feature, Plan, Addon, PlanAddon, ApiKey, PortalToken,
    entitlement.Entitlement, GrantDefinition, rule.Rule, Endpoint, App, CustomerApp, StripeMeter,
    BillingProfile, CustomerOverride,
)  # fmt: skip

_HEAD = """# Commands and definitions

A command is a record of `commands`; the control stage decides it, writes what it changes to `control`, and answers on
`replies`. A member with `?` may be absent. This page is written by `python -m pipeline.contracts`.

## Commands

| command | body | body of the reply | what it does |
|---|---|---|---|
"""
_BETWEEN = """
A refusal has one of the reasons `bad-command`, `bad-<kind>` (400), `forbidden` (403), `not-found` (404),
`<kind>-conflict` (409), `idempotency-key-reused` (422). One about a plan, an addon or a plan-addon may list codes in
the reply's body: `validationErrors` [{field, code, message}]; one about a billing-profile or a billing-override has one
of OpenMeter's codes as its reason. Replies and the audit log leave out an API key's `hash`
and the secrets of an endpoint or an app.

## Definitions

The body of a record of `control`, by its `kind`. Instants are RFC 3339 in UTC with milliseconds, but for anchors and
`eventFrom`, which keep their offset. A deleted meter, subject or customer-app has the body null; anything else that is
deleted has `deletedAt` and can still be read. A portal token is forgotten a day after its end.
"""


def markdown() -> str:
    """The page."""
    commands = [
        f"| `{kind}` | {shape.body} | {shape.reply} | {_summary(kind)} |\n"
        for kind, shape in COMMANDS.items()
    ]
    return _HEAD + "".join(commands) + _BETWEEN + "".join(map(_definition, BODIES))


def _summary(kind: str) -> str:
    """What the decider's docstring says first, without the command's name."""
    text = (inspect.getdoc(DECIDERS[kind]) or "").split("\n\n")[0].replace("\n", " ")
    text = re.sub(rf"^{re.escape(kind)}(?: \{{[^}}]*\}})?[:.;]? ?", "", text)
    return (text[:1].upper() + text[1:]).replace("|", r"\|")


def _definition(body: type[DefinitionBody]) -> str:
    lines = [f"\n### {body.kind}\n\n{_described(body)}\n\n| member | type | |\n|---|---|---|"]
    lines += _members(body, ())
    return "\n".join(lines) + "\n"


def _members(body: type[DefinitionBody], inherited: tuple[str, ...]) -> list[str]:
    """The members of a class below those that it inherits, then those of the classes below it."""
    lines = []
    for field in msgspec.structs.fields(body):
        if field.name not in (*inherited, *body.outside):
            always = "" if field.required else "may be absent"
            lines.append(f"| `{field.encode_name}` | {_type(field.type)} | {always} |")
    for below in body.__subclasses__():
        if found := _members(below, body.__struct_fields__):
            lines += [f"| *{_described(below).partition('.')[0]}* | | |", *found]
    return lines


def _described(body: type[DefinitionBody]) -> str:
    """The docstring of a class, with the names that its fields have in JSON."""
    text = (inspect.getdoc(body) or "").replace("Args:", "Members:").replace("\n    ", "\n* ")
    for field, name in zip(body.__struct_fields__, body.__struct_encode_fields__, strict=True):
        if "_" in field:
            text = re.sub(rf"\b{field}\b", name, text)
    return text.replace("\n*     ", "\n  ")


def _type(annotation: object) -> str:
    """A type as JSON has it."""
    schema = msgspec.json.schema(annotation, schema_hook=_any_json)
    return _schema_type(schema, schema.get("$defs", {}))


def _any_json(_: type) -> dict[str, object]:
    """Where a member may be any JSON, its type is `object`, which msgspec has no schema for."""
    return {"type": "any"}


def _schema_type(schema: Mapping[str, object], named: Mapping[str, Mapping[str, object]]) -> str:
    match schema:
        case {"anyOf": list(choices)}:
            found = [_schema_type(one, named) for one in choices]
            return " or ".join(one for one in found if one != "null")
        case {"$ref": str(reference)}:
            return _schema_type(named[reference.rpartition("/")[2]], named)
        case {"enum": list(values)}:
            return ", ".join(f"`{value}`" for value in values)
        case {"properties": dict(properties)}:
            return "{" + ", ".join(properties) + "}"
        case {"type": "array", "prefixItems": list(items)}:
            return "[" + ", ".join(_schema_type(one, named) for one in items) + "]"
        case {"type": "array", "items": dict(item)}:
            return f"list of {_schema_type(item, named)}"
        case {"type": "object", "additionalProperties": dict(value)}:
            return f"object of {_schema_type(value, named) or 'any'}"
        case {"type": str(kind)}:
            return kind
    return "any"
