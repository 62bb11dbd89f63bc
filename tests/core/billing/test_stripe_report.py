"""Reports of Stripe as they are read: codes, samples, instants in both forms, and other forms refused."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.billing.stripe_report import REPORTS, cause_of, read
from pipeline.errors import Rejected

EVENT: dict[str, Any] = {
    "id": "evt_1", "type": REPORTS[0], "created": "2026-11-28T10:00:00.000Z",
    "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
}  # fmt: skip
SAMPLE = {"error_message": "No such customer", "request": {"identifier": "tm1:a"}}
CONTENT: dict[str, Any] = {
    "developer_message_summary": "There is 1 invalid event.",
    "reason": {
        "error_count": 1,
        "error_types": [
            {"code": "meter_event_customer_not_found", "error_count": 1, "sample_errors": [SAMPLE]}
        ],
    },
    "validation_start": "2026-11-28T09:59:00.000Z",
    "validation_end": 1_795_860_000,
}


def test_a_report_is_read_whole() -> None:
    found = read("n", "app", EVENT, CONTENT)
    assert (found.namespace, found.app, found.event, found.type, found.meter) == (
        "n", "app", "evt_1", REPORTS[0], "mtr_1",
    )  # fmt: skip
    assert (found.created_ms, found.from_ms, found.to_ms) == (
        1_795_860_000_000,
        1_795_859_940_000,
        1_795_860_000_000,
    )
    assert found.codes == {"meter_event_customer_not_found": 1}
    assert found.identifiers == {"tm1:a": "meter_event_customer_not_found: No such customer"}
    assert found.sentence == "There is 1 invalid event. meter_event_customer_not_found (1)"
    assert cause_of(found) == "unknown_customer"


def test_a_report_without_content_or_meter_names_no_code() -> None:
    found = read("n", "app", {"id": "e", "type": REPORTS[1], "created": 7}, None)
    assert (found.meter, found.codes, found.from_ms, found.to_ms) == ("", {}, 7_000, 7_000)
    assert cause_of(found) == "refused"


@pytest.mark.parametrize(
    ("event", "content"),
    [
        ({}, None),
        (EVENT | {"created": "yesterday"}, None),
        (EVENT | {"created": None}, None),
        (EVENT | {"related_object": {}}, None),
        (EVENT, {"reason": 7}),
        (EVENT, {"reason": {"error_types": [{"error_count": 1}]}}),
        (EVENT, {"validation_start": [1]}),
    ],
)
def test_another_form_is_refused(event: dict[str, Any], content: dict[str, Any] | None) -> None:
    with pytest.raises(Rejected) as refusal:
        read("n", "app", event, content)
    assert refusal.value.reason == "bad-report"
