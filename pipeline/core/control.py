"""Decides commands: the one place where a definition comes into being, changes or goes.

Owns: dispatch by kind, all-or-nothing, revisions, the reply. Does not own: the rules of a kind
(core.metering.meter_commands, core.customers.customer and so on, see DECIDERS), the log, or the clock.

Commands: kind, body -> the reply's body. Members with `?` may be absent. `id` is an id or a key, where there are both.

    meter.apply            one meter | {meters: [meter]}                 -> {meters: [meter]}
    meter.create           the same; 409 if the slug is taken            -> {meters: [meter]}
    meter.update           {slug, name?, description?, groupBy?, metadata?}; what is absent is cleared,
                           the name stays; 409 if a feature filters by a key that goes      -> meter
    meter.delete           {slug}; 409 while an active feature uses it   -> null
    customer.create        {key?, name, description?, usageAttribution?: {subjectKeys}, primaryEmail?, currency?,
                           billingAddress?, metadata?}                   -> customer
    customer.update        {id, as for create}; replaces all of it       -> customer
    customer.delete        {id}                                          -> null
    subject.upsert         one subject | {subjects: [subject]}; subject = {key, displayName?, metadata?,
                           stripeCustomerId?}; absent stays, null clears -> {subjects: [subject]}
    subject.delete         {id}                                          -> null
    feature.create         {key, name, meterSlug?, meterGroupByFilters?: {key: value}, advancedMeterGroupByFilters?:
                           {key: FilterString}, metadata?, unitCost?}    -> feature
    feature.archive        {id}                                          -> feature
    key.create             {id, hash, last4, name, scopes: [..], expiresAt?}          -> key
    key.rotate             {id, newId, hash, last4, overlapS?}           -> {key: new, old: old}
    key.revoke             {id, force?}                                  -> key; 409 for the last admin key
    portal-token.create    {subject, allowedMeterSlugs?: [..], expiresAt?: <= 1 h, the default} -> portal token
    portal-token.invalidate {id} | {subject}                             -> {invalidated: n}
    entitlement.create     {customerId, featureKey | featureId, type, activeFrom?, activeTo?, metadata?; static: config;
                           metered: usagePeriod {interval, anchor?}, measureUsageFrom?, isSoftLimit?, issueAfterReset?,
                           issueAfterResetPriority? | issue? {amount, priority?}, preserveOverageAtReset?, gracePeriod?,
                           grants? [as for grant.create]}                -> entitlement; 409 if one is in force then
    entitlement.override   {id, customerId?, entitlement: as for create} -> the new one; the old ends as it begins
    entitlement.reset      {id, customerId?, effectiveAt?, retainAnchor?, preserveOverage?} -> entitlement
    entitlement.delete     {id, customerId?}                             -> entitlement. With customerId, `id` may be
                           a feature key in all of these. Instead of customerId `subject` (id or key) may be given:
                           the customer that holds it is meant; also with grant.create.
    grant.create           {entitlementId, customerId?, amount, priority?, effectiveAt?, expiration? {duration, count},
                           recurrence? {interval, anchor?}, minRolloverAmount?, maxRolloverAmount?, metadata?} -> grant
    grant.void             {id, at?}                                     -> grant
    rule.create            {type, name, channels, disabled?, metadata?, ... by type: core.notifications.rule} -> rule
    rule.update            {id, as for create}; replaces all of it       -> rule
    rule.delete            {id}                                          -> rule
    endpoint.create        {name, url, urlRefusal?, signingSecret (sealed), customHeaders?, disabled?, metadata?}
                           -> endpoint; urlRefusal: why the API refuses the url
    endpoint.update        {id, as for create}; the secret stays unless another is given            -> endpoint
    endpoint.rotate        {id, signingSecret, overlapS?}                -> endpoint
    endpoint.disable       {id, reason?}                                 -> endpoint
    endpoint.delete        {id}; 409 while a rule sends to it            -> endpoint
    endpoint.replay, rule.test, event.resend, delivery.resend: they change no definition, see
                           core.notifications.delivery_commands

Definition.name, and Definition.body (the API's JSON; instants RFC 3339 with ms, in UTC but for anchors). All but
meters made before there were such members have createdAt and updatedAt:

    meter         slug     {slug, eventType, aggregation, ..., meterId: int, id: ULID, createdAt, updatedAt};
                           deleted: body null
    customer      ULID     {id, key?, name, ..., usageAttribution: {subjectKeys}, timeZone?}; deleted: + deletedAt
    attribution   a subject's key: {subject, holders: [[from minute in seconds, customer's id or ""]]}; no command of
                           its own: customer.* change it (core.customers.attribution)
    subject       ULID     {id, key, displayName?, metadata?, stripeCustomerId?}; deleted: body null
    feature       ULID     {id, key, name, meterSlug?, ...}; archived: + archivedAt
    key           public   {id, namespace, name, scopes, hash, last4, expiresAt?}; revoked: + revokedAt, hash "";
                           rotated: + rotatedTo. Replies and audit leave `hash` out.
    portal-token  ULID=jti {id, subject, allowedMeterSlugs?, expiresAt}; invalidated: + invalidatedAt;
                           a day after expiresAt it is forgotten
    entitlement, grant, rule, endpoint   ULID: see core.quota.entitlement, core.quota.grant,
                           core.notifications.rule, core.notifications.endpoint; deleted: + deletedAt,
                           voided: + voidedAt. Replies leave an endpoint's secrets out.

Reasons: `bad-command`, `bad-<kind>` (400), `not-found` (404), `<kind>-conflict` (409: meter-conflict,
customer-conflict for its key, subject-conflict for a subject of another customer, feature-conflict, key-conflict,
portal-token-conflict, entitlement-conflict, grant-conflict, endpoint-conflict), `forbidden` (403: an
API key with scopes that the asking one lacks), `idempotency-key-reused` (422: see
core.definitions.idempotency).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pipeline.core.access import api_key, portal_token
from pipeline.core.catalog import feature
from pipeline.core.customers import customer, subject
from pipeline.core.definitions.context import CommandContext, Decided
from pipeline.core.definitions.index import DefinitionIndex
from pipeline.core.metering import meter_commands
from pipeline.core.notifications import delivery_commands, endpoint_commands, rule_commands
from pipeline.core.quota import entitlement_commands, grant_commands
from pipeline.errors import Rejected
from pipeline.records import Alert, Command, Definition, Reply, WebhookWork

MAX_ID = 128
_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII).fullmatch

DECIDERS: Mapping[str, Callable[[CommandContext], Decided]] = {
    "meter.apply": meter_commands.apply,
    "meter.create": meter_commands.create,
    "meter.update": meter_commands.update,
    "meter.delete": meter_commands.delete,
    "customer.create": customer.create,
    "customer.update": customer.update,
    "customer.delete": customer.delete,
    "subject.upsert": subject.upsert,
    "subject.delete": subject.delete,
    "feature.create": feature.create,
    "feature.archive": feature.archive,
    "key.create": api_key.create,
    "key.rotate": api_key.rotate,
    "key.revoke": api_key.revoke,
    "portal-token.create": portal_token.create,
    "portal-token.invalidate": portal_token.invalidate,
    "entitlement.create": entitlement_commands.create,
    "entitlement.override": entitlement_commands.override,
    "entitlement.reset": entitlement_commands.reset,
    "entitlement.delete": entitlement_commands.delete,
    "grant.create": grant_commands.create,
    "grant.void": grant_commands.void,
    "rule.create": rule_commands.create,
    "rule.update": rule_commands.update,
    "rule.delete": rule_commands.delete,
    "endpoint.create": endpoint_commands.create,
    "endpoint.update": endpoint_commands.update,
    "endpoint.rotate": endpoint_commands.rotate,
    "endpoint.disable": endpoint_commands.disable,
    "endpoint.delete": endpoint_commands.delete,
    "endpoint.replay": delivery_commands.replay,
    "rule.test": delivery_commands.try_rule,
    "event.resend": delivery_commands.resend_event,
    "delivery.resend": delivery_commands.resend_delivery,
}


class Decision(NamedTuple):
    """What the control stage writes in one transaction. Nothing is in force before `take`."""

    definitions: list[Definition]  # to `control`
    reply: Reply  # to `replies`
    revision: int  # of the log, after this decision
    before: tuple[Definition | None, ...] = ()  # what was there before each of `definitions`
    forgotten: tuple[str, ...] = ()  # log keys whose records may go altogether
    sends: tuple[Alert | WebhookWork, ...] = ()  # to the webhook stage


def decide(index: DefinitionIndex, command: Command, at_ms: int) -> Decision:
    """Decides one command against the definitions in force; changes nothing. A few look-ups, however many there are.

    at_ms: the broker's time of the command's record, so that a replay decides alike. A refusal is a reply with `error`,
    never an exception. Whether the command was done before is asked first, of core.definitions.idempotency.
    """
    revision = index.revision
    try:
        outcome = _decide(CommandContext(index, command, at_ms))
    except Rejected as refusal:
        return refused(command, revision, refusal)
    definitions = [
        Definition(
            revision + number,
            change.kind,
            command.namespace,
            change.name,
            command.actor,
            at_ms,
            change.members,
        )
        for number, change in enumerate(outcome.changes, 1)
    ]
    before = tuple(index.get(one.namespace, one.kind, one.name) for one in definitions)
    revision += len(definitions)
    reply = Reply(command.id, revision, body=outcome.reply, attempt=command.attempt)
    return Decision(definitions, reply, revision, before, outcome.forgotten, outcome.sends)


def refused(command: Command, revision: int, refusal: Rejected) -> Decision:
    """The decision that changes nothing."""
    reply = Reply(command.id, revision, refusal.reason, refusal.detail, attempt=command.attempt)
    return Decision([], reply, revision)


def take(index: DefinitionIndex, decision: Decision) -> None:
    """Makes a decision the state on which the next is made."""
    for definition in decision.definitions:
        index.keep(definition)
    for place in decision.forgotten:
        index.forget(place)


def _decide(context: CommandContext) -> Decided:
    command = context.command
    decider = DECIDERS.get(command.kind)
    if decider is None:
        raise Rejected("bad-command", f"There is no command {command.kind[:MAX_ID]!r}.")
    if not _NAMESPACE(command.namespace):
        raise Rejected(
            "bad-command", "A namespace has 1 to 63 characters: lower-case letters, digits, _ and -."
        )
    if not 0 < len(command.id) <= MAX_ID:
        raise Rejected("bad-command", f"A command's id has 1 to {MAX_ID} characters.")
    return decider(context)
