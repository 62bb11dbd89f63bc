"""What a line of a proof says of itself is checked before its events."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from pipeline.core.proof.line_claims import is_plain, wrong_claims
from pipeline.core.proof.proof_file import ProvenLine
from tests.core.proof.proofs import bodies, issued, proof_of
from tests.fixtures.explained_bills import explained_world

replace = msgspec.structs.replace


def correction() -> ProvenLine:
    world = explained_world(2)
    rows = [row for one in issued(world) for row in bodies(proof_of(world, one))]
    (found,) = [row for row in rows if isinstance(row, ProvenLine) and row.line.corrects is not None]
    return found


ROW = correction()
Change = Callable[[ProvenLine], ProvenLine]


def test_a_correction_as_it_was_issued_is_right() -> None:
    assert wrong_claims(ROW, "EUR") is None
    (before,) = ROW.earlier
    assert wrong_claims(ProvenLine(line=before, events=12), "EUR") is None


@pytest.mark.parametrize(
    "change,sentence",
    [
        (lambda row: replace(row, earlier=()), "does not show the line that it corrects"),
        (lambda row: replace(row, earlier=row.earlier * 2), "shows a line before it twice"),
        (
            lambda row: replace(row, earlier=(replace(row.earlier[0], id="other"),)),
            "does not correct the line other",
        ),
        (
            lambda row: replace(row, earlier=(replace(row.earlier[0], counted=None),)),
            "does not say which usage it bills",
        ),
        (lambda row: replace(row, line=replace(row.line, corrects=None)), "it corrects nothing, but shows"),
        (
            lambda row: ProvenLine(line=replace(row.earlier[0], counted=None), events=None),
            "it bills usage, but it does not say which",
        ),
        (lambda row: replace(row, events=None), "it has no events"),
        (lambda row: replace(row, line=replace(row.line, currency="USD")), "its currency is not EUR"),
        (
            lambda row: replace(row, line=replace(row.line, totals=replace(row.line.totals, total="0.50"))),
            "0.50 is not how a proof spells a number",
        ),
    ],
)
def test_a_claim_that_cannot_be_is_named(change: Change, sentence: str) -> None:
    assert sentence in (wrong_claims(change(ROW), "EUR") or "")


def test_a_number_has_one_spelling() -> None:
    assert [one for one in ("0", "-0.05", "700", "1e3", "+1", "01", "1.", "-0", "", "x") if is_plain(one)] == [
        "0", "-0.05", "700",
    ]  # fmt: skip
