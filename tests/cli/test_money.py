"""What `tallymark reconcile` prints about bills."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.cli import metering, output


def money_row(customer: str, *differences: str) -> dict[str, Any]:
    return {
        "customer": customer, "meter": "tokens", "meter_id": 7, "feature": "calls", "usage": "100", "billed": "70",
        "pending": "10", "free": "20", "amounts": [{"currency": "EUR", "rated": "7.5", "booked": "7"}],
        "differences": list(differences),
    }  # fmt: skip


def test_money_is_a_table_and_each_difference_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [money_row("acme"), money_row("bolt", "customer bolt lacks 0.5 EUR.") | {"usage": None}]
    output.print_money(
        {
            "items": rows,
            "lateUnbilled": 1200,
            "differences": rows[1]["differences"],
            "settled": True,
            "ok": False,
        }
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines.pop(-2) == "1,200 windows of usage came too late to be billed (late-unbilled)."
    assert [line.split() for line in lines[-3:]] == [
        ["acme", "tokens", "calls", "100", "70", "10", "20", "7.5", "EUR", "7", "EUR", "yes"],
        ["bolt", "tokens", "calls", "-", "70", "10", "20", "7.5", "EUR", "7", "EUR", "no"],
        ["difference:", "customer", "bolt", "lacks", "0.5", "EUR."],
    ]
    output.print_money({"items": [], "lateUnbilled": 0, "differences": [], "settled": False, "ok": True})
    assert capsys.readouterr().out == "Usage is still in flight, so bills were not compared.\n"
    output.print_money({"items": [], "lateUnbilled": 0, "differences": [], "settled": True, "ok": True})
    assert capsys.readouterr().out == ""


def test_all_pages_of_money_are_one() -> None:
    pages = {
        number: {
            "ok": number != 2, "settled": True, "from": "a", "to": "b", "totalCount": 5, "page": number, "pageSize": 2,
            "items": [number], "differences": [str(number)],
        }
        for number in (1, 2, 3)
    }  # fmt: skip
    assert metering.whole_money(pages.__getitem__) == {
        "ok": False, "settled": True, "from": "a", "to": "b", "totalCount": 5, "items": [1, 2, 3],
        "differences": ["1", "2", "3"],
    }  # fmt: skip
