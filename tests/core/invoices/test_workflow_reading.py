"""What a client may send as settings: what is read is shown again, and everything else is refused with a sentence."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.invoices.workflow import BillingWorkflow
from pipeline.core.invoices.workflow_reading import read_workflow
from pipeline.errors import Rejected

SENT = {
    "collection": {
        "alignment": {
            "type": "anchored",
            "recurringPeriod": {"interval": "P1M", "anchor": "2026-01-31T00:00:00.000Z"},
        },
        "interval": "PT2H",
    },
    "invoicing": {
        "autoAdvance": False,
        "draftPeriod": "P1D",
        "dueAfter": "P14D",
        "progressiveBilling": False,
        "subscriptionEndProrationMode": "bill_full_period",
    },
    "payment": {"collectionMethod": "send_invoice"},
    "tax": {"enabled": True, "enforced": True},
    "dunning": {
        "steps": [{"after": "P3D", "action": "notify"}, {"after": "P5D", "action": "retry_payment"}],
        "giveUpAfter": "P30D",
        "then": "uncollectible",
    },
}


def test_what_is_sent_is_shown() -> None:
    assert msgspec.to_builtins(read_workflow(SENT), builtin_types=()) == SENT | {
        "dunning": SENT["dunning"] | {"steps": tuple(SENT["dunning"]["steps"])}  # type: ignore[operator,index]
    }
    assert read_workflow({}) == BillingWorkflow()
    assert msgspec.convert(msgspec.to_builtins(read_workflow(SENT)), BillingWorkflow) == read_workflow(SENT)


@pytest.mark.parametrize(
    ("part", "body", "sentence"),
    [
        ("collection", {"interval": "1h"}, "is not valid"),
        ("collection", {"interval": "-P1D"}, "is not valid"),
        ("collection", {"alignment": {}}, "type is required"),
        ("collection", {"alignment": {"type": "anchored"}}, "recurringPeriod is required"),
        (
            "collection",
            {"alignment": {"type": "anchored", "recurringPeriod": {"interval": "P1M"}}},
            "are required",
        ),
        (
            "collection",
            {"alignment": {"type": "subscription", "recurringPeriod": {}}},
            "belongs to the type anchored",
        ),
        ("invoicing", {"autoAdvance": "yes"}, "autoAdvance"),
        ("invoicing", {"draftPeriod": ""}, "is not valid"),
        ("invoicing", {"defaultTaxConfig": {"code": "x"}}, "defaultTaxConfig has an unknown member 'code'"),
        (
            "invoicing",
            {"defaultTaxConfig": {"stripe": {"code": "x"}}},
            "stripe code must be txcd_ and eight digits",
        ),
        ("invoicing", {"subscriptionEndProrationMode": "half"}, "must be one of"),
        ("payment", {"collectionMethod": "cash"}, "must be one of"),
        ("tax", {"enabled": False, "enforced": True}, "cannot be enforced"),
        ("dunning", {"then": "uncollectible"}, "giveUpAfter is required"),
        ("dunning", {"steps": [{"after": "P3D"}]}, "are required"),
        (
            "dunning",
            {"steps": [{"after": "P5D", "action": "notify"}, {"after": "P3D", "action": "notify"}]},
            "in the order of their time",
        ),
    ],
)
def test_what_is_wrong_is_refused(part: str, body: object, sentence: str) -> None:
    with pytest.raises(Rejected, match=sentence) as refused:
        read_workflow({part: body})
    assert refused.value.reason == "bad-billing-profile"
