"""Billing on a real broker: workers that are killed write the same bills, and numbers have no gap.

The time is that of the story: months pass in seconds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.local.kafka import Kafka
from pipeline.settings import Settings
from tests.flow.billing_run import Scale, run
from tests.flow.billing_twice import KILLS, compare

pytestmark = pytest.mark.own_broker  # workers run for a minute
CUSTOMERS = 5


def test_workers_that_are_killed_write_the_same_documents(kafka: Kafka, tmp_path: Path) -> None:
    found = compare(Settings.model_construct(kafka=kafka.address), tmp_path / "run", CUSTOMERS)
    assert found.wrong == []
    assert found.restarts == sum(map(len, KILLS.values()))
    assert found.invoices >= 3 * CUSTOMERS


def test_numbers_of_eight_partitions_have_no_gap_under_kills(kafka: Kafka, tmp_path: Path) -> None:
    reported: list[str] = []
    wrong = run(kafka, tmp_path / "run", Scale(invoices=300, customers=150, kills=2), reported.append)
    assert wrong == [], reported
