"""Every command that billing applied is recorded once, also when it is read or sent again."""

from __future__ import annotations

import msgspec

from pipeline.core.definitions.audit import APPLIED
from pipeline.records import Command
from tests.core.bills.bill_world import BillWorld, at
from tests.core.bills.invoices_made import line, pending


def notes(world: BillWorld) -> list[Command]:
    return [one for one in world.published.commands.values() if one.applied]


def test_a_command_is_recorded_with_what_it_asked_and_did() -> None:
    world = BillWorld()
    id = world.subscribe()
    [note] = notes(world)
    assert (note.kind, note.actor, note.namespace) == ("subscription.create", "ann", "default")
    assert (note.applied, note.body["id"], note.request) == ("command-0", id, note.id)
    done = note.body[APPLIED]
    assert isinstance(done, dict)
    assert done["asked"]["sent"]["plan"] == {"key": "simple"}
    assert done["done"]["subscriptions"] == [id]
    [waiting] = pending(world, line())
    assert [one.kind for one in notes(world)] == ["subscription.create", "invoice.pending-lines"]
    assert notes(world)[1].body["id"] == world.gathering().content.id
    assert waiting


def test_what_is_refused_or_was_done_before_is_not_recorded_and_a_replay_records_the_same() -> None:
    world = BillWorld()
    sent = {"customerId": world.customer, "plan": {"key": "simple"}}
    world.send("subscription.create", sent, command="key-1", request="r1")
    assert world.send("subscription.create", sent, command="key-1", request="r1").repeated
    assert world.refused("subscription.create", {"customerId": world.customer, "plan": {"key": "none"}})
    assert len(notes(world)) == 1
    published = dict(world.published.commands)
    for logged in list(world.log):
        world.play([logged])
    assert msgspec.json.encode(world.published.commands) == msgspec.json.encode(published)
    world.until(at("2026-03-01"))
    assert len(notes(world)) == 1  # the clock is no command
