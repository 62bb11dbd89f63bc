"""Crash points: the engine knows its own, stages define theirs, and an unknown name is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.agents import sink, webhook_dispatch
from pipeline.engine import crash_points, metrics
from pipeline.stages import STAGES

ENGINE = Path(crash_points.__file__).parent


def started(point: str, *modules: str) -> subprocess.CompletedProcess[str]:
    """A process with CRASH_AT that imports these modules and checks the name."""
    imports = "".join(f"import {module}; " for module in modules)
    code = f"{imports}from pipeline.engine import crash_points; crash_points.require_known()"
    environment = {**os.environ, "CRASH_AT": f"{point}:1"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_the_engine_names_no_stage() -> None:
    own = {*crash_points.POINTS, metrics.OUTCOMES._documentation}
    assert not [text for text in own for stage in STAGES if stage in text]
    assert set(sink.POINTS).isdisjoint(crash_points.POINTS) and set(webhook_dispatch.POINTS).isdisjoint(
        crash_points.POINTS
    )


def test_a_stages_point_is_known_where_the_stage_is() -> None:
    assert started(sink.POINTS[0], "pipeline.agents.sink").returncode == 0
    refused = started(sink.POINTS[0])
    assert refused.returncode == 1 and "known crash points: assign.begin" in refused.stderr


@pytest.mark.parametrize("point", ["chunk.begin", "table.after"])
def test_the_engines_points_are_always_known(point: str) -> None:
    assert started(point).returncode == 0
