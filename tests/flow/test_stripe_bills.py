"""Invoices on a real broker and the sandbox: each is at Stripe once, whatever happens to workers and calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.settings import Settings
from tests.flow.stripe_bills_run import Scale, run

pytestmark = pytest.mark.own_broker


def test_nothing_is_lost_or_doubled_by_failing_calls_an_outage_and_a_kill(
    fresh_topics: Settings, tmp_path: Path
) -> None:
    scale = Scale(invoices=8, customers=5, faults_permille=200, kills=1, outage_h=25)
    lines: list[str] = []
    assert run(fresh_topics, tmp_path, scale, lines.append) == [], lines
