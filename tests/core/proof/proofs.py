"""Proofs of the invoices of an ExplainWorld.

Owns: making them, and forging them as an issuer could. Does not own: any test.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.core.explain.line_basis import basis_of, earlier_lines, given_up_of
from pipeline.core.explain.line_recount import LineRecount
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.status_details import status_of
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.proof.merkle import MerkleTree
from pipeline.core.proof.proof_file import (
    ISSUED,
    LineProof,
    ProofRoot,
    ProofRow,
    ProofWriter,
    ProvenEvent,
    ProvenInvoice,
    ProvenLine,
    encode,
    leaf_of,
)
from tests.core.bills.bill_world import NAMESPACE
from tests.core.explain.explain_world import NS, ExplainWorld

ProvenBody = ProvenInvoice | ProvenLine | ProvenEvent


def issued(world: ExplainWorld) -> list[StoredInvoice]:
    return [one for one in world.made() if status_of(one.progress) in ISSUED]


def line_proof(world: ExplainWorld, invoice: StoredInvoice, line: InvoiceLine) -> LineProof:
    invoices = world.bills.invoices()
    if line.counted is None:
        earlier = earlier_lines(invoices, line)
        return LineProof(earlier, given_up=given_up_of(invoices, line, earlier))
    basis = basis_of(invoices, invoice, line)
    recount = LineRecount(basis, world.owner)
    from_s, to_s = recount.span
    found = [
        (one, inclusion)
        for one in sorted(world.measured(), key=lambda one: -one.event.time_ns)  # as ClickHouse returns them
        if from_s <= one.event.time_ns // NS < to_s and (inclusion := recount.include(one)) is not None
    ]
    recount.check()
    return LineProof(basis.earlier, found, given_up_of(invoices, line, basis.earlier))


def proof_of(world: ExplainWorld, invoice: StoredInvoice) -> list[bytes]:
    """The rows of the proof of an invoice."""
    proofs = [line_proof(world, invoice, line) for line in live_lines(invoice.content.lines)]
    return list(ProofWriter().rows(NAMESPACE, invoice, proofs))


def bodies(rows: Iterable[bytes]) -> list[ProvenBody]:
    """What a proof has before its root."""
    types = {"invoice": ProvenInvoice, "line": ProvenLine, "event": ProvenEvent}
    found = [msgspec.json.decode(row, type=ProofRow) for row in rows]
    return [msgspec.json.decode(row.body, type=types[row.kind]) for row in found if row.kind != "root"]


def forged(of: Iterable[ProvenBody]) -> list[bytes]:
    """A proof of these, whose hashes and root belong to them."""
    kinds = {ProvenInvoice: "invoice", ProvenLine: "line", ProvenEvent: "event"}
    tree, rows = MerkleTree(), []
    for one in of:
        kind, body = kinds[type(one)], encode(one)
        leaf = leaf_of(kind, body)  # type: ignore[arg-type]
        tree.add(leaf)
        rows.append(ProofRow(kind, leaf.hex(), msgspec.Raw(body)))  # type: ignore[arg-type]
    root = encode(ProofRoot(tree.size, tree.root.hex()))
    return [encode(row) + b"\n" for row in (*rows, ProofRow("root", "", msgspec.Raw(root)))]
