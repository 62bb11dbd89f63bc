"""Which form a request accepts best."""

from __future__ import annotations

import pytest

from pipeline.api.http.accept import preferred

JSON, CSV = "application/json", "text/csv"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("text/csv", CSV),
        ("Text/CSV; charset=utf-8", CSV),
        ("application/json, text/csv;q=0.1", JSON),
        ("application/json;q=0.1, text/csv", CSV),
        ("text/csv;q=0.9, application/json;q=0.8", CSV),
        ("application/json;q=0.8,text/csv;q=0.81", CSV),
        ("text/csv, application/json", CSV),
        ("application/json, text/csv", JSON),
        ("text/csv, */*", CSV),
        ("*/*, text/csv;q=0.5", JSON),
        ("text/*", CSV),
        ("text/*;q=0.2, application/*;q=0.3", JSON),
        ("text/csv;q=0, */*", JSON),
        ("application/json;q=0, */*;q=0.1", CSV),
        ("text/csv;q=0", JSON),
        ("text/html", JSON),
        ("text/html, text/csv;q=0.001", CSV),
        ("text/csv;header=present;q=0.7, application/json;q=0.6", CSV),
        ("text/csv;q=1.000, application/json;q=0.999", CSV),
        ("text/csv;Q=0.5 , application/json ; q=0.6", JSON),
        ("text/csvx", JSON),
        (",,", JSON),
    ],
)
def test_the_weight_decides_then_precision_then_order(accept: str, form: str) -> None:
    assert preferred(accept, (JSON, CSV)) == form
