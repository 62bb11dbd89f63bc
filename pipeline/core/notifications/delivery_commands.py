"""Commands that send webhooks and change no definition: they are decided so that they are in the audit log.

Owns: what may be sent again, tested or replayed, and the work for the webhook stage, which is sent with the decision.
Does not own: deliveries (the webhook stage). The API looks them up and names them, since the control stage does not
have them.
"""

from __future__ import annotations

from typing import get_args

import msgspec

from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided
from pipeline.core.notifications import sample_alert
from pipeline.core.notifications.endpoint import Endpoint
from pipeline.core.notifications.rule import Rule
from pipeline.core.values import timestamp
from pipeline.errors import Rejected
from pipeline.records import DeliveryState, WebhookWork

MAX_CHANNELS = 100
STATES: tuple[DeliveryState, ...] = get_args(DeliveryState)
FAILED = ["FAILED"]


def resend_delivery(context: CommandContext) -> Decided:
    """delivery.resend {id, endpoint?}: without the endpoint that it went to there is no such delivery."""
    BodyReader("resend", context.asked("id", "endpoint"), ())
    id, endpoint = str(context.body.get("id")), context.body.get("endpoint")
    if endpoint is None:
        raise Rejected("not-found", f"There is no delivery with the id {id[:64]}.")
    return Decided([], {"id": id, "endpoint": endpoint}, sends=(_resend(context, str(endpoint), id),))


def resend_event(context: CommandContext) -> Decided:
    """event.resend {id, deliveries?, channels?}: to all or some of the channels that it went to.

    deliveries: the delivery's id by each of these channels; without it there is no such event.
    """
    sent = BodyReader("resend", context.asked("id", "deliveries"), ("channels",))
    id, deliveries = str(context.body.get("id")), context.body.get("deliveries")
    if not isinstance(deliveries, dict):
        raise Rejected("not-found", f"There is no event with the id {id[:64]}.")
    channels = context.body.get("channels") or list(deliveries)
    if not isinstance(channels, list) or any(channel not in deliveries for channel in map(str, channels)):
        sent.refuse("channels must be a list of channels that the event went to")
    chosen = list(dict.fromkeys(map(str, channels)))
    work = tuple(_resend(context, channel, deliveries[channel]) for channel in chosen)
    return Decided([], {"id": id, "channels": chosen}, sends=work)


def replay(context: CommandContext) -> Decided:
    """endpoint.replay {id, from, to, states?}: its deliveries of [from, to) in one of the states (FAILED)."""
    sent = BodyReader("replay", context.asked("id"), ("from", "to", "states"))
    endpoint = context.existing(Endpoint)
    begin_ms, end_ms = sent.instant_ms("from"), sent.instant_ms("to")
    if begin_ms is None or end_ms is None:
        sent.refuse("from and to are required")
    if begin_ms >= end_ms:
        sent.refuse("from must be before to")
    sent_states = context.body.get("states", FAILED)
    states = [_state(one) for one in sent_states] if isinstance(sent_states, list) else []
    chosen = [state for state in states if state is not None]
    if not chosen or len(chosen) < len(states):
        sent.refuse(f"states must be a list of {', '.join(STATES)}")
    work = WebhookWork(
        "replay",
        context.namespace,
        endpoint.id,
        "",
        context.at_ms,
        from_ms=_up_ms(context.body["from"]),
        to_ms=_up_ms(context.body["to"]),
        states=chosen,
        actor=context.command.actor,
    )
    reply = {"from": context.body["from"], "to": context.body["to"], "states": chosen}
    return Decided([], reply, sends=(work,))


def try_rule(context: CommandContext) -> Decided:
    """rule.test {id}: a made-up event goes to its channels. The reply is the Alert."""
    alert = sample_alert.alert(context.id(), context.namespace, context.existing(Rule), context.at_ms)
    BodyReader("test", context.asked("id"), ())
    return Decided([], msgspec.to_builtins(alert), sends=(alert,))


def _state(sent: object) -> DeliveryState | None:
    """The state that a member of `states` names; None: none."""
    return next((state for state in STATES if state == sent), None)


def _up_ms(text: object) -> int:
    """An instant in ms, rounded up, so that [from, to) is exact."""
    return -(-timestamp.parse_ns(str(text)) // 1_000_000)


def _resend(context: CommandContext, endpoint: str, delivery: str) -> WebhookWork:
    return WebhookWork(
        "resend", context.namespace, endpoint, delivery, context.at_ms, actor=context.command.actor
    )
