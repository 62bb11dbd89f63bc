"""Channels, rules, events of rules and deliveries."""

from __future__ import annotations

from typing import Any

from tests.api.recording.world import World

CHANNELS, ENDPOINTS = "/api/v1/notification/channels", "/api/v1/endpoints"
RULES, EVENTS, DELIVERIES = "/api/v1/notification/rules", "/api/v1/notification/events", "/api/v1/deliveries"
CHANNEL: dict[str, Any] = {
    "type": "WEBHOOK",
    "name": "billing",
    "url": "https://example.com/webhooks",
    "customHeaders": {"x-team": "billing"},
    "metadata": {"team": "billing"},
}


def channels(world: World) -> None:
    """Makes a channel with the world's id."""
    ask, one = world.recorder.ask, f"{CHANNELS}/{{channelId}}"
    made = ask(f"POST {CHANNELS}", "a channel is created", CHANNELS, CHANNEL)
    world.channel = id = made["id"]
    ask(f"POST {CHANNELS}", "an unknown member", CHANNELS, {**CHANNEL, "zz": 1})
    ask(f"POST {CHANNELS}", "an address that is refused", CHANNELS, {**CHANNEL, "url": "http://10.0.0.1/"})
    ask(f"POST {CHANNELS}", "a secret that is none", CHANNELS, {**CHANNEL, "signingSecret": "zz"})
    ask(f"GET {CHANNELS}", "all of them", f"{CHANNELS}?includeDisabled=true&includeDeleted=true")
    ask(f"GET {CHANNELS}", "an unknown order", f"{CHANNELS}?orderBy=zz")
    ask(f"GET {one}", "one", f"{CHANNELS}/{id}")
    ask(f"PUT {one}", "a channel is changed", f"{CHANNELS}/{id}", {**CHANNEL, "name": "finance"})
    ask(f"PUT {one}", "an unknown member", f"{CHANNELS}/{id}", {**CHANNEL, "zz": 1})
    rotate = f"POST {ENDPOINTS}/{{channelId}}/rotate"
    ask(rotate, "the secret is replaced", f"{ENDPOINTS}/{id}/rotate", {"overlapS": 3600})
    ask(rotate, "an unknown member", f"{ENDPOINTS}/{id}/rotate", {"zz": 1})
    ask(f"POST {CHANNELS}", "one that is disabled", CHANNELS, {**CHANNEL, "name": "aaa", "disabled": True})
    ask(f"POST {CHANNELS}", "one whose name sorts before", CHANNELS, {**CHANNEL, "name": "bbb"})
    old = ask(f"POST {CHANNELS}", "one that is deleted later", CHANNELS, {**CHANNEL, "name": "old"})
    ask(f"DELETE {one}", "a channel is deleted", f"{CHANNELS}/{old['id']}")


def rules(world: World) -> None:
    ask, one = world.recorder.ask, f"{RULES}/{{ruleId}}"
    post = f"POST {RULES}"
    threshold = {
        "type": "entitlements.balance.threshold",
        "name": "80 % and all of the quota",
        "channels": [world.channel],
        "features": ["gpt_4_tokens"],
        "thresholds": [{"type": "usage_percentage", "value": 80}, {"type": "balance_value", "value": "0.5"}],
        "rearm": "resolved",
        "metadata": {"team": "billing"},
    }
    others: list[dict[str, Any]] = [
        {"type": "entitlements.reset", "name": "a new period", "channels": [world.channel]},
        {"type": "entitlements.grant.expiring", "name": "it ends soon", "channels": [world.channel], "before": "P7D"},
        {"type": "meter.volume.threshold", "name": "much in an hour", "channels": [world.channel],
         "meterSlug": "tokens", "windowSize": "HOUR", "limit": 1000000.5, "customers": ["acme"],
         "groupBy": {"model": "gpt-4"}},
    ]  # fmt: skip
    world.rule = made = ask(post, "a threshold", RULES, threshold)
    for other in others:
        ask(post, other["name"], RULES, other)
    ask(post, "an unknown member", RULES, {**threshold, "zz": 1})
    ask(post, "an unknown channel", RULES, {**threshold, "channels": ["01KF0000000000000000000000"]})
    ask(f"GET {RULES}", "all of them", RULES)
    few = f"{RULES}?feature=gpt_4_tokens&channel={world.channel}&includeDisabled=true&includeDeleted=true"
    ask(f"GET {RULES}", "those that match", f"{few}&pageSize=1")
    ask(f"GET {RULES}", "an unknown order", f"{RULES}?orderBy=zz")
    ask(f"GET {one}", "one", f"{RULES}/{made['id']}")
    ask(
        f"PUT {one}",
        "a rule is changed",
        f"{RULES}/{made['id']}",
        {**threshold, "name": "80 %", "disabled": False},
    )
    ask(f"PUT {one}", "an unknown member", f"{RULES}/{made['id']}", {**threshold, "zz": 1})
    ask(f"PUT {one}", "another type", f"{RULES}/{made['id']}", others[0])
    event = ask(f"POST {one}/test", "an event is made", f"{RULES}/{made['id']}/test")
    world.event = event["id"]
    ask(post, "one that is disabled", RULES, {**others[0], "disabled": True})
    ask(f"POST {one}/test", "another event is made", f"{RULES}/{made['id']}/test")
    old = ask(post, "one that is deleted later", RULES, {**others[0], "name": "old"})
    ask(f"DELETE {one}", "a rule is deleted", f"{RULES}/{old['id']}")
    ask(f"DELETE {CHANNELS}/{{channelId}}", "a rule sends to it", f"{CHANNELS}/{world.channel}")


def events(world: World) -> None:
    ask, one = world.recorder.ask, f"{EVENTS}/{{eventId}}"
    ask(f"GET {EVENTS}", "nothing was sent yet", EVENTS)
    resend = f"{EVENTS}/{world.event}/resend"
    ask(f"POST {one}/resend", "to all its channels", resend)
    ask(f"POST {one}/resend", "to one of them", resend, {"channels": [world.channel]})
    ask(f"POST {one}/resend", "to a channel that it did not go to", resend, {"channels": ["nothing"]})
    ask(f"POST {one}/resend", "an unknown member", resend, {"zz": 1})
    world.delivered()
    few = f"{EVENTS}?from=2026-01-01&to=2026-02-01&rule={world.rule['id']}&channel={world.channel}&pageSize=1"
    ask(f"GET {EVENTS}", "those that match", few)
    ask(f"GET {EVENTS}", "an instant that is none", f"{EVENTS}?from=zz")
    ask(f"GET {one}", "with its deliveries", f"{EVENTS}/{world.event}")


def deliveries(world: World) -> None:
    ask, one = world.recorder.ask, f"{DELIVERIES}/{{deliveryId}}"
    ask(f"GET {DELIVERIES}", "all of them", DELIVERIES)
    few = f"{DELIVERIES}?endpoint={world.channel}&event={world.event}&state=SENDING&order=ASC&from=2026-01-01"
    ask(f"GET {DELIVERIES}", "those that match", few)
    ask(f"GET {DELIVERIES}", "an unknown state", f"{DELIVERIES}?state=zz")
    ask(f"GET {one}", "one", f"{DELIVERIES}/{world.delivery}")
    ask(f"POST {one}/resend", "it is sent again", f"{DELIVERIES}/{world.delivery}/resend")
    replay = f"POST {ENDPOINTS}/{{channelId}}/replay"
    body = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02", "states": ["FAILED"]}
    ask(replay, "those of a range are sent again", f"{ENDPOINTS}/{world.channel}/replay", body)
    ask(replay, "an unknown member", f"{ENDPOINTS}/{world.channel}/replay", {**body, "zz": 1})
    ask(replay, "a range that is empty", f"{ENDPOINTS}/{world.channel}/replay", {**body, "to": "2025-01-01"})
