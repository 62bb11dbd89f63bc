"""Taxes are those of their rates, of each component and in all."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.proof.line_taxes import TaxCheck
from pipeline.core.proof.proof_check import check_proof
from pipeline.core.values.calendar import DAY_S
from tests.core.bills.test_bill_laws import PRICES
from tests.core.explain.explain_world import SUBJECTS, ExplainWorld
from tests.core.explain.random_bills import BEGIN, subscribed, with_price
from tests.core.proof.proofs import issued, proof_of


def taxed_world(behavior: str) -> ExplainWorld:
    rates = [{"code": "default", "percent": "19.3", "behavior": behavior}]
    profile = {"taxRates": rates, "workflow": {"tax": {"enabled": True}}}
    world = subscribed(plan=with_price(PRICES[3]), profile=profile)
    for place in range(90):
        world.send(BEGIN + DAY_S * place // 2, 7 + place % 11, SUBJECTS[place % 4])
        world.bills.until(BEGIN + DAY_S * place)
    return world


@pytest.mark.parametrize("behavior", ["exclusive", "inclusive"])
def test_taxes_as_they_were_issued_are_right_and_others_are_wrong(behavior: str) -> None:
    world = taxed_world(behavior)
    lines: list[InvoiceLine] = []
    for invoice in issued(world):
        assert check_proof(proof_of(world, invoice)).wrong == ()
        lines += [one for one in live_lines(invoice.content.lines) if one.children and one.taxes]
    assert len(lines) > 4
    line = max(lines, key=lambda one: len(one.totals.taxes_total))
    assert line.totals.taxes_total != "0"
    check = TaxCheck()
    assert "a tax without a rate" in (check.wrong_line(msgspec.structs.replace(line, taxes=())) or "")
    more = msgspec.structs.replace(line.taxes[0], percent=line.taxes[0].percent * 2)
    assert "its tax is not 38.6 %" in (check.wrong_line(msgspec.structs.replace(line, taxes=(more,))) or "")
    assert "more than one tax" in (
        check.wrong_line(msgspec.structs.replace(line, taxes=line.taxes * 2)) or ""
    )


def test_taxes_that_are_each_rounded_up_are_wrong_in_all() -> None:
    world = taxed_world("exclusive")
    line = next(one for one in issued(world)[0].content.lines if one.children)
    totals = msgspec.structs.replace(
        line.children[0].totals, amount="0.03", taxes_exclusive_total="0.01", taxes_total="0.01", total="0.04"
    )
    child = msgspec.structs.replace(line.children[0], totals=totals)  # 0.00579 is the tax of 0.03
    check = TaxCheck()
    for lines, wrong in ((1, []), (5, ["The taxes of 19.3 % are not 19.3 % of their lines."])):
        for _ in range(lines):
            assert check.wrong_line(msgspec.structs.replace(line, children=(child,))) is None
        assert list(check.wrong_sums()) == wrong
