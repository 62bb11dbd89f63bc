"""What the processes of the API count is served to Prometheus, as one sum however many they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request

import pytest

from pipeline.api.invoices import counted_lines
from pipeline.api.operation import process_metrics
from pipeline.settings import Settings
from tests.fixtures.patience import PATIENCE_S

COUNTED = "from pipeline.api.invoices.counted_lines import UNEXPLAINED; UNEXPLAINED.inc()"


@pytest.fixture
def settings() -> Settings:
    return Settings.model_construct(metrics_host="127.0.0.1", metrics_port=0)


def scraped(capsys: pytest.CaptureFixture[str]) -> str:
    """The metrics, at the address that was printed."""
    found = re.search(r"metrics at (\S+)", capsys.readouterr().err)
    assert found is not None
    with urllib.request.urlopen(found[1], timeout=PATIENCE_S) as response:
        return str(response.read().decode())


def value(metrics: str) -> float:
    (found,) = re.findall(r"^tallymark_unexplained_lines_total (\S+)$", metrics, re.MULTILINE)
    return float(found)


def test_one_process_serves_what_it_counts(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with process_metrics.served(settings, 1):
        before = counted_lines.UNEXPLAINED._value.get()
        counted_lines.UNEXPLAINED.inc()
        metrics = scraped(capsys)
    assert value(metrics) == before + 1
    assert "process_start_time_seconds" in metrics


def test_several_processes_are_added_up_and_an_end_takes_nothing_away(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with process_metrics.served(settings, 2):
        for _ in range(2):
            subprocess.run([sys.executable, "-c", COUNTED], check=True, timeout=PATIENCE_S)
        metrics = scraped(capsys)
    assert value(metrics) == 2
    assert "process_start_time_seconds" in metrics, "an alert asks how often it started"
    assert process_metrics.FOLDER not in os.environ


def test_an_address_that_is_not_ours_leaves_the_api_without_metrics(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = Settings.model_construct(metrics_host="192.0.2.1", metrics_port=0)
    with process_metrics.served(settings, 1):
        assert capsys.readouterr().err == "tallymark api serves its metrics at no port\n"
