"""The envelope of every webhook: its members in order, exact numbers, and which types there may be."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.notifications.webhook_payload import payload
from pipeline.errors import Rejected


def test_the_envelope_holds_the_data_as_it_is() -> None:
    data = {"value": msgspec.Raw(b"0.10"), "text": "\u00fc \u2028"}
    assert payload("m", "a.b_c", 1_767_225_600_000, data) == (
        '{"id":"m","type":"a.b_c","timestamp":"2026-01-01T00:00:00.000Z","data":{"value":0.10,"text":"\u00fc \u2028"}}'
    )


@pytest.mark.parametrize("type", ["", ".", "a.", "a..b", "a-b", "a b", "\u00fc"])
def test_a_type_is_words_with_dots(type: str) -> None:
    with pytest.raises(Rejected) as raised:
        payload("m", type, 0, {})
    assert raised.value.reason == "bad-webhook-type"
