"""Commands that send webhooks and change no definition: they are decided so that the audit log has them.

Owns: what may be sent again, tried or replayed. Does not own: deliveries (the webhook stage), which the API looks up
and names, since the control stage does not know them; doing it, which is the API's once it is decided.
"""

from __future__ import annotations

from typing import get_args

from pipeline.core.definitions.body import Wanted
from pipeline.core.definitions.context import Outcome, Wish
from pipeline.core.definitions.kinds import ENDPOINT, RULE
from pipeline.errors import Rejected
from pipeline.records import DeliveryState

MAX_CHANNELS = 100
STATES = get_args(DeliveryState)
FAILED = ["FAILED"]


def resend_delivery(wish: Wish) -> Outcome:
    """delivery.resend {id, endpoint?}: without the endpoint that it went to there is no such delivery."""
    sent = Wanted("delivery", wish.body, ("id", "endpoint"))
    id, endpoint = sent.required("id", 256), sent.text("endpoint", 64)
    if endpoint is None:
        raise Rejected("not-found", f"There is no delivery with the id {id[:64]}.")
    return Outcome([], {"id": id, "endpoint": endpoint})


def resend_event(wish: Wish) -> Outcome:
    """event.resend {id, sentTo?, channels?}: to those of the channels that it went to; without these no such event."""
    sent = Wanted("resend", wish.body, ("id", "sentTo", "channels"))
    id, sent_to = sent.required("id", 256), sent.texts("sentTo", MAX_CHANNELS, 64)
    if sent_to is None:
        raise Rejected("not-found", f"There is no event with the id {id[:64]}.")
    channels = wish.body.get("channels") or sent_to
    if not isinstance(channels, list) or any(one not in sent_to for one in channels):
        sent.refuse("channels must be a list of channels that the event went to")
    return Outcome([], {"id": id, "channels": list(dict.fromkeys(channels))})


def replay(wish: Wish) -> Outcome:
    """endpoint.replay {id, from, to, states?}: its deliveries of [from, to) in one of the states (FAILED)."""
    sent = Wanted("replay", wish.body, ("id", "from", "to", "states"))
    wish.living(ENDPOINT)
    begin_ms, end_ms = sent.instant_ms("from"), sent.instant_ms("to")
    if begin_ms is None or end_ms is None:
        sent.refuse("from and to are required")
    if begin_ms >= end_ms:
        sent.refuse("from must be before to")
    states = wish.body.get("states", FAILED)
    if not isinstance(states, list) or not states or any(one not in STATES for one in states):
        sent.refuse(f"states must be a list of {', '.join(STATES)}")
    return Outcome([], {"from": wish.body["from"], "to": wish.body["to"], "states": states})


def try_rule(wish: Wish) -> Outcome:
    """rule.test {id}: a made-up event goes to its channels."""
    return Outcome([], wish.living(RULE))
