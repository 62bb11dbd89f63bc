"""Which line is meant, and what it corrects."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.explain.line_basis import basis_of, find_line
from pipeline.core.proof.proof_check import check_proof
from pipeline.core.values.calendar import DAY_S
from pipeline.errors import Rejected
from tests.core.bills.bill_world import at, live
from tests.core.explain.explain_world import ExplainWorld
from tests.core.proof.proofs import proof_of

BEGIN = at("2026-01-10")


def corrected_twice() -> ExplainWorld:
    world = ExplainWorld()
    world.bills.now_s = BEGIN
    world.bills.subscribe()
    world.bills.until(BEGIN)
    for month in ("2026-02-12", "2026-03-12", "2026-04-12"):
        world.send(BEGIN + DAY_S, 100)
        world.bills.until(at(month))
    return world


def test_a_correction_follows_on_the_line_before_it() -> None:
    world = corrected_twice()
    invoices = world.bills.invoices()
    january = [line for one in world.made() for line in live(one) if line.name.startswith("Tokens")]
    first, *corrections = sorted(
        (line for line in january if line.period.start_s == BEGIN), key=lambda line: line.created_at
    )
    assert len(corrections) == 2
    for place, line in enumerate(corrections):
        basis = basis_of(invoices, *find_line(invoices, line.id))
        assert [one.id for one in basis.earlier] == [first.id, *(one.id for one in corrections[:place])]
        assert basis.before is not None
        assert (basis.before.quantity, basis.counted.quantity) == (
            str(100 * (place + 1)),
            str(100 * (place + 2)),
        )


def test_a_line_of_a_version_that_kept_nothing_is_refused() -> None:
    world = corrected_twice()
    invoices = world.bills.invoices()
    plain = [
        msgspec.structs.replace(
            one,
            content=msgspec.structs.replace(
                one.content,
                lines=tuple(
                    line if line.corrects else msgspec.structs.replace(line, counted=None)
                    for line in one.content.lines
                ),
            ),
        )
        for one in invoices
    ]
    for of_kind in (True, False):
        line = next(
            line.id
            for one in world.made()
            for line in live(one)
            if line.rate_card.feature_key == "tokens" and (line.corrects is not None) is of_kind
        )
        with pytest.raises(Rejected) as refused:
            basis_of(plain, *find_line(plain, line))
        assert refused.value.reason == "line_not_explained"


def test_a_line_that_waits_is_found_last() -> None:
    world = corrected_twice()
    waiting = next(line for line in live(world.bills.gathering()) if line.name == "Tokens")
    assert find_line(world.bills.invoices(), waiting.id)[0].progress.state == "gathering"


@pytest.mark.parametrize("then,earlier", [("discard", [1, 2]), ("pending", [1])])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_correction_follows_on_what_a_void_leaves_booked(
    then: str, earlier: list[int], is_late: bool
) -> None:
    world = ExplainWorld(app={"enableDraftSyncHook": False, "enableIssuingSyncHook": False})
    world.bills.now_s = BEGIN
    world.bills.subscribe()
    world.bills.until(BEGIN)
    world.send(BEGIN + DAY_S, 100)
    world.bills.until(at("2026-02-12"))
    (id,) = [one.content.id for one in world.made() for line in live(one) if line.counted is not None]
    void = {"reason": "wrong", "action": {"percentage": 100, "action": {"type": then}}}
    for month, voids in (("2026-03-12", not is_late), ("2026-04-12", is_late)):
        if voids:
            world.bills.do("invoice.void", void, id=id)
        world.send(BEGIN + DAY_S, 100)
        world.bills.until(at(month))
    invoices = world.bills.invoices()
    found = [(one, line) for one in world.made() for line in live(one) if line.corrects is not None]
    assert [len(basis_of(invoices, *one).earlier) for one in found] == earlier
    for one in found:
        assert check_proof(proof_of(world, one[0])).wrong == ()


def test_a_line_that_is_billed_again_follows_on_its_corrections() -> None:
    """The line is voided after its correction was issued; it bills the rest, and later corrections follow on it."""
    world = ExplainWorld(app={"enableDraftSyncHook": False, "enableIssuingSyncHook": False})
    world.bills.now_s = BEGIN
    world.bills.subscribe()
    world.bills.until(BEGIN)
    world.send(BEGIN + DAY_S, 100)
    world.bills.until(at("2026-02-12"))
    (id,) = [one.content.id for one in world.made() for line in live(one) if line.counted is not None]
    world.send(BEGIN + DAY_S, 100)
    world.bills.until(at("2026-03-12"))
    void = {"reason": "wrong", "action": {"percentage": 100, "action": {"type": "pending"}}}
    world.bills.do("invoice.void", void, id=id)
    world.bills.until(at("2026-04-12"))
    world.send(BEGIN + DAY_S, 100)
    world.bills.until(at("2026-05-12"))
    invoices = world.bills.invoices()
    found = [
        (one, line)
        for one in world.made()
        for line in live(one)
        if line.counted is not None and line.counted.quantity != "0" and one.progress.state != "voided"
    ]
    assert [(line.corrects is None, line.totals.total) for _, line in found] == [
        (False, found[0][1].totals.total), (True, found[0][1].totals.total), (False, found[0][1].totals.total),
    ]  # fmt: skip
    assert [len(basis_of(invoices, *one).earlier) for one in found] == [1, 1, 2]
    again = found[1][1]
    assert again.metered_quantity == found[1][1].counted.quantity  # type: ignore[union-attr]
    assert found[2][1].corrects is not None and found[2][1].corrects.line_id == again.id
    for one in found[1:]:
        assert check_proof(proof_of(world, one[0])).wrong == ()


def test_a_correction_of_what_was_paid_beyond_a_line_that_was_given_up_is_proven() -> None:
    world = ExplainWorld(app={"enableDraftSyncHook": False, "enableIssuingSyncHook": False})
    world.bills.now_s = BEGIN
    world.bills.subscribe()
    world.bills.until(BEGIN)
    world.send(BEGIN + DAY_S, 100)
    world.bills.until(at("2026-02-12"))
    (id,) = [one.content.id for one in world.made() for line in live(one) if line.counted is not None]
    void = {"reason": "wrong", "action": {"percentage": 100, "action": {"type": "discard"}}}
    for month, value in (("2026-03-12", 50), ("2026-04-12", -100)):
        world.send(BEGIN + DAY_S, value)
        world.bills.until(at(month))
        if value == 50:
            world.bills.do("invoice.void", void, id=id)
    found = [(one, line) for one in world.made() for line in live(one) if line.corrects is not None]
    assert len(found) == 2 and found[1][1].totals.total == f"-{found[0][1].totals.total}"
    for one in found:
        assert check_proof(proof_of(world, one[0])).wrong == ()
