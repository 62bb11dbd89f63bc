"""What balances and alerts must be, recounted from the windows of the recount, and where the pipeline differs.

Owns: usage, balance and crossed thresholds of each entitlement in plain decimals; reading `balances`, `alerts` and
Redis by plain clients; the comparison with both and with what the receiver got. Does not own: windows (flow.recount),
definitions (quotas). It shares no code with the stages: a period's usage is a sum of windows, nothing else.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import redis
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from pipeline.settings import Settings
from tests.fixtures.patience import PATIENCE_S
from tests.flow.recount import WindowKey, WindowValue, plain
from tests.torture.plan import Entitled, Move, Plan, Rule, first_period_s
from tests.torture.quotas import Quotas

EXACT = Context(prec=60)
SHOWN = 12
THRESHOLD, RESOLVED = "entitlements.balance.threshold", "entitlements.balance.threshold.resolved"
RESET = "entitlements.reset"


class Standing(NamedTuple):
    """One usage period of an entitlement at its end, or now."""

    since_s: int
    usage: Decimal
    balance: Decimal
    overage: Decimal
    total: Decimal


class Fact(NamedTuple):
    """Something that has to be fired once. what: a threshold, or `reset`."""

    rule: str  # name
    customer: str  # key
    feature: str
    since_s: int
    what: str


@dataclass
class Expected:
    """balances: fields by (customer id, feature). facts: each to be fired once."""

    balances: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    facts: set[Fact] = field(default_factory=set)


@dataclass
class FiredAlert:
    """An alert as it stands on the topic."""

    id: str
    body: dict[str, Any]
    payload: dict[str, Any]


@dataclass
class Found:
    balances: dict[str, dict[str, Any]]  # by key of the topic
    copied: dict[tuple[str, str], dict[str, Any]]  # from Redis
    fired: list[FiredAlert]  # each record


def expected(plan: Plan, windows: Mapping[WindowKey, WindowValue]) -> Expected:
    """What must be, of the entitlements and rules that were defined."""
    made = Expected()
    rules = [rule for rule in [*plan.rules, plan.late_rule] if rule.id]
    by_meter: dict[str, list[tuple[WindowKey, Decimal]]] = {}
    for key, value in windows.items():
        by_meter.setdefault(key.meter, []).append((key, Decimal(value.value)))
    for entitled in [*plan.entitled, *plan.periods, *plan.late]:
        if not entitled.id:
            continue
        mine = _mine(entitled, plan.moves, by_meter.get(entitled.feature.meter, []))
        standings = _standings(entitled, mine, plan.start_s)
        made.balances[entitled.customer_id, entitled.feature.key] = _fields(entitled, standings[-1])
        for rule in rules:
            if rule.watches(entitled.feature.key):
                made.facts |= _facts(rule, entitled, standings)
    return made


def _mine(
    entitled: Entitled, moves: Iterable[Move], windows: Iterable[tuple[WindowKey, Decimal]]
) -> list[tuple[int, Decimal]]:
    """(minute, value) of each window that is the entitlement's usage."""
    spans = dict.fromkeys(entitled.customer.all_subjects, (0, 1 << 60))
    for move in moves:
        if move.old is entitled.customer:
            spans[move.subject] = (0, move.until_s)
        elif move.new is entitled.customer:
            spans[move.subject] = (move.from_s, 1 << 60)
    filters = set(entitled.feature.filters.items())
    found = []
    for key, value in windows:
        from_s, until_s = spans.get(key.subject, (0, 0))
        if from_s <= key.start_s < until_s and filters <= set(key.dimensions):
            found.append((key.start_s, value))
    return found


def _standings(entitled: Entitled, usage: list[tuple[int, Decimal]], now_s: int) -> list[Standing]:
    """The usage periods since it was defined: nothing is fired of those that had ended by then."""
    borders = [first_period_s(entitled, now_s), *entitled.resets, 1 << 60]
    total = sum(entitled.amounts[1:], entitled.amounts[0])
    found = []
    for since_s, until_s in pairwise(borders):
        used = Decimal(0)
        for at_s, value in usage:
            if since_s <= at_s < until_s:
                used = EXACT.add(used, value)
        left = EXACT.subtract(total, used)
        found.append(
            Standing(since_s, used, max(left, Decimal(0)), max(EXACT.minus(left), Decimal(0)), total)
        )
    return found


def _fields(entitled: Entitled, now: Standing) -> dict[str, str]:
    return {
        "entitlement": entitled.id,
        "type": "metered",
        "usage": plain(now.usage),
        "balance": plain(now.balance),
        "overage": plain(now.overage),
        "total_available": plain(now.total),
        "period_from_ms": str(now.since_s * 1000),
        "has_access": str(now.balance > 0),
    }


def _facts(rule: Rule, entitled: Entitled, standings: list[Standing]) -> set[Fact]:
    who = (rule.name, entitled.customer.key, entitled.feature.key)
    if rule.type == RESET:
        return {Fact(*who, one.since_s, "reset") for one in standings[:-1]}
    return {
        Fact(*who, one.since_s, f"{kind}:{value}")
        for one in standings
        for kind, value in rule.thresholds
        if _met(kind, Decimal(value), one)
    }


def _met(kind: str, value: Decimal, now: Standing) -> bool:
    if kind == "usage_value":
        return now.usage >= value
    if kind == "usage_percentage":
        return now.usage * 100 >= value * now.total
    return now.balance <= value


def read(settings: Settings) -> Found:
    """All published records, read by plain clients."""
    balances = {
        key.decode(): json.loads(value) for key, value in records(settings, "balances") if key and value
    }
    fired = []
    for key, value in records(settings, "alerts"):
        body = json.loads(value or b"null")
        fired.append(FiredAlert((key or b"").decode(), body, json.loads(body["payload"])))
    return Found(balances, _copied(settings.redis), fired)


def records(settings: Settings, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    """Every committed record of a topic, each partition in its order."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka,
            "group.id": "torture-alerts",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    found: list[tuple[bytes | None, bytes | None]] = []
    try:
        left = set(consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in left])
        while left:
            for message in consumer.consume(5_000, timeout=0.2):
                error = message.error()
                if error is None:
                    found.append((message.key(), message.value()))
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition() or 0)
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()
    return found


def _copied(url: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Customer id and feature -> the balance; a field is 20 digits of revision, then JSON."""
    client: Any = redis.Redis.from_url(url)
    found = {}
    keys: list[bytes] = list(client.scan_iter("tallymark:*:balances:*"))
    for key in keys:
        customer = key.decode().rpartition("/")[2]
        for feature, value in client.hgetall(key).items():
            body = json.loads(value[20:])
            if int(value[:20]) != body["revision"]:
                body["revision"] = f"{value[:20]!r} before {body['revision']}"
            found[customer, feature.decode()] = body
    return found


def balances_differ(wanted: Expected, found: Found) -> list[str]:
    """`balances` against the recount, and Redis against `balances`."""
    on_topic = {(one["customer"], one["feature"]): one for one in found.balances.values()}
    lines = []
    for place, fields in wanted.balances.items():
        have = on_topic.get(place)
        shown = {} if have is None else {name: str(have.get(name, "")) for name in fields}
        if shown != fields:
            wrong = {
                name: (shown.get(name), fields[name]) for name in fields if shown.get(name) != fields[name]
            }
            lines.append(f"balance of {place}: (is, expected) {wrong}")
    lines += [
        f"balance of {place}: no customer is entitled" for place in on_topic if place not in wanted.balances
    ]
    for place, have in on_topic.items():
        if found.copied.get(place) != have:
            lines.append(f"balance of {place} in Redis: {found.copied.get(place)}, on the topic {have}")
    lines += [f"balance of {place} in Redis alone" for place in found.copied if place not in on_topic]
    return _short("balances", lines)


def firings_differ(wanted: Expected, found: Found, plan: Plan) -> list[str]:
    """Crossings = firings: each fact is fired once, nothing else is; what was fired of an ended period is resolved."""
    rules = {rule.id: rule.name for rule in [*plan.rules, plan.late_rule]}
    entitled = {one.id: one for one in [*plan.entitled, *plan.periods, *plan.late] if one.id}
    facts: Counter[Fact] = Counter()
    ended: Counter[tuple[str, str, str]] = (
        Counter()
    )  # rule, entitlement, threshold: fired of ended periods, not resolved
    lines = []
    for fired in found.fired:
        data, notes = fired.payload["data"], fired.body["annotations"]
        one = entitled[data["entitlement"]["id"]]
        who = (rules[fired.body["rule"]], one.customer.key, one.feature.key)
        if fired.id != fired.body["id"] or fired.id != fired.payload["id"]:
            lines.append(f"an alert has several ids: {fired.id} {fired.body['id']} {fired.payload['id']}")
        if fired.body["type"] == RESET:
            facts[Fact(*who, _second(data["period"]["from"]), "reset")] += 1
            continue
        named = [notes["threshold"], *data["passed"]]
        if fired.body["type"] == RESOLVED:
            ended.subtract((fired.body["rule"], one.id, name) for name in named)
            continue
        since_s = _second(data["period"]["from"])
        facts.update(Fact(*who, since_s, name) for name in named)
        if since_s in (one.since_s, *one.resets)[: len(one.resets)]:
            ended.update((fired.body["rule"], one.id, name) for name in named)
    lines += [f"fired {count} times: {fact}" for fact, count in facts.items() if count > 1]
    lines += [f"never fired: {fact}" for fact in wanted.facts if fact not in facts]
    lines += [f"fired, but not crossed: {fact}" for fact in facts if fact not in wanted.facts]
    lines += [f"resolved {-count} times too often: {key}" for key, count in ended.items() if count < 0]
    lines += [f"not resolved: {key}" for key, count in ended.items() if count > 0]
    lines += [f"the alert {id} occurs {count} times on the topic" for id, count in _twice(found.fired)]
    return _short("firings", lines)


def _twice(fired: Iterable[FiredAlert]) -> list[tuple[str, int]]:
    return [(id, count) for id, count in Counter(one.id for one in fired).items() if count > 1]


def webhooks_differ(found: Found, quotas: Quotas) -> list[str]:
    """Every alert came to each of its endpoints, with the bytes that it was fired with, and nothing else came."""
    paths = {quotas.endpoint(path): path for path in ("/good", "/shaky", "/hanging")}
    due = {
        (paths[id], one.id): one.body["payload"].encode()
        for one in found.fired
        for id in one.body["endpoints"]
    }
    lines = [f"the receiver refused a request: {error}" for error in quotas.refused]
    came = set()
    for got in quotas.receiver.got:
        came.add((got.path, got.id))
        if due.get((got.path, got.id)) != got.body:
            lines.append(f"{got.path} got {got.id}, which is no alert of its own, or with another body")
    lines += [f"{path} never got {id}" for path, id in due if (path, id) not in came]
    states = Counter(one.state for one in quotas.deliveries.snapshot().values())
    if set(states) - {"SUCCESS"} or states["SUCCESS"] != len(due):
        lines.append(f"{len(due)} deliveries are due, and there are {dict(states)}")
    return _short("webhooks", lines)


def named_events_differ(found: Found, plan: Plan, values: Iterable[bytes]) -> list[str]:
    """The event that an alert names was sent, for a subject of the customer."""
    named: dict[tuple[str, str], set[str]] = {}
    entitled = {one.id: one for one in [*plan.entitled, *plan.periods, *plan.late] if one.id}
    for fired in found.fired:
        event = fired.payload["data"].get("event")
        if event is not None:
            one = entitled[fired.payload["data"]["entitlement"]["id"]]
            named.setdefault((event["source"], event["id"]), set()).add(one.customer.key)
    subjects = {one.customer.key: set(one.customer.all_subjects) for one in entitled.values()}
    for move in plan.moves:
        subjects.setdefault(move.new.key, set()).add(move.subject)
    for value in values:
        try:
            event = json.loads(value)
            place = (event["source"], event["id"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(place[0], str) and isinstance(place[1], str) and place in named:
            named[place] = {key for key in named[place] if event["subject"] not in subjects[key]}
            if not named[place]:
                del named[place]
    return _short("named events", [f"{place} is no event of {sorted(keys)}" for place, keys in named.items()])


def _short(what: str, lines: list[str]) -> list[str]:
    more = [f"{what}: {len(lines)} differences in all"] if len(lines) > SHOWN else []
    return [f"{what}: {line}" for line in lines[:SHOWN]] + more


def _second(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())
