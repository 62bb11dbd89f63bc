"""A proof proves its invoice, and a changed byte, row, sum or price is found and named."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from pipeline.core.proof.proof_check import check_proof
from pipeline.core.proof.proof_file import (
    ProofRow,
    ProofWriter,
    ProvenEvent,
    ProvenInvoice,
    ProvenLine,
    RowKind,
    encode,
    leaf_of,
)
from pipeline.core.values import number
from pipeline.core.values.calendar import DAY_S
from tests.core.bills.test_bill_laws import PRICES
from tests.core.explain.explain_world import SUBJECTS, ExplainWorld
from tests.core.explain.random_bills import BEGIN, random_days, subscribed, with_price
from tests.core.proof.proofs import ProvenBody, bodies, forged, issued, proof_of
from tests.fixtures.explained_bills import explained_world


@pytest.fixture(scope="module")
def world() -> ExplainWorld:
    return explained_world(2)


def corrected(world: ExplainWorld) -> list[bytes]:
    """The proof of the invoice that has a correction."""
    (invoice,) = [one for one in issued(world) if any(line.corrects for line in one.content.lines)]
    return proof_of(world, invoice)


@pytest.mark.parametrize("aggregation", ["SUM", "COUNT", "UNIQUE_COUNT", "LATEST"])
@pytest.mark.parametrize("price", range(len(PRICES)))
def test_every_invoice_of_any_history_is_proven(aggregation: str, price: int) -> None:
    random = Random(f"{aggregation}/{price}")
    world = subscribed(aggregation, plan=with_price(PRICES[price]))
    subscription = next(iter(world.bills.published.subscriptions))
    for _ in range(10):
        subscription = random_days(world, random, subscription, most=5)
    found = issued(world)
    assert found
    for invoice in found:
        report = check_proof(proof_of(world, invoice))
        assert report.wrong == ()
        assert report.invoice is not None
        assert (report.invoice.number, report.invoice.total) == (
            invoice.progress.number, invoice.content.totals.total,
        )  # fmt: skip


def test_any_changed_byte_is_found_and_its_row_named(world: ExplainWorld) -> None:
    rows, random = corrected(world), Random(7)
    whole = b"".join(rows)
    for _ in range(400):
        place = random.randrange(len(whole))
        other = random.choice([one for one in b'0129az"{}:, \n' if one != whole[place]])
        changed = whole[:place] + bytes((other,)) + whole[place + 1 :]
        number = whole[:place].count(b"\n") + 1
        wrong = check_proof(changed.splitlines(keepends=True)).wrong
        assert wrong
        if number < len(rows):
            assert wrong[0].startswith(f"Row {number}"), (number, wrong)


def rehashed(row: bytes, old: bytes, new: bytes) -> bytes:
    """A row with another content and the hash that belongs to it."""
    assert row.count(old) >= 1
    found = msgspec.json.decode(row.replace(old, new), type=ProofRow)
    return encode(ProofRow(found.kind, leaf_of(found.kind, bytes(found.body)).hex(), found.body)) + b"\n"


def place_of(rows: list[bytes], kind: RowKind, text: bytes) -> int:
    return next(place for place, row in enumerate(rows) if f'"kind":"{kind}"'.encode() in row and text in row)


def test_an_event_with_another_value_changes_the_sum(world: ExplainWorld) -> None:
    rows = corrected(world)
    place = place_of(rows, "event", b'"value":"50"')
    wrong = check_proof(
        [*rows[:place], rehashed(rows[place], b'"value":"50"', b'"value":"51"'), *rows[place + 1 :]]
    ).wrong
    assert any("counts 722, but the 13 stored events under it are 723" in one for one in wrong)
    assert any(one.startswith("The root is not that of the rows") for one in wrong)


def test_a_line_with_another_price_is_not_what_it_bills(world: ExplainWorld) -> None:
    rows = proof_of(world, issued(world)[1])
    place = place_of(rows, "line", b'"amount":"0.01"')
    changed = rehashed(rows[place], b'"amount":"0.01"', b'"amount":"0.02"')
    wrong = check_proof([*rows[:place], changed, *rows[place + 1 :]]).wrong
    assert any("its components are not what its quantity costs by its price" in one for one in wrong)


@pytest.mark.parametrize(
    "change,sentence",
    [
        (lambda rows: rows[:-1], "The file has no root"),
        (lambda rows: [*rows, rows[-2]], "is behind the root"),
        (lambda rows: rows[1:], "a proof begins with one invoice"),
        (lambda rows: [rows[0], rows[0], *rows[1:]], "a proof begins with one invoice"),
        (lambda rows: [*rows[:-2], rows[-1]], "The root is not that of the rows"),
        (lambda rows: [rows[0], rows[-1]], "lines, but the file has 0"),
        (lambda rows: [rows[0], rows[-2], *rows[1:]], "is under no line that counts events"),
        (lambda rows: [b"{}\n", *rows[1:]], "Row 1 cannot be read"),
        (lambda rows: [rows[0].rstrip(), *rows[1:]], "its spelling is not that of a proof"),
        (lambda rows: [], "The file has no root"),
    ],
)
def test_rows_that_are_missing_or_moved_are_found(world: ExplainWorld, change: object, sentence: str) -> None:
    rows = proof_of(world, issued(world)[1])
    assert any(sentence in one for one in check_proof(change(rows)).wrong)  # type: ignore[operator]


def test_the_root_does_not_depend_on_later_data() -> None:
    world = explained_world(2)
    before = [proof_of(world, one) for one in issued(world)]
    world.send(BEGIN + 3 * DAY_S, 1000, "joe")
    world.bills.until(world.bills.now_s + 40 * DAY_S)
    after = [proof_of(world, one) for one in issued(world)]
    assert after[: len(before)] == before
    assert len(after) > len(before)


def test_an_empty_writer_has_no_rows() -> None:
    assert ProofWriter().root.rows == 0


def counted() -> list[ProvenBody]:
    """A proof with 12 events that are counted."""
    world = subscribed("COUNT", partitions=2)
    for place in range(12):
        world.send(BEGIN + DAY_S * place + place, 1, SUBJECTS[place % 4])
    world.bills.until(BEGIN + 32 * DAY_S)
    (invoice,) = [one for one in issued(world) if any(line.counted for line in one.content.lines)]
    return bodies(proof_of(world, invoice))


def test_what_an_issuer_could_forge_is_found() -> None:
    proof = counted()
    assert check_proof(forged(proof)).wrong == ()
    invoice, *rows = proof
    assert isinstance(invoice, ProvenInvoice)
    events = [one for one in rows if isinstance(one, ProvenEvent)]
    lines = [one for one in rows if isinstance(one, ProvenLine)]
    line = next(one for one in lines if one.events == 12)
    usage = line.line.counted
    assert usage is not None
    replace = msgspec.structs.replace
    other_model = replace(usage, filters={"model": {"$eq": "large"}})
    total = number.text(sum(number.parse(one.line.totals.total) for one in [*lines, line]))
    twice = replace(invoice, lines=3, total=total)
    begin: list[ProvenBody] = [one for one in proof if one != line and one not in events]
    for changed, sentence in (
        ([*begin, replace(line, events=None)], "it bills usage, but it has no events"),
        ([*begin, line, *[events[0]] * 12], "the event e12 is under its line twice"),
        ([*begin, replace(line, events=1), replace(events[0], value="12")], "counts as 12, not as 1"),
        ([twice, *begin[1:], line, *events, line, *events], f"the line {line.line.id} is there twice"),
        ([replace(invoice, currency="USD"), *rows], "its currency is not USD"),
        ([replace(invoice, total=f"{invoice.total}e0"), *rows], "is not how a proof spells a number"),
        (
            [*begin, replace(line, line=replace(line.line, counted=other_model)), *events],
            "is not one that the filters of its line take",
        ),
    ):
        wrong = check_proof(forged(changed)).wrong
        assert any(sentence in one for one in wrong), (sentence, wrong)
    root = msgspec.json.decode(forged(proof)[-1], type=ProofRow)
    named = encode(replace(root, leaf="anything")) + b"\n"
    (sentence,) = check_proof([*forged(proof)[:-1], named]).wrong
    assert "the root has the hash of a leaf" in sentence
