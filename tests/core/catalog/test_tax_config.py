"""Tax configurations that clients send: what is read comes back, and the rest is refused with a sentence."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.core.catalog.tax_config import TaxConfig, read_tax_config
from pipeline.errors import Rejected

SENT = {
    "behavior": "inclusive", "stripe": {"code": "txcd_10000000"}, "customInvoicing": {"code": "mine"},
    "taxCodeId": "vat",
}  # fmt: skip


def test_what_was_sent_comes_back() -> None:
    read = read_tax_config("line", SENT, "taxConfig")
    assert msgspec.to_builtins(read) == SENT
    assert msgspec.convert(SENT, TaxConfig) == read
    assert read_tax_config("line", {}, "taxConfig") == TaxConfig()


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        ({"behavior": "x"}, "line taxConfig behavior must be one of inclusive, exclusive"),
        ({"stripe": {"code": "x"}}, "line taxConfig stripe code must be txcd_ and eight digits"),
        ({"customInvoicing": {}}, "line taxConfig.customInvoicing code is required"),
        ({"customInvoicing": {"x": 1}}, "line taxConfig.customInvoicing has an unknown member 'x': it may have code"),
        ({"taxCodeId": 1}, "line taxConfig taxCodeId must be a string"),
        ({"x": 1}, "line taxConfig has an unknown member 'x'"),
    ],
)  # fmt: skip
def test_refusals(sent: dict[str, Any], detail: str) -> None:
    with pytest.raises(Rejected) as refusal:
        read_tax_config("line", sent, "taxConfig", ".")
    assert refusal.value.reason == "bad-line" and refusal.value.detail.startswith(detail)
