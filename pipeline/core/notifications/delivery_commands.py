"""Commands that send webhooks and change no definition: they are decided so that the audit log has them.

Owns: what may be sent again, tried or replayed, and the work for the webhook stage that follows, which goes out with
the decision. Does not own: deliveries (the webhook stage), which the API looks up and names, since the control stage
does not know them.
"""

from __future__ import annotations

from typing import cast, get_args

import msgspec

from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import Outcome, Wish
from pipeline.core.definitions.kinds import ENDPOINT, RULE
from pipeline.core.notifications import sample_alert
from pipeline.core.values import timestamp
from pipeline.errors import Rejected
from pipeline.records import DeliveryState, WebhookWork

MAX_CHANNELS = 100
STATES = get_args(DeliveryState)
FAILED = ["FAILED"]


def resend_delivery(wish: Wish) -> Outcome:
    """delivery.resend {id, endpoint?}: without the endpoint that it went to there is no such delivery."""
    BodyReader("resend", wish.asked("id", "endpoint"), ())
    id, endpoint = str(wish.body.get("id")), wish.body.get("endpoint")
    if endpoint is None:
        raise Rejected("not-found", f"There is no delivery with the id {id[:64]}.")
    return Outcome([], {"id": id, "endpoint": endpoint}, sends=(_resend(wish, str(endpoint), id),))


def resend_event(wish: Wish) -> Outcome:
    """event.resend {id, deliveries?, channels?}: to all or some of the channels that it went to.

    deliveries: the delivery's id by each of these channels; without it there is no such event.
    """
    sent = BodyReader("resend", wish.asked("id", "deliveries"), ("channels",))
    id, deliveries = str(wish.body.get("id")), wish.body.get("deliveries")
    if not isinstance(deliveries, dict):
        raise Rejected("not-found", f"There is no event with the id {id[:64]}.")
    channels = wish.body.get("channels") or list(deliveries)
    if not isinstance(channels, list) or any(one not in deliveries for one in map(str, channels)):
        sent.refuse("channels must be a list of channels that the event went to")
    chosen = list(dict.fromkeys(map(str, channels)))
    work = tuple(_resend(wish, channel, deliveries[channel]) for channel in chosen)
    return Outcome([], {"id": id, "channels": chosen}, sends=work)


def replay(wish: Wish) -> Outcome:
    """endpoint.replay {id, from, to, states?}: its deliveries of [from, to) in one of the states (FAILED)."""
    sent = BodyReader("replay", wish.asked("id"), ("from", "to", "states"))
    endpoint = wish.living(ENDPOINT)
    begin_ms, end_ms = sent.instant_ms("from"), sent.instant_ms("to")
    if begin_ms is None or end_ms is None:
        sent.refuse("from and to are required")
    if begin_ms >= end_ms:
        sent.refuse("from must be before to")
    states = wish.body.get("states", FAILED)
    if not isinstance(states, list) or not states or any(one not in STATES for one in states):
        sent.refuse(f"states must be a list of {', '.join(STATES)}")
    work = WebhookWork(
        "replay",
        wish.namespace,
        str(endpoint["id"]),
        "",
        wish.at_ms,
        from_ms=_up_ms(wish.body["from"]),
        to_ms=_up_ms(wish.body["to"]),
        states=cast(list[DeliveryState], states),
        actor=wish.command.actor,
    )
    reply = {"from": wish.body["from"], "to": wish.body["to"], "states": states}
    return Outcome([], reply, sends=(work,))


def try_rule(wish: Wish) -> Outcome:
    """rule.test {id}: a made-up event goes to its channels. The reply is the Alert."""
    alert = sample_alert.alert(wish.id(), wish.namespace, wish.living(RULE), wish.at_ms)
    BodyReader("test", wish.asked("id"), ())
    return Outcome([], msgspec.to_builtins(alert), sends=(alert,))


def _up_ms(text: object) -> int:
    """An instant in ms, rounded up, so that [from, to) is exact."""
    return -(-timestamp.parse_ns(str(text)) // 1_000_000)


def _resend(wish: Wish, endpoint: str, delivery: str) -> WebhookWork:
    return WebhookWork("resend", wish.namespace, endpoint, delivery, wish.at_ms, actor=wish.command.actor)
