"""The rows of a proof: what is in it, and what is not."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.invoices.line import LineExternalIds, live_lines
from pipeline.core.proof.merkle import MerkleTree
from pipeline.core.proof.proof_file import (
    LineProof,
    ProofRoot,
    ProofRow,
    ProofWriter,
    ProvenEvent,
    ProvenInvoice,
    ProvenLine,
    check_issued,
    leaf_of,
)
from pipeline.errors import Rejected
from tests.core.bills.bill_world import NAMESPACE
from tests.core.explain.explain_world import ExplainWorld
from tests.core.proof.proofs import issued, proof_of
from tests.fixtures.explained_bills import explained_world


@pytest.fixture(scope="module")
def world() -> ExplainWorld:
    return explained_world(2)


def decoded(rows: list[bytes]) -> list[ProofRow]:
    return [msgspec.json.decode(row, type=ProofRow) for row in rows]


def test_an_invoice_is_followed_by_its_lines_and_their_events(world: ExplainWorld) -> None:
    invoice = next(one for one in issued(world) if any(line.corrects for line in one.content.lines))
    rows = decoded(proof_of(world, invoice))
    head = msgspec.json.decode(rows[0].body, type=ProvenInvoice)
    lines = [msgspec.json.decode(row.body, type=ProvenLine) for row in rows if row.kind == "line"]
    events = [msgspec.json.decode(row.body, type=ProvenEvent) for row in rows if row.kind == "event"]
    assert (head.number, head.lines, head.namespace) == (invoice.progress.number, len(lines), NAMESPACE)
    assert [one.line.id for one in lines] == [line.id for line in live_lines(invoice.content.lines)]
    assert sum(one.events or 0 for one in lines) == len(events)
    (correction,) = [one for one in lines if one.line.corrects is not None and one.events]
    assert [one.id for one in correction.earlier] == [correction.line.corrects.line_id]  # type: ignore[union-attr]
    assert [(one.value, one.now) for one in events if one.now != one.before and one.value == "50"] == [
        ("50", True)
    ]


def test_the_root_is_that_of_the_rows_before_it(world: ExplainWorld) -> None:
    rows = decoded(proof_of(world, issued(world)[0]))
    root = msgspec.json.decode(rows[-1].body, type=ProofRoot)
    tree = MerkleTree(leaf_of(row.kind, bytes(row.body)) for row in rows[:-1])
    assert (root.root, root.rows) == (tree.root.hex(), len(rows) - 1)
    assert [bytes.fromhex(row.leaf) for row in rows[:-1]] == [
        leaf_of(row.kind, bytes(row.body)) for row in rows[:-1]
    ]


def test_what_an_app_may_still_change_is_not_proven(world: ExplainWorld) -> None:
    invoice = issued(world)[0]
    proofs = [LineProof() for _ in live_lines(invoice.content.lines)]
    named = tuple(
        msgspec.structs.replace(
            line,
            external_ids=LineExternalIds(invoicing="i-1"),
            metadata={"a": "b"},
            updated_at="2030-01-01T00:00:00Z",
        )
        for line in invoice.content.lines
    )
    changed = msgspec.structs.replace(invoice, content=msgspec.structs.replace(invoice.content, lines=named))
    first, second = (list(ProofWriter().rows(NAMESPACE, one, proofs)) for one in (invoice, changed))
    assert first == second


def test_an_invoice_that_may_change_is_not_proven(world: ExplainWorld) -> None:
    for one in issued(world):
        check_issued(one)
    with pytest.raises(Rejected) as refused:
        check_issued(world.bills.gathering())
    assert refused.value.reason == "invoice_not_issued"
