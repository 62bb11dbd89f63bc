"""python -m tests.core.proof.every_line --invoices 1000

Customers with random days of events in and out of order, until so many invoices are issued. Each line by usage lists
the events that sum to its quantity, the proof of each invoice is right and its root is that of its rows, and in each
proof one event that is tampered with is named. Exit code 1 otherwise.

Owns: the customers, the checks, the figures. Does not own: proofs (proofs), random days (random_bills), the small form
(test_every_line).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random

import msgspec

from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.proof.proof_check import check_proof
from pipeline.core.proof.proof_file import ProofRoot, ProofRow, ProvenEvent
from pipeline.errors import Broken
from tests.core.bills.test_bill_laws import PRICES
from tests.core.explain.explain_world import ExplainWorld
from tests.core.explain.random_bills import random_days, subscribed, with_price
from tests.core.proof.proofs import issued, proof_of

AGGREGATIONS = ("SUM", "COUNT", "UNIQUE_COUNT", "LATEST")
CHANGED = {"m0": "m9"}


@dataclass
class LinesFound:
    """explained: lines by usage. corrections: of them. tampered: events. wrong: a sentence for each difference."""

    invoices: int = 0
    explained: int = 0
    corrections: int = 0
    events: int = 0
    tampered: int = 0
    wrong: list[str] = field(default_factory=list)


def customer(place: int) -> ExplainWorld:
    """A customer after some months; `place` decides its meter, its price and what happens."""
    aggregation = AGGREGATIONS[place % len(AGGREGATIONS)]
    random = Random(f"every line/{place}")
    world = subscribed(aggregation, plan=with_price(PRICES[place // len(AGGREGATIONS) % len(PRICES)]))
    subscription = next(iter(world.bills.published.subscriptions))
    for _ in range(16):
        subscription = random_days(world, random, subscription, most=9, models="ab")
    return world


def check_customer(world: ExplainWorld, random: Random, found: LinesFound) -> None:
    """Check every invoice of a customer."""
    for line in world.line_ids():
        try:
            explained = world.explained(line)
        except Broken as error:
            found.wrong.append(str(error))
            continue
        found.explained += 1
        found.corrections += explained.basis.line.corrects is not None
        found.events += len(explained.events)
    for invoice in issued(world):
        found.invoices += 1
        try:
            rows = proof_of(world, invoice)
        except Broken as error:
            found.wrong.append(str(error))
            continue
        found.wrong += wrong_proof(invoice, rows)
        if (place := _event(rows, random)) is not None:
            found.tampered += 1
            found.wrong += _unseen(rows, place)


def wrong_proof(invoice: StoredInvoice, rows: list[bytes]) -> Iterator[str]:
    """What is wrong with a proof: by its own check, and by a tree that is computed here."""
    report = check_proof(rows)
    yield from report.wrong
    *leaves, last = [msgspec.json.decode(row, type=ProofRow) for row in rows]
    root = msgspec.json.decode(last.body, type=ProofRoot)
    hashes = [sha256(b"\x00" + row.kind.encode() + b"\n" + bytes(row.body)).digest() for row in leaves]
    if (root.rows, root.root) != (len(leaves), _root(hashes).hex()):
        yield f"The proof of {invoice.content.id} has the root {root.root}, which is not that of its rows."
    if report.invoice is None or report.invoice.total != invoice.content.totals.total:
        yield f"The proof of {invoice.content.id} is not over its total."


def _root(leaves: list[bytes]) -> bytes:
    """By the definition in RFC 6962 section 2.1, without the code of the pipeline."""
    if len(leaves) == 1:
        return leaves[0]
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + _root(leaves[:left]) + _root(leaves[left:])).digest()


def _event(rows: list[bytes], random: Random) -> int | None:
    """The place of a random event in a proof."""
    places = [place for place, row in enumerate(rows) if row.startswith(b'{"kind":"event"')]
    return random.choice(places) if places else None


def _unseen(rows: list[bytes], place: int) -> Iterator[str]:
    """An event with another value, its hash as it was: it has to be named."""
    row = msgspec.json.decode(rows[place], type=ProofRow)
    event = msgspec.json.decode(row.body, type=ProvenEvent)
    changed = msgspec.structs.replace(event, value=CHANGED.get(event.value, f"9{event.value}"))
    body = msgspec.Raw(msgspec.json.encode(changed))
    tampered = msgspec.json.encode(msgspec.structs.replace(row, body=body)) + b"\n"
    wrong = check_proof([*rows[:place], tampered, *rows[place + 1 :]]).wrong
    if not any(f"the event {event.id}" in one for one in wrong):
        yield f"The event {event.id} was changed, but the check of its proof names {wrong}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--invoices", type=int, default=1_000)
    asked = parser.parse_args()
    began_s, found, place = time.process_time(), LinesFound(), 0
    while found.invoices < asked.invoices:
        check_customer(customer(place), Random(place), found)
        place += 1
    for sentence in found.wrong:
        print(f"WRONG: {sentence}")
    print(
        f"{found.invoices} invoices of {place} customers: {found.explained} lines by usage explained "
        f"({found.corrections} corrections) by {found.events} events, every proof checked, {found.tampered} events "
        f"tampered with: {len(found.wrong)} differences, {time.process_time() - began_s:.0f} s of CPU"
    )
    sys.exit(1 if found.wrong else 0)


if __name__ == "__main__":
    main()
