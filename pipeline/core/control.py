"""Decides commands: the one place where a definition comes into being, changes or goes.

Owns: dispatch by kind, all-or-nothing, revisions, the reply. Does not own: the rules of a kind
(core.metering.meter_commands, core.customers.customer and so on, see DECIDERS), the log, or the clock.

What each command holds and which definition it writes is in schemas/commands.md (pipeline.command_reference).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pipeline.core.access import api_key, portal_token
from pipeline.core.billing import app_commands, customer_app_commands, stripe_meter_commands, stripe_retry
from pipeline.core.catalog import addon_commands, feature, plan_addon_commands, plan_commands
from pipeline.core.customers import customer, subject
from pipeline.core.definitions.context import CommandContext, Decided
from pipeline.core.definitions.index import DefinitionIndex
from pipeline.core.invoices import keyless_app_commands, profile_commands
from pipeline.core.metering import meter_commands
from pipeline.core.notifications import delivery_commands, endpoint_commands, rule_commands
from pipeline.core.quota import entitlement_commands, grant_commands, managed_entitlement
from pipeline.errors import Rejected
from pipeline.records import Alert, Command, Definition, Reply, StripeWork, WebhookWork

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
    "plan.create": plan_commands.create,
    "plan.update": plan_commands.update,
    "plan.publish": plan_commands.publish,
    "plan.archive": plan_commands.archive,
    "plan.delete": plan_commands.delete,
    "plan.next": plan_commands.next_draft,
    "addon.create": addon_commands.create,
    "addon.update": addon_commands.update,
    "addon.publish": addon_commands.publish,
    "addon.archive": addon_commands.archive,
    "addon.delete": addon_commands.delete,
    "plan-addon.create": plan_addon_commands.create,
    "plan-addon.update": plan_addon_commands.update,
    "plan-addon.delete": plan_addon_commands.delete,
    "key.create": api_key.create,
    "key.rotate": api_key.rotate,
    "key.revoke": api_key.revoke,
    "portal-token.create": portal_token.create,
    "portal-token.invalidate": portal_token.invalidate,
    "entitlement.create": entitlement_commands.create,
    "entitlement.override": entitlement_commands.override,
    "entitlement.reset": entitlement_commands.reset,
    "entitlement.delete": entitlement_commands.delete,
    "entitlement.follow": managed_entitlement.follow,
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
    "app.install": app_commands.install,
    "app.add": keyless_app_commands.install,
    "app.update": app_commands.update,
    "app.rotate": app_commands.rotate,
    "app.webhook": app_commands.webhook,
    "app.unauthorized": app_commands.unauthorized,
    "app.uninstall": keyless_app_commands.uninstall,
    "customer-app.upsert": customer_app_commands.upsert,
    "customer-app.delete": customer_app_commands.delete,
    "stripe-meter.create": stripe_meter_commands.create,
    "stripe-meter.update": stripe_meter_commands.update,
    "stripe-meter.delete": stripe_meter_commands.delete,
    "stripe.retry": stripe_retry.retry,
    "billing-profile.create": profile_commands.create,
    "billing-profile.update": profile_commands.update,
    "billing-profile.delete": profile_commands.delete,
    "billing-override.upsert": profile_commands.upsert_override,
    "billing-override.delete": profile_commands.delete_override,
}


class Decision(NamedTuple):
    """What the control stage writes in one transaction. Nothing is in force before `take`."""

    definitions: list[Definition]  # to `control`
    reply: Reply  # to `replies`
    revision: int  # of the log, after this decision
    before: tuple[Definition | None, ...] = ()  # what was there before each of `definitions`
    forgotten: tuple[str, ...] = ()  # log keys whose records may go altogether
    sends: tuple[Alert | WebhookWork | StripeWork, ...] = ()  # to the stages webhook and stripe-sync


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
    reply = Reply(command.id, revision, refusal.reason, refusal.detail, refusal.facts, command.attempt)
    return Decision([], reply, revision)


def take(index: DefinitionIndex, decision: Decision) -> None:
    """Makes a decision the state on which the next is made."""
    for definition in decision.definitions:
        index.keep(definition)
    for place in decision.forgotten:
        index.forget(place)


def _decide(context: CommandContext) -> Decided:
    command = context.command
    if not _NAMESPACE(command.namespace):
        raise Rejected(
            "bad-command", "A namespace has 1 to 63 characters: lower-case letters, digits, _ and -."
        )
    if not 0 < len(command.id) <= MAX_ID:
        raise Rejected("bad-command", f"A command's id has 1 to {MAX_ID} characters.")
    if command.error:
        raise Rejected(command.error, command.detail)  # also of a command that another stage decides
    if command.applied:
        return Decided([])
    decider = DECIDERS.get(command.kind)
    if decider is None:
        raise Rejected("bad-command", f"There is no command {command.kind[:MAX_ID]!r}.")
    return decider(context)
