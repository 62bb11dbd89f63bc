"""The lines of an invoice as a file: JSON or CSV.

Owns: both forms. Does not own: the rows (core.invoices.line_rows), which form a request accepts (http.accept).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import msgspec
from fastapi import Response

from pipeline.core.invoices.line_rows import COLUMNS, InvoiceLineRow

JSON, CSV = "application/json", "text/csv"
FORMS = (JSON, CSV)
# Texts that a spreadsheet would take for a formula; numbers below zero stay numbers.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TEXTS = frozenset({"customerKey", "name", "description", "featureKey", "componentName", "externalId"})


def lines_json(rows: Sequence[InvoiceLineRow]) -> Response:
    """The rows as a list; what a row does not have is null."""
    return Response(msgspec.json.encode(rows), media_type=JSON)


def lines_csv(rows: Sequence[InvoiceLineRow], name: str) -> Response:
    """The rows as a file. name: of the file, without its ending."""
    headers = {"content-disposition": f'attachment; filename="{name}.csv"'}
    return Response(csv_text(rows), media_type=CSV, headers=headers)


def csv_text(rows: Sequence[InvoiceLineRow]) -> str:
    """RFC 4180, with the names of the columns first.

    A text that a spreadsheet would take for a formula gets an apostrophe in front: names of lines come from clients,
    and the file is made to be opened by others.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in rows:
        members = msgspec.to_builtins(row)
        writer.writerow([_cell(name, members[name]) for name in COLUMNS])
    return out.getvalue()


def _cell(name: str, value: str | None) -> str:
    if value is None:
        return ""
    return "'" + value if name in _TEXTS and value.startswith(_FORMULA) else value
