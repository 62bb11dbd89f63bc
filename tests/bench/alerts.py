"""How soon usage is a balance and a webhook, and how fast access is answered: `python -m tests.bench.alerts`.

    python -m tests.bench.alerts --rates 10000,5000 --seconds 30 --customers 200 --entitlements 5

A local stack, one worker a stage, a few hundred entitled customers, events at a steady rate. `balance` is the time from
giving an event to the Kafka producer until its customer's balance in Redis has it, measured on customers of its own
whose key is read again and again; where a customer has several entitlements, each event moves as many balances, and all
must have it. `webhook` is the time from there until the receiver has the request of the alert that names the event.
`check` is the time of POST /entitlements/check from the instant at which it was due.
A rate is held when the last balance is right within HELD_S of the last event. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import redis
from confluent_kafka import Producer

from pipeline.core.notifications.standard_webhooks import secret_text
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka.commands import Commands
from pipeline.stores.kafka.definitions import Replies, WorkersView
from tests.bench.checks import FEATURE, checks, quantiles
from tests.bench.hops import ages
from tests.bench.measure import cpu_s
from tests.flow.stack_process import StackProcess

NAMESPACE, METER, TYPE = "default", "llm_tokens", "llm.tokens"
HEADERS: list[tuple[str, str | bytes | None]] = [("content-type", b"application/cloudevents+json")]
TICK_S = 0.01
HELD_S = 2.0
LATEST_S = 120.0  # after which a balance is not waited for
WARM_S = 5.0  # of a rate, not measured
THRESHOLDS = ("25", "50", "100")
SHOWN_STAGES = ("ingest", "dedupe", "aggregate", "sink", "attribute", "alert", "live", "webhook")


@dataclass
class Customer:
    """wanted: usage that was sent. due: (usage, when it was given to the producer) of a probe in progress."""

    name: str
    id: str = ""
    wanted: int = 0
    due: tuple[int, float] | None = None


@dataclass
class Group:
    """Customers of one rate; `probes` are those whose balances are watched."""

    name: str
    customers: list[Customer]
    probes: list[Customer]


@dataclass
class Measured:
    balances: list[float] = field(default_factory=list)  # seconds
    webhooks: list[float] = field(default_factory=list)


class Defined:
    """Definitions by commands, several at once."""

    def __init__(self, settings: Settings, stack: ExitStack, features: Sequence[str]) -> None:
        self._features = features
        replies, workers = stack.enter_context(Replies(settings)), stack.enter_context(WorkersView(settings))
        self._commands = Commands(settings, replies, workers)

    def run(self, kind: str, body: dict[str, object]) -> dict[str, Any]:
        return self._commands.run(kind, NAMESPACE, body).body or {}

    def basics(self, url: str) -> None:
        """Meter, feature, endpoint, rule."""
        meter = {"slug": METER, "eventType": TYPE, "aggregation": "SUM", "valueProperty": "$.tokens"}
        revision = self._commands.run("meter.apply", NAMESPACE, {"meters": [meter]}).revision
        self._commands.until_known(revision)
        for feature in self._features:
            self.run("feature.create", {"key": feature, "name": feature, "meterSlug": METER})
        endpoint = {"type": "WEBHOOK", "name": "bench", "url": url, "signingSecret": secret_text(bytes(32))}
        thresholds = [{"type": "usage_percentage", "value": value} for value in THRESHOLDS]
        rule: dict[str, object] = {
            "type": "entitlements.balance.threshold", "name": "bench", "thresholds": thresholds,
            "channels": [self.run("endpoint.create", dict(endpoint))["id"]],
        }  # fmt: skip
        self.run("rule.create", rule)

    def group(self, name: str, customers: int, probes: int, usage: int, seed: int) -> Group:
        """usage: what each customer will have at the end; grants are a random share of it, so that alerts spread."""
        rng = Random(seed)
        made = Group(
            name,
            [Customer(f"{name}-{number}") for number in range(customers)],
            [Customer(f"{name}-probe-{number}") for number in range(probes)],
        )

        def entitle(customer: Customer, amount: int) -> None:
            body: dict[str, object] = {"key": customer.name, "name": customer.name}
            body["usageAttribution"] = {"subjectKeys": [f"{customer.name}/a", f"{customer.name}/b"]}
            customer.id = str(self.run("customer.create", body)["id"])
            for feature in self._features:
                entitlement: dict[str, object] = {
                    "type": "metered", "customerId": customer.id, "featureKey": feature,
                    "usagePeriod": {"interval": "MONTH"}, "issueAfterReset": amount,
                }  # fmt: skip
                self.run("entitlement.create", entitlement)

        with ThreadPoolExecutor(8) as pool:
            jobs = [
                pool.submit(entitle, one, max(1, int(usage * rng.uniform(0.1, 1)))) for one in made.customers
            ]
            jobs += [pool.submit(entitle, one, 10**9) for one in made.probes]
            for job in jobs:
                job.result()
        return made


class Load:
    """Sends events at a steady rate in a thread of its own; remembers when each event that matters was sent."""

    def __init__(self, settings: Settings) -> None:
        config = kafka.producer_config(settings)
        self._producer = Producer({**config, "linger.ms": 2, "queue.buffering.max.messages": 1_000_000})
        self._number = 0
        self.sent_at: dict[str, float] = {}  # id of an event -> when
        self.late_s = 0.0

    def send(self, customer: Customer, at_s: float, moment: str) -> None:
        """One event of one token more."""
        self._number += 1
        id, place = f"{customer.name}-{self._number}", "ab"[self._number & 1]
        line = (
            f'{{"specversion":"1.0","id":"{id}","source":"/bench","type":"{TYPE}","subject":"{customer.name}/{place}",'
            f'"time":"{moment}","data":{{"tokens":1,"model":"large-2"}}}}'
        )
        customer.wanted += 1
        self.sent_at[id] = at_s
        self._producer.produce("events", line.encode(), id.encode(), headers=HEADERS)

    def run(self, group: Group, rate: int, seconds: float) -> int:
        """Sends `rate` events a second; returns how many once the broker has all."""
        began_s, sent, total = time.perf_counter(), 0, int(rate * seconds)
        many, first = len(group.customers), self._number
        while sent < total:
            now_s = time.time()
            moment = _moment(now_s)
            due = min(total, int((time.perf_counter() - began_s) * rate))
            for number in range(sent, due):
                self.send(group.customers[number % many], now_s, moment)
            sent = due
            self._producer.poll(0)
            time.sleep(TICK_S)
        self.late_s = time.perf_counter() - began_s - seconds
        self._producer.flush(60)
        return self._number - first

    def probe(self, customer: Customer) -> None:
        now_s = time.time()
        customer.due = (customer.wanted + 1, now_s)
        self.send(customer, now_s, _moment(now_s))
        self._producer.poll(0)


def _moment(at_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s)) + f".{int(at_s % 1 * 1000):03d}Z"


class Copy:
    """Usage by customer as Redis has it; of several features the least."""

    def __init__(self, settings: Settings, features: Sequence[str]) -> None:
        self._features = features
        self._redis: Any = redis.Redis.from_url(settings.redis)
        self._prefix = ""

    def usage(self, customers: Sequence[Customer]) -> list[int]:
        if not self._prefix:
            for key in self._redis.scan_iter("tallymark:*:balances:*"):
                self._prefix = key.decode().rpartition("/")[0] + "/"
                break
        with self._redis.pipeline(transaction=False) as pipe:
            for one in customers:
                pipe.hmget(self._prefix + one.id, self._features)
            return [min(map(_usage, values)) for values in pipe.execute()]


def _usage(value: bytes | None) -> int:
    return -1 if value is None else int(msgspec.json.decode(value[20:])["usage"] or 0)


def watch(
    load: Load, copy: Copy, group: Group, over: threading.Event, found: list[tuple[float, float]]
) -> None:
    """Sends one event after the other for each probe, each when the one before has arrived; (when sent, seconds)."""
    rng = Random(7)
    next_s = {one.name: time.time() + rng.random() for one in group.probes}
    while not over.is_set() or any(one.due for one in group.probes):
        now_s = time.time()
        for one in group.probes:
            if one.due is None and not over.is_set() and next_s[one.name] <= now_s:
                load.probe(one)
        waiting = [one for one in group.probes if one.due is not None]
        for one, usage in zip(waiting, copy.usage(waiting) if waiting else [], strict=True):
            assert one.due is not None
            if usage >= one.due[0] or time.time() - one.due[1] > LATEST_S:
                found.append((one.due[1], time.time() - one.due[1]))
                one.due, next_s[one.name] = None, time.time() + rng.random()
        time.sleep(0.002)


def settled(copy: Copy, group: Group) -> float:
    """Seconds until every balance is right; LATEST_S if never."""
    began_s = time.perf_counter()
    while time.perf_counter() - began_s < LATEST_S:
        everybody = [*group.customers, *group.probes]
        if all(usage == one.wanted for one, usage in zip(everybody, copy.usage(everybody), strict=True)):
            return time.perf_counter() - began_s
        time.sleep(0.02)
    return LATEST_S


@contextmanager
def receiving(arrived: list[tuple[float, bytes]]) -> Iterator[str]:
    """A receiver that says yes at once."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            at_s = time.time()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            arrived.append((at_s, body))

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def at_rate(
    stack: StackProcess,
    load: Load,
    copy: Copy,
    group: Group,
    rate: int,
    seconds: float,
    arrived: list[tuple[float, bytes]],
) -> bool:
    """One rate; prints its figures. Whether it was held."""
    found: list[tuple[float, float]] = []
    over = threading.Event()
    watcher = threading.Thread(target=watch, args=(load, copy, group, over, found), daemon=True)
    arrived.clear()
    before = {stage: sum(map(cpu_s, stack.workers(stage))) for stage in SHOWN_STAGES}
    began_s = time.time()
    watcher.start()
    sent = load.run(group, rate, seconds)
    took_s = time.time() - began_s
    over.set()
    rest_s = settled(copy, group)
    watcher.join(LATEST_S)
    time.sleep(1)  # the last webhooks
    used = {stage: sum(map(cpu_s, stack.workers(stage))) - before[stage] for stage in SHOWN_STAGES}
    warm_s = began_s + min(WARM_S, seconds / 3)
    balances = [taken for at_s, taken in found if at_s > warm_s]
    webhooks = []
    for at_s, body in list(arrived):
        event = json.loads(body)["data"].get("event")
        sent_s = load.sent_at.get(event["id"]) if event else None
        if sent_s is not None and sent_s > warm_s:
            webhooks.append(at_s - sent_s)
    held = rest_s <= HELD_S
    print(
        f"{rate:,} events/s asked, {sent / took_s:,.0f} sent, {sent:,} in all, {'held' if held else 'NOT held'}: ",
        end="",
    )
    print(f"all balances right {rest_s:.2f} s after the last event; the sender was {load.late_s:.2f} s late")
    print(f"  balance (ms)  {quantiles(balances, 1e3)}")
    print(f"  webhook (ms)  {quantiles(webhooks, 1e3)}, {len(arrived)} received")
    shares = ", ".join(f"{stage} {used[stage] / (took_s + rest_s):.0%}" for stage in SHOWN_STAGES)
    print(f"  of a core: {shares}", flush=True)
    for topic, aged in ages(stack.settings, int(warm_s * 1e3)).items():
        print(f"  age on {topic:<16} (ms) {quantiles(aged)}", flush=True)
    return held


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.alerts", description=__doc__)
    parser.add_argument(
        "--rates", default="10000", help="events a second, separated by commas, tried in this order"
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="of each rate")
    parser.add_argument("--customers", type=int, default=300)
    parser.add_argument("--entitlements", type=int, default=1, help="of each customer, all of one meter")
    parser.add_argument("--probes", type=int, default=20)
    parser.add_argument("--checks", type=int, default=1_000, help="a second")
    parser.add_argument("--beside", type=int, default=0, help="events a second while checks are asked")
    parser.add_argument("--check-seconds", type=float, default=10.0)
    parser.add_argument("--data", type=Path, help="new or empty folder; default: a temporary one")
    arguments = parser.parse_args()
    folder = arguments.data or Path(tempfile.mkdtemp(prefix="bench-alerts-"))
    arrived: list[tuple[float, bytes]] = []
    with ExitStack() as within:
        stack = within.enter_context(StackProcess(folder))
        settings = stack.settings
        url = within.enter_context(receiving(arrived))
        features = [FEATURE, *(f"{FEATURE}_{number}" for number in range(1, arguments.entitlements))]
        defined = Defined(settings, within, features)
        defined.basics(url)
        load, copy = Load(settings), Copy(settings, features)
        names: list[str] = []
        for place, rate in enumerate(int(one) for one in arguments.rates.split(",")):
            usage = int(rate * arguments.seconds / arguments.customers)
            group = defined.group(f"g{place}", arguments.customers, arguments.probes, usage, place)
            rest_s = settled(copy, group)
            print(
                f"{len(group.customers)} customers are entitled, after {rest_s:.1f} s",
                file=sys.stderr,
                flush=True,
            )
            at_rate(stack, load, copy, group, rate, arguments.seconds, arrived)
            names = [one.name for one in group.customers]
        for per_request in (10, 1):
            # Some seconds more than the checks take, which begin with a warm-up.
            beside = threading.Thread(
                target=load.run, args=(group, arguments.beside, arguments.check_seconds + WARM_S)
            )
            beside.start()
            asyncio.run(checks(stack, names, per_request, arguments.checks, arguments.check_seconds))
            beside.join()
    print(f"cores {os.cpu_count()}, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
