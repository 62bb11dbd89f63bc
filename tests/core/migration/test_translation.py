"""Objects of an OpenMeter become bodies of ours, and nothing is left out without a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.core.migration import translation
from pipeline.core.migration.translation import Translation
from pipeline.errors import Rejected

STAMPS = {
    "id": "01K",
    "createdAt": "2026-01-01T00:00:00Z",
    "updatedAt": "2026-01-01T00:00:00Z",
    "annotations": None,
}
Row = dict[str, Any]


@pytest.mark.parametrize(
    ("translate", "row", "body"),
    [
        (translation.meter,
         {"slug": "a", "aggregation": "COUNT", "eventType": "x", "description": "", "metadata": None,
          "groupBy": {"model": "$.model"}},
         {"slug": "a", "aggregation": "COUNT", "eventType": "x", "groupBy": {"model": "$.model"}}),
        (translation.meter, {"slug": "a", "windowSize": "MINUTE"}, {"slug": "a"}),
        (translation.subject, {"key": "ann", "displayName": None, "currentPeriodStart": "2026-01-01T00:00:00Z"},
         {"key": "ann"}),
        (translation.customer,
         {"key": "c", "name": "C", "usageAttribution": {"subjectKeys": ["s"]}, "metadata": {"empty": ""},
          "billingAddress": {"city": "", "country": "DE"}},
         {"key": "c", "name": "C", "usageAttribution": {"subjectKeys": ["s"]}, "metadata": {"empty": ""},
          "billingAddress": {"country": "DE"}}),
        (translation.feature,
         {"key": "f", "name": "F", "meterGroupByFilters": {"m": "a"},
          "advancedMeterGroupByFilters": {"m": {"$eq": "a", "$ne": None}}},
         {"key": "f", "name": "F", "meterGroupByFilters": {"m": "a"}}),
        (translation.feature,
         {"key": "f", "name": "F", "meterGroupByFilters": {},
          "advancedMeterGroupByFilters": {"m": {"$in": ["a", "b"]}}},
         {"key": "f", "name": "F", "advancedMeterGroupByFilters": {"m": {"$in": ["a", "b"]}}}),
        (translation.feature,
         {"key": "f", "name": "F", "unitCost": {"type": "llm", "model": "m", "pricing": {"input": "1"}}},
         {"key": "f", "name": "F", "unitCost": {"type": "llm", "model": "m"}}),
        (translation.channel, {"type": "WEBHOOK", "name": "h", "url": "https://a.test", "signingSecret": "whsec_x"},
         {"type": "WEBHOOK", "name": "h", "url": "https://a.test", "signingSecret": "whsec_x"}),
    ],
)  # fmt: skip
def test_what_is_taken_over(translate: Callable[[Row], Translation], row: Row, body: Row) -> None:
    found = translate(STAMPS | row)
    assert (found.body, found.notes) == (body, ())


@pytest.mark.parametrize(
    ("translate", "row", "words"),
    [
        (translation.meter, {"slug": "a", "unit": "GB"}, "The meter a has unit, which is not taken over."),
        (
            translation.customer,
            {"key": "c", "name": "C", "currentSubscriptionId": "01K"},
            "has a subscription",
        ),
        (translation.channel, {"name": "h", "url": "https://a.test"}, "`tallymark endpoints update ID FILE`"),
    ],
)
def test_what_is_left_out_is_named(translate: Callable[[Row], Translation], row: Row, words: str) -> None:
    (note,) = translate(STAMPS | row).notes
    assert words in note


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({"key": "k", "name": "n", "usageAttribution": {"subjectKeys": ["s"]}}, "k"),
        ({"name": "n", "usageAttribution": {"subjectKeys": ["s", "t"]}}, "s"),
        ({"name": "n", "usageAttribution": {"subjectKeys": []}}, "n"),
        ({"name": "n"}, "n"),
    ],
)
def test_a_customer_is_named_by_what_both_sides_have(row: Row, key: str) -> None:
    assert translation.customer_key(row) == key


RULE: Row = {
    "type": "entitlements.reset", "name": "r", "disabled": False, "channels": [{"id": "theirs", "type": "WEBHOOK"}],
    "features": [{"id": "01K", "key": "tokens"}],
}  # fmt: skip


def test_a_rule_comes_disabled_with_our_channels() -> None:
    body = translation.rule(STAMPS | RULE, {"theirs": "ours"}).body
    assert body == {
        "type": "entitlements.reset", "name": "r", "channels": ["ours"], "features": ["tokens"], "disabled": True
    }  # fmt: skip


def test_a_rule_of_a_channel_that_was_refused_is_refused() -> None:
    with pytest.raises(Rejected, match="channel theirs was not taken over"):
        translation.rule(STAMPS | RULE, {"other": "ours"})
