"""ATTRIBUTE as an agent: windows go to their customer's partition, whole and in order."""

from __future__ import annotations

import msgspec

from pipeline.agents.attribute import BILLING, STRIPE, fill
from pipeline.agents.barriers import least_revision
from pipeline.core.customers.attribution import Holders, Holding
from pipeline.core.definitions.changes import Changes
from pipeline.core.metering.identity import customer_hash
from pipeline.records import CustomerWindow, Definition, Window
from tests.core.customers.test_attribution import definition, window
from tests.fixtures.fake_transaction import FakeTransactions, chunk_of

PARTITIONS = 4


def holders() -> Holders:
    made = Holders()
    changes = {name: definition(name, [Holding(0, f"customer-{name}")]) for name in ("ann", "bob", "cy")}
    made.update(
        Changes({**changes, "f": Definition(2, "feature", "default", "f", "", 0, {"meterSlug": "tokens"})})
    )
    return made


def packed(*windows: Window) -> bytes:
    return msgspec.json.encode(list(windows))


def test_windows_go_to_the_partition_of_their_customer_in_order() -> None:
    windows = [window(name, minute * 60) for minute in range(5) for name in ("ann", "bob", "cy", "unknown")]
    working = FakeTransactions(chunk_of("usage", [packed(*windows[:7]), packed(*windows[7:])]))
    fill(working.transaction, holders(), PARTITIONS)
    found: list[CustomerWindow] = []
    for sent in working.to("customer-usage"):
        for one in msgspec.json.decode(sent.value or b"", type=list[CustomerWindow]):
            assert customer_hash("default", one.customer) % PARTITIONS == sent.partition
            found.append(one)
    assert len(found) == 15
    for name in ("ann", "bob", "cy"):
        mine = [one.window for one in found if one.customer == f"customer-{name}"]
        assert mine == [one for one in windows if one.subject == name]
    assert working.counts == {"default": {"attributed": 15}}


def test_a_replay_is_not_counted_again() -> None:
    working = FakeTransactions(
        chunk_of("usage", [packed(window("ann", 0)), packed(window("bob", 0))]), counted_offset=0
    )
    fill(working.transaction, holders(), PARTITIONS)
    assert working.counts == {"default": {"attributed": 1}}
    assert sum(len(msgspec.json.decode(sent.value or b"")) for sent in working.sent) == 2


def test_without_anything_watched_nothing_is_written() -> None:
    working = FakeTransactions(chunk_of("usage", [packed(window("ann", 0))]))
    fill(working.transaction, Holders(), PARTITIONS)
    assert working.sent == []


def test_marks_say_which_definitions_hold_from_there_on() -> None:
    chunk = chunk_of("usage", [b"[]", packed(window("ann", 0))])
    chunk.records[0].key = b"seed/41/x"  # type: ignore[misc]
    working = FakeTransactions(chunk)
    fill(working.transaction, holders(), PARTITIONS)
    assert len(working.sent) == 1
    later = FakeTransactions(chunk_of("usage", [packed(window("ann", 0))]), working.table)
    assert least_revision(later.transaction) == 41


def test_a_mapped_meter_goes_to_stripe_only_and_a_watched_one_to_both_where_it_is_mapped() -> None:
    mapping = Definition(3, "stripe-meter", "default", "m", "", 0, {"meterSlug": "calls"})
    known = holders()
    known.update(Changes({"default/stripe-meter/m": mapping}))
    assert known.watched == {("default", "tokens")}
    tokens = window("ann", 0)
    calls = msgspec.structs.replace(tokens, meter="calls", meter_id=tokens.meter_id + 1)
    chunk = chunk_of("usage", [packed(tokens, calls)])
    for mapped, topics in (
        ({calls.meter_id}, {"customer-usage": [tokens], "stripe-work": [calls]}),
        ({tokens.meter_id, calls.meter_id}, {"customer-usage": [tokens], "stripe-work": [tokens, calls]}),
        (set[int](), {"customer-usage": [tokens]}),
    ):
        working = FakeTransactions(chunk)
        fill(working.transaction, known, PARTITIONS, {STRIPE: mapped})
        found = {
            sent.topic: [
                one.window for one in msgspec.json.decode(sent.value or b"", type=list[CustomerWindow])
            ]
            for sent in working.sent
        }
        assert found == topics


def test_a_billed_meter_goes_to_billing_too_and_to_the_partition_of_its_customer() -> None:
    tokens = window("ann", 0)
    calls = msgspec.structs.replace(tokens, meter="calls", meter_id=tokens.meter_id + 1)
    working = FakeTransactions(chunk_of("usage", [packed(tokens, calls)]))
    meters = {STRIPE: {calls.meter_id}, BILLING: {calls.meter_id, tokens.meter_id}}
    fill(working.transaction, holders(), PARTITIONS, meters)
    target = customer_hash("default", "customer-ann") % PARTITIONS
    sent = {
        one.topic: (one.key, one.partition, msgspec.json.decode(one.value or b"", type=list[CustomerWindow]))
        for one in working.sent
    }
    both, billed = CustomerWindow("customer-ann", tokens), CustomerWindow("customer-ann", calls)
    assert sent == {
        "customer-usage": (None, target, [both]),
        "stripe-work": (None, target, [billed]),
        "billing-work": (None, target, [both, billed]),
    }
