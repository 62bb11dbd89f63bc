"""Reasons of a refusal: a closed list, in names that read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.metering.meter import define
from pipeline.core.metering.refusal import REASONS, MeterTotal, counted_name, refused_name, sentence, total_of
from pipeline.core.values import number
from pipeline.errors import Rejected
from pipeline.records import Refused
from tests.core.values.test_number import REFUSED

SLUGS = st.from_regex(r"[a-z0-9]{1,8}(_[a-z0-9]{1,8})?", fullmatch=True)


@given(SLUGS, st.integers(1, 2**63 - 1), st.sampled_from(sorted(REASONS)))
def test_a_name_reads_back(slug: str, meter_id: int, reason: str) -> None:
    meter = define({"slug": slug, "eventType": "t", "aggregation": "COUNT"}, meter_id)
    assert total_of(counted_name(meter)) == MeterTotal(slug, meter_id, "")
    assert total_of(refused_name(slug, meter_id, reason)) == MeterTotal(slug, meter_id, reason)


@pytest.mark.parametrize("name", ["read", "counted", "rejected:bad-json", "unmetered>counted", "left", ""])
def test_names_of_outcomes_are_about_no_meter(name: str) -> None:
    assert total_of(name) is None


@pytest.mark.parametrize("value", [value for value, _ in REFUSED], ids=lambda value: ascii(value)[:24])
def test_every_refusal_of_a_number_has_a_reason_of_the_list(value: object) -> None:
    with pytest.raises(Rejected) as refusal:
        number.atto(value)
    assert refusal.value.reason in REASONS


def test_a_sentence_names_each_meter() -> None:
    refused = [Refused(1, "bill", "value-null", "value cannot be null"), Refused(2, "n", "value-type", "no")]
    assert sentence(refused) == "bill: value cannot be null; n: no"
    assert sentence([]) == ""
