"""The small form of every_line: each line is explained, each proof is right, and a changed event is named."""

from __future__ import annotations

from random import Random

import msgspec

from tests.core.proof.every_line import LinesFound, check_customer, customer, wrong_proof
from tests.core.proof.proofs import issued, proof_of


def test_every_line_of_a_customer_is_explained() -> None:
    found = LinesFound()
    check_customer(customer(0), Random(0), found)
    assert found.wrong == []
    assert min(found.invoices, found.explained, found.corrections, found.tampered) > 0


def test_a_missing_event_and_another_root_are_differences() -> None:
    world = customer(0)
    invoice = issued(world)[-1]
    *rows, _ = proof_of(world, invoice)
    other = msgspec.json.encode({"kind": "root", "leaf": "", "body": {"rows": len(rows), "root": "0" * 64}})
    assert any("is not that of its rows" in one for one in wrong_proof(invoice, [*rows, other + b"\n"]))
    world.stored.pop(0)
    found = LinesFound()
    check_customer(world, Random(0), found)
    assert any("stored events under it" in one for one in found.wrong)
