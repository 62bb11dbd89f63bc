"""Which versions of a plan are taken over, and their members."""

from __future__ import annotations

from typing import Any

from pipeline.core.migration.plan_translation import plan, versions


def row(number: int, status: str, **more: Any) -> dict[str, Any]:
    return {"id": f"01K{number}", "key": "pro", "version": number, "status": status, **more}


def test_the_active_version_and_the_draft_are_taken() -> None:
    rows = [row(1, "archived"), row(2, "active"), row(3, "draft"), {**row(1, "active"), "key": "basic"}]
    basic, pro = versions([*rows, row(4, "draft", deletedAt="2026-01-01T00:00:00Z")])
    assert (basic.key, basic.active, basic.draft, basic.left) == ("basic", rows[3], None, ())
    assert (pro.active, pro.draft) == (rows[1], rows[2])
    (sentence,) = pro.left
    assert sentence.startswith("Version 1 of the plan pro is archived")


def test_nulls_and_ids_of_the_source_are_left_out() -> None:
    card = {
        "type": "flat_fee", "key": "fee", "featureKey": None, "featureId": "01K",
        "taxConfig": {"taxCodeId": "01K"}, "price": {"type": "flat", "amount": "20"},
    }  # fmt: skip
    phases = [{"key": "p", "name": "P", "duration": None, "rateCards": [card]}]
    found = plan(row(1, "active", phases=phases, validationErrors=None))
    plain = {"type": "flat_fee", "key": "fee", "price": {"type": "flat", "amount": "20"}}
    assert found.body == {"key": "pro", "phases": [{"key": "p", "name": "P", "rateCards": [plain]}]}
    assert found.notes == ("The rate card fee of the plan pro has a taxCodeId, which is not taken over.",)


def test_stripes_tax_code_stays() -> None:
    card = {"key": "fee", "taxConfig": {"stripe": {"code": "txcd_10000000"}, "taxCodeId": "01K"}}
    body = plan(row(1, "active", phases=[{"key": "p", "rateCards": [card]}])).body
    assert body["phases"][0]["rateCards"] == [
        {"key": "fee", "taxConfig": {"stripe": {"code": "txcd_10000000"}}}
    ]
