"""What `tallymark status` prints."""

from __future__ import annotations

import pytest

from pipeline.cli import output


def test_status_shows_why_a_stage_fails(capsys: pytest.CaptureFixture[str]) -> None:
    stage = {"stage": "sink", "up": True, "workers": [{}], "lag": 7, "rate": 0.0, "controlRevision": None}
    stages = [{**stage, "failing": "ClickHouse refused (code 243)"}, {**stage, "failing": ""}]
    output.print_status({"stages": stages, "neighbours": {}, "refused": [], "apps": [], "bills": None})
    shown = capsys.readouterr().out
    assert shown.count("is failing") == 1
    assert "sink is failing: ClickHouse refused (code 243)\n" in shown
