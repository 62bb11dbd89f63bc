"""Files of lines: each cell is read back, and none is a formula."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest

from pipeline.api.invoices.line_export import csv_text, lines_csv, lines_json
from pipeline.core.invoices.line_rows import line_rows
from tests.fixtures.invoices_to_print import INVOICES, long, small


@pytest.mark.parametrize("name", INVOICES)
def test_both_forms_have_the_same_rows(name: str) -> None:
    rows = line_rows(INVOICES[name]())
    read = list(csv.DictReader(io.StringIO(csv_text(rows))))
    answered = json.loads(bytes(lines_json(rows).body))
    assert read == [{key: value or "" for key, value in row.items()} for row in answered]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1"])
def test_a_text_that_would_be_a_formula_is_a_text(text: str) -> None:
    (first, *_) = line_rows(small())
    (row,) = csv.DictReader(io.StringIO(csv_text([msgspec.structs.replace(first, name=text)])))
    assert row["name"] == f"'{text}"


def test_an_amount_below_zero_is_a_number() -> None:
    amounts = [row["amount"] for row in csv.DictReader(io.StringIO(csv_text(line_rows(long()))))]
    assert "-60" in amounts


def test_the_file_has_a_name() -> None:
    answer = lines_csv(line_rows(small()), "INV-ACME-41")
    assert answer.headers["content-disposition"] == 'attachment; filename="INV-ACME-41.csv"'
    assert answer.headers["content-type"].startswith("text/csv")
