"""Calls to Stripe: one at a time in a lane, only by the proven owner, never later than Stripe remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from pipeline.agents.stripe_accounts import StripeAccount, StripeAccounts
from pipeline.agents.stripe_dispatch import StripeDispatcher, StripeLimits
from pipeline.agents.stripe_events import StripeEvents
from pipeline.core.billing.stripe_outcome import StripeAnswer
from pipeline.core.billing.stripe_window import SURE_MS
from pipeline.core.definitions.changes import Changes
from pipeline.core.values.sealed import Seal
from pipeline.engine.chunk import Position
from pipeline.errors import Rejected
from pipeline.records import StripeWork
from pipeline.stores.kafka.writer import WrittenRecord
from pipeline.stores.stripe_api import MeterEvent, StripeApi
from tests.core.billing.stripe_world import (
    FROM_S,
    HOUR_MS,
    StripeWorld,
    app,
    customer_app,
    mapping,
    usage_window,
)
from tests.fixtures.fake_transaction import DictTable

LEASE_S = 60.0


class Api:
    """Stripe, which answers when the test says so."""

    def __init__(self) -> None:
        self.sent: list[MeterEvent] = []
        self.begun = self.looks = 0
        self.has_no_customer = False
        self.answer: Callable[[MeterEvent], StripeAnswer] = lambda _: StripeAnswer(200)
        self.before_writing: Callable[[], None] = lambda: None

    async def send(self, event: MeterEvent, may_write: Callable[[], bool]) -> StripeAnswer | None:
        self.begun += 1
        self.before_writing()
        if not may_write():
            return None
        self.sent.append(event)
        return self.answer(event)

    async def summaries(self, *_: Any) -> list[Any]:
        self.looks += 1
        if self.has_no_customer:
            raise Rejected("stripe-refused", "No such customer: 'cus_a'")
        return []

    async def close(self) -> None:
        """Nothing."""


class Bench:
    """A dispatcher over the table of a world with one request in progress.

    inherits: whether the request was made before the worker had the partition.
    """

    def __init__(self, inherits: bool = True) -> None:
        self.world = StripeWorld(mapping(), customer_app(4, "a", "cus_a"))
        self.world.record([usage_window("a", FROM_S, "5", 1)])
        self.world.tick(pass_ms=2 * HOUR_MS)
        self.world.table.commit()
        self.api = Api()
        self.records: list[WrittenRecord] = []
        self.proofs: list[int] = []
        self.now_ms, self.sleeps_s = self.world.now_ms, 0.0
        accounts = StripeAccounts(Seal(), "")
        accounts.update(Changes({"default/app/01APP": app(20)}))
        self.machine_s, self._made = 0.0, [] if inherits else self.world.flights()
        partition = SimpleNamespace(table=self.world.table if inherits else DictTable())
        stage = SimpleNamespace(partitions={Position("stripe-work", 0): partition}, fail=_fail)

        def make_api(_: StripeAccount) -> StripeApi:
            return cast(StripeApi, self.api)

        async def record(one: WrittenRecord) -> None:
            self.records.append(one)

        self.dispatcher = StripeDispatcher(
            StripeEvents(), cast(Any, stage), accounts, make_api, record, StripeLimits(1_000, 1_000, 1, LEASE_S),
            lambda: self.now_ms, self.proofs.append, lambda: self.machine_s,
        )  # fmt: skip

    def run(self, is_over: Callable[[], bool]) -> None:
        """Run until something has happened, or for a second."""

        async def wait() -> None:
            self.dispatcher.restart()
            self.machine_s += self.sleeps_s
            self.dispatcher.note(0, [(one.lane, one) for one in self._made])
            for _ in range(100):
                if is_over():
                    break
                self.now_ms += 10
                await asyncio.sleep(0.01)
            await self.dispatcher.stop()

        asyncio.run(wait())

    def works(self) -> list[StripeWork]:
        return [
            msgspec.json.decode(one.value or b"", type=StripeWork)
            for one in self.records
            if one.topic == "stripe-work"
        ]


def _fail(error: BaseException) -> None:
    raise error


def test_a_request_in_progress_is_sent_with_its_bytes_and_its_outcome_is_a_record() -> None:
    bench = Bench()
    (flight,) = bench.world.flights()
    bench.run(lambda: bool(bench.records))
    (event,), (work,) = bench.api.sent, bench.works()
    assert (event.identifier, event.payload, event.at_s) == (
        flight.sent.identifier, flight.sent.payload, FROM_S,
    )  # fmt: skip
    assert (work.kind, work.outcome, work.identifier) == ("attempt", "done", flight.sent.identifier)


def test_a_call_whose_record_has_not_been_applied_is_not_repeated() -> None:
    bench = Bench()
    bench.run(lambda: len(bench.api.sent) > 1)
    assert len(bench.api.sent) == 1


def test_without_a_proof_that_the_partition_is_owned_nothing_is_called() -> None:
    bench = Bench()
    bench.sleeps_s = LEASE_S
    bench.run(lambda: bool(bench.api.sent))
    assert not bench.api.sent and bench.proofs and set(bench.proofs) == {0}


def test_a_request_that_stripe_may_have_forgotten_is_looked_up_and_not_sent() -> None:
    bench = Bench()
    bench.now_ms += SURE_MS
    bench.run(lambda: bool(bench.records))
    (work,) = bench.works()
    assert not bench.api.sent and bench.api.looks == 1
    assert (work.kind, work.units, work.outcome) == ("seen", "0", "")


def test_a_call_that_stripe_may_have_forgotten_when_its_bytes_are_written_is_not_made() -> None:
    """The worker was frozen within the call, for as long as Stripe remembers an identifier."""
    bench = Bench()

    def sleep() -> None:
        bench.now_ms += SURE_MS

    bench.api.before_writing = sleep
    bench.run(lambda: bool(bench.records))
    (work,) = bench.works()
    assert (bench.api.begun, bench.api.sent, work.kind) == (1, [], "seen")


def test_a_call_whose_partition_is_not_proven_any_more_when_its_bytes_are_written_is_not_made() -> None:
    """The worker was frozen within the call, and another one may have the partition."""
    bench = Bench()

    def sleep() -> None:
        bench.machine_s += LEASE_S

    bench.api.before_writing = sleep
    bench.run(lambda: len(bench.proofs) > 0)
    assert (bench.api.begun, bench.api.sent, bench.records, bench.proofs) == (1, [], [], [0])


@pytest.mark.parametrize(("slept_s", "outcome"), [(0.0, "refused"), (LEASE_S, "unknown")])
def test_a_refusal_proves_nothing_when_another_owner_may_have_sent_it_too(
    slept_s: float, outcome: str
) -> None:
    bench = Bench(inherits=False)

    def refuse(_: MeterEvent) -> StripeAnswer:
        bench.machine_s += slept_s
        return StripeAnswer(400, message="The meter is archived.")

    bench.api.answer = refuse
    bench.run(lambda: bool(bench.records))
    assert [work.outcome for work in bench.works()] == [outcome]


def test_a_refused_key_is_reported_once_and_not_used_again() -> None:
    bench = Bench()
    bench.api.answer = lambda _: StripeAnswer(401, message="Invalid API Key provided")
    bench.run(lambda: len(bench.records) > 2)
    command, work = bench.records
    assert (command.topic, work.topic, len(bench.api.sent)) == ("commands", "stripe-work", 1)
    assert b'"app.unauthorized"' in (command.value or b"") and b'"revision":20' in (command.value or b"")


def test_a_refusal_of_what_another_owner_may_have_sent_proves_nothing() -> None:
    """That owner's call may have succeeded, and its record may be lost: the meter was archived in between."""
    bench = Bench()
    bench.api.answer = lambda _: StripeAnswer(400, message="The meter is archived.")
    bench.run(lambda: bool(bench.records))
    (work,) = bench.works()
    assert (work.outcome, work.message, work.stored) == ("unknown", "The meter is archived.", True)


def test_after_such_a_refusal_the_summaries_are_read_within_hours_and_then_it_is_refused() -> None:
    bench = Bench()
    world = bench.world
    (flight,) = world.flights()
    doubt = StripeWork(
        "attempt", namespace=flight.sent.namespace, customer="a", mapping=flight.sent.mapping,
        identifier=flight.sent.identifier, outcome="unknown", message="The meter is archived.", stored=True,
    )  # fmt: skip
    world.record(doubt)
    began_ms = world.now_ms
    for _ in range(9):
        world.tick(pass_ms=HOUR_MS // 4)
        world.call("400")
    assert world.now_ms - began_ms < 3 * HOUR_MS and world.flights() == []
    (shown,) = world.shown.values()
    assert (shown.unsendable, shown.cause, shown.message) == (5, "refused", "No such customer")


def test_a_customer_that_stripe_does_not_have_ends_the_doubt() -> None:
    bench = Bench()
    bench.api.has_no_customer = True
    bench.now_ms += SURE_MS
    bench.run(lambda: bool(bench.records))
    (work,) = bench.works()
    assert (work.kind, work.outcome, work.message) == ("seen", "refused", "No such customer: 'cus_a'")
    bench.world.record(work)
    assert bench.world.flights() == []
