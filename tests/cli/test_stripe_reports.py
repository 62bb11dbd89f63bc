"""`tallymark stripe drift` and `status` without a server: pages as one report, exit codes, tables, the metrics file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.stripe_reports import (
    exit_code,
    merged,
    print_drift,
    print_retry,
    print_stripe_status,
    write_metrics,
)


def item(cause: str, customer: str = "acme", difference: str = "-5") -> dict[str, Any]:
    return {
        "customerId": "01A", "customerKey": customer, "meter": "tokens", "start": "2026-01-01T10:00:00.000Z",
        "counted": "5", "wanted": "5", "confirmed": "0", "stripe": None if cause == "unknown_customer" else "0",
        "difference": difference, "causes": [{"cause": cause, "difference": difference, "detail": f"Why {cause}."}],
    }  # fmt: skip


def page(*items: dict[str, Any], unread: int = 0, number: int = 1) -> dict[str, Any]:
    causes: dict[str, int] = {}
    for one in items:
        causes[one["causes"][0]["cause"]] = causes.get(one["causes"][0]["cause"], 0) + 1
    return {
        "ok": not unread and "unexplained" not in causes, "from": "F", "to": "T", "totalCount": 2, "page": number,
        "pageSize": 1, "windows": 24, "causes": causes, "items": list(items),
        "unread": [{"customerId": "01B", "appId": "01C", "meter": "tokens", "detail": "Stripe is slow."}] * unread,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pages", "code"),
    [
        ([page()], 0),
        ([page(item("pending")), page(item("foreign"))], 0),
        ([page(item("pending")), page(item("unexplained"))], 1),
        ([page(unread=1)], 3),
        ([page(unread=1), page(item("unexplained"))], 1),
    ],
)
def test_the_exit_code_is_that_of_all_pages(pages: list[dict[str, Any]], code: int) -> None:
    report = merged(pages)
    assert exit_code(report) == code
    assert report["ok"] == (code == 0)


def test_pages_become_one_table_with_each_sentence_once(capsys: pytest.CaptureFixture[str]) -> None:
    report = merged(
        [page(item("pending"), item("pending")), page(item("unknown_customer", "globex"), unread=1)]
    )
    assert (report["windows"], report["causes"]) == (48, {"pending": 2, "unknown_customer": 1})
    print_drift(report)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["acme", "tokens", "2026-01-01T10:00Z", "5", "5", "0", "0", "-5", "pending"]
    assert lines[3].split()[6] == "-"
    assert lines[4:6] == ["pending: Why pending.", "unknown_customer: Why unknown_customer."]
    assert lines[6] == "not compared: customer 01B, meter tokens: Stripe is slow."
    assert lines[7] == "3 of 48 windows of 2 customers from F to T differ: pending 2, unknown_customer 1."


def test_equal_totals_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_drift(merged([page()]))
    assert capsys.readouterr().out == "Stripe has the same units in 24 windows of 2 customers from F to T.\n"


def test_the_metrics_file_has_each_cause(tmp_path: Path) -> None:
    file = tmp_path / "stripe.prom"
    write_metrics(merged([page(item("pending"), item("foreign"), unread=1)]), file)
    text = file.read_text()
    assert 'tallymark_stripe_drift_windows{cause="pending"} 1.0' in text
    assert 'tallymark_stripe_drift_windows{cause="foreign"} 1.0' in text
    assert 'tallymark_stripe_drift_windows{cause="unexplained"} 0.0' in text  # an alert needs the zero
    assert "tallymark_stripe_drift_compared_windows 24.0" in text
    assert "tallymark_stripe_drift_unread 1.0" in text


def test_status_names_keys_and_messages(capsys: pytest.CaptureFixture[str]) -> None:
    app = {
        "stripeAccountId": "acct_1", "maskedAPIKey": "sk_test_***abc", "status": "unauthorized", "mappings": 1,
        "waitingWindows": 3, "oldestWaiting": "2026-01-01T10:00:00.000Z", "pendingUnits": "5",
        "unsendableUnits": {"refused": "4"}, "detail": "Expired API Key.", "messages": ["No such customer"],
    }  # fmt: skip
    print_stripe_status({"apps": [app], "requests": {"done": 1200}, "lag": None, "reports": 2})
    out = capsys.readouterr().out
    assert "acct_1: Expired API Key.\nacct_1: No such customer\n" in out and "refused 4" in out
    assert out.endswith("requests: done 1,200; behind: unknown; error reports of Stripe: 2\n")
    print_stripe_status({"apps": [], "requests": {}, "lag": 0, "reports": 0})
    assert "tallymark stripe connect" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("accept", "blocked", "text"),
    [
        (None, 0, "tokens: 2 refused windows are sent again.\n"),
        (None, 1, "tokens: 2 refused windows are sent again; 1 blocked windows stay as they are without "
                  "`--accept stripe`.\n"),
        ("stripe", 1, "tokens: 2 refused windows are sent again; 1 blocked windows get the difference from what "
                      "Stripe has in about 20 minutes.\n"),
    ],
)  # fmt: skip
def test_a_retry_names_what_is_tried(
    capsys: pytest.CaptureFixture[str], accept: str | None, blocked: int, text: str
) -> None:
    print_retry(
        {"accept": accept, "items": [{"meter": "tokens", "refusedWindows": 2, "blockedWindows": blocked}]}
    )
    assert capsys.readouterr().out == text


def invoices(**changed: Any) -> dict[str, Any]:
    return {
        "ok": True,
        "from": "F",
        "to": "T",
        "appId": "01A",
        "invoices": 3,
        "causes": {},
        "items": [],
    } | changed


def test_invoices_that_differ_are_listed_and_fail(capsys: pytest.CaptureFixture[str]) -> None:
    item = {"number": "INV-1", "stripeInvoiceId": None, "ours": "paid", "stripe": "", "cause": "missing"}
    report = merged([page()]) | {"invoices": [invoices(ok=False, causes={"missing": 1}, items=[item])]}
    assert exit_code(report) == 1
    print_drift(report)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["INV-1", "-", "paid", "-", "missing"]
    assert lines[-1] == "3 invoices from F to T differ: missing 1."


def test_equal_invoices_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    report = merged([page()]) | {"invoices": [invoices()]}
    assert exit_code(report) == 0
    print_drift(report)
    assert capsys.readouterr().out.endswith("3 invoices from F to T are the same at Stripe.\n")
