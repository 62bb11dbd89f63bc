"""One partition of the stage without a broker: definitions, a log of records, and a Stripe that loses calls."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random

from pipeline.core.billing.stripe_index import StripeIndex
from pipeline.core.billing.stripe_mappings import StripeDefinitions, Touched
from pipeline.core.billing.stripe_outcome import StripeAnswer, outcome_of
from pipeline.core.billing.stripe_rows import REQUEST
from pipeline.core.billing.stripe_state import StripeFlight, StripeTerms
from pipeline.core.billing.stripe_sweep import StripeSweeps
from pipeline.core.billing.stripe_table import StripeTable
from pipeline.core.billing.stripe_window import must_look
from pipeline.core.definitions.changes import Changes
from pipeline.core.values import number
from pipeline.core.values.timestamp import text_of
from pipeline.records import CustomerWindow, Definition, StripeUsage, StripeWork, Window
from tests.fixtures.fake_transaction import DictTable

NAMESPACE, APP, METER_ID = "default", "01APP", 7
HOUR_S, HOUR_MS, DAY_MS = 3_600, 3_600_000, 86_400_000
FROM_S = 1_800_000_000 // 86_400 * 86_400
FROM_MS = FROM_S * 1_000
CREATED = text_of(FROM_MS)
TERMS = StripeTerms(grace_ms=60_000, pause_ms=10_000)

Place = tuple[str, str, int]  # Stripe's customer, event name, start of the hour


def definition(revision: int, kind: str, name: str, body: dict[str, object] | None) -> Definition:
    return Definition(revision, kind, NAMESPACE, name, "test", 1, body)


def meter(revision: int = 1) -> Definition:
    body: dict[str, object] = {
        "slug": "tokens", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.n", "groupBy": {},
        "meterId": METER_ID, "id": "01METER", "name": "tokens", "description": "", "metadata": {},
    }  # fmt: skip
    return definition(revision, "meter", "tokens", body)


def app(revision: int = 2, status: str = "ready", **more: object) -> Definition:
    body: dict[str, object] = {
        "id": APP, "type": "stripe", "name": "Stripe", "status": status, "stripeAccountId": "acct_sandbox",
        "livemode": False, "maskedApiKey": "sk_test***", "sealedApiKey": "sk_test_sandbox", "createdAt": CREATED,
        "updatedAt": CREATED, **more,
    }  # fmt: skip
    return definition(revision, "app", APP, body)


def customer_app(revision: int, customer: str, stripe_id: str, **more: object) -> Definition:
    body: dict[str, object] = {
        "customerId": customer, "appId": APP, "stripeCustomerId": stripe_id, "createdAt": CREATED, "updatedAt": CREATED,
        **more,
    }  # fmt: skip
    return definition(revision, "customer-app", f"{customer}.{APP}", body)


def mapping(
    revision: int = 3, id: str = "01MAP", multiplier: str = "1", window: str = "HOUR", **more: object
) -> Definition:
    body: dict[str, object] = {
        "id": id, "appId": APP, "meterSlug": "tokens", "meterId": "01METER", "eventName": f"tokens-{id}",
        "stripeMeterId": "mtr_1", "customerKey": "stripe_customer_id", "valueKey": "value", "window": window,
        "multiplier": multiplier, "fromAt": CREATED, "createdAt": CREATED, "updatedAt": CREATED, **more,
    }  # fmt: skip
    return definition(revision, "stripe-meter", id, body)


def usage_window(
    customer: str, minute_s: int, value: str, revision: int, model: str = "", meter_id: int = METER_ID
) -> CustomerWindow:
    dimensions = {"model": model} if model else {}
    window = Window(
        NAMESPACE,
        "tokens",
        meter_id,
        f"of-{customer}",
        dimensions,
        minute_s,
        value,
        1,
        value,
        "",
        [],
        revision,
        0,
    )
    return CustomerWindow(customer, window)


@dataclass
class LosingStripe:
    """Sums by customer, event name and hour; identifiers of 24 hours."""

    sums: defaultdict[Place, int] = field(default_factory=lambda: defaultdict(int))
    bodies: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    calls: int = 0
    _taken: dict[str, int] = field(default_factory=dict)

    def send(self, flight: StripeFlight, now_ms: int, fault: str) -> StripeAnswer | None:
        """An answer; None: the worker died before it could be recorded."""
        sent, self.calls = flight.sent, self.calls + 1
        self.bodies[sent.identifier].add(f"{sent.event_name} {sorted(sent.payload.items())} {sent.start_s}")
        if fault == "400":
            return StripeAnswer(400, message="No such customer")
        if fault in ("ok", "stored-lost", "stored-500", "stored-died"):
            if now_ms - self._taken.get(sent.identifier, -(10**15)) < 24 * HOUR_MS:
                text = f"An event already exists with identifier {sent.identifier}."
                return StripeAnswer(400, message=text) if fault == "ok" else None
            self._taken[sent.identifier] = now_ms
            place = (sent.payload["stripe_customer_id"], sent.event_name, sent.start_s)
            self.sums[place] += int(sent.payload["value"])
        return {
            "ok": StripeAnswer(200), "429": StripeAnswer(429), "500": StripeAnswer(500), "lost": StripeAnswer(0),
            "401": StripeAnswer(401), "stored-lost": StripeAnswer(0), "stored-500": StripeAnswer(500),
        }.get(fault)  # fmt: skip


class StripeWorld:
    """Records are applied one chunk each. `crash` forgets what is in memory and reads a suffix of the log again."""

    def __init__(self, *definitions: Definition, terms: StripeTerms = TERMS, seeded: bool = True) -> None:
        self.table = DictTable()
        self.definitions = StripeDefinitions()
        self.stripe = LosingStripe()
        self.shown: dict[tuple[object, ...], StripeUsage] = {}
        self.now_ms = FROM_MS
        self.past = 0
        self.unsendable: Counter[str] = Counter()
        self._terms = terms
        self._index = StripeIndex()
        self._sweeps = StripeSweeps()
        self._log: list[tuple[int, list[CustomerWindow] | StripeWork]] = []
        self.define(meter(), app(), *definitions)
        if seeded:
            ids = [one.name for one in definitions if one.kind == "stripe-meter"]
            self.tick(*[["seeded", NAMESPACE, id, "9"] for id in ids])

    def define(self, *definitions: Definition) -> list[Touched]:
        records = {f"{one.namespace}/{one.kind}/{one.name}": one for one in definitions}
        return self.definitions.update(Changes(records))

    def change(self, *definitions: Definition) -> None:
        """Define, and apply the clock record that follows."""
        self.tick(*[list(one) for one in self.define(*definitions)])

    def record(self, value: list[CustomerWindow] | StripeWork) -> None:
        self._log.append((self.now_ms, value))
        self._apply(len(self._log) - 1, len(self._log))

    def tick(self, *items: list[str], pass_ms: int = 0) -> None:
        self.now_ms += pass_ms
        self.record(StripeWork("clock", items=list(items)))

    def crash(self, again: int) -> None:
        """Another owner starts, and reads the last records again."""
        self._index = StripeIndex()
        self.table.commit()
        self._index.load(self.table)
        rows = dict(self.table.rows)
        self._apply(max(0, len(self._log) - again), len(self._log))
        assert self.table.rows == rows, "a record that was applied changed something again"
        self.tick(["owned"])

    def _apply(self, start: int, end: int) -> None:
        self.table.commit()
        table = StripeTable(self.table, self._index, self.definitions, self._terms)
        for offset in range(start, end):
            at_ms, value = self._log[offset]
            if isinstance(value, StripeWork):
                table.apply(value, offset, at_ms)
            else:
                table.take(value, offset, at_ms)
        table.sweep(0, self._sweeps)
        table.flush()
        self.past += table.past
        self.unsendable.update(table.unsendable)
        for one in table.usage():
            key = (one.mapping, one.customer, tuple(one.dimensions.items()), one.start_s)
            if key not in self.shown or self.shown[key].revision <= one.revision:
                self.shown[key] = one
        assert {flight.lane for flight in self.flights()} == self._index.busy

    def flights(self) -> list[StripeFlight]:
        """Every request in progress, as another owner finds them."""
        self.table.commit()
        table = StripeTable(self.table, StripeIndex(), self.definitions, self._terms)
        lanes = [key[1:] for key, _ in self.table.scan(REQUEST, 10_000) if key.startswith(REQUEST)]
        return [flight for lane in lanes if (flight := table.flight(lane)) is not None]

    def call(self, fault: str = "ok") -> int:
        """Make every call that is due, and record what resulted from it. Returns how many were made."""
        made = 0
        for flight in self.flights():
            app_now = self.definitions.app(flight.sent.namespace, flight.sent.app)
            if flight.request.next_at_ms > self.now_ms or app_now is None or not app_now.ready:
                continue
            made += 1
            if must_look(flight.request, self.now_ms):
                sent = flight.sent
                place = (sent.stripe_customer, sent.event_name, sent.start_s)
                self._answer(
                    flight, StripeWork("seen", units=number.text(self.stripe.sums[place] * number.SCALE))
                )
                continue
            answer = self.stripe.send(flight, self.now_ms, fault)
            if answer is not None:
                outcome = outcome_of(answer, flight.sent.identifier)
                work = StripeWork("attempt", outcome=outcome, status=answer.status, message=answer.message)
                self._answer(flight, work)
        return made

    def _answer(self, flight: StripeFlight, work: StripeWork) -> None:
        sent = flight.sent
        work.namespace, work.customer, work.mapping = sent.namespace, sent.customer, sent.mapping
        work.identifier = sent.identifier
        self.record(work)

    def settle(self, hours: int = 60) -> None:
        """Let time pass without faults, at most so many hours, until nothing is in progress and nothing is due."""
        for _ in range(4 * hours):
            self.tick(pass_ms=HOUR_MS // 4)
            while self.call():
                pass
            if not self.flights() and not self._index.waiting:
                return

    def random_call(self, random: Random) -> None:
        faults = ["ok", "ok", "429", "500", "lost", "stored-lost", "stored-500", "died", "stored-died"]
        self.call(random.choice(faults))
