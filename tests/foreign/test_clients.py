"""OpenMeter's clients from npm and PyPI, unchanged, against a whole local stack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.absent import absent
from tests.flow.stack_process import StackProcess
from tests.foreign.rig import Absent, install_python, run_js, run_python, stripe_sandbox

CALLS = 145  # methods of @openmeter/sdk


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URL and key of a fresh stack."""
    with stripe_sandbox() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALLYMARK_STRIPE_ADDRESS", address)
        with StackProcess(tmp_path_factory.mktemp("foreign")) as running:
            yield running.settings.api_url, (running.folder / "admin.key").read_text().strip()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return install_python(tmp_path_factory.mktemp("py") / "client")
    except Absent as error:
        absent(str(error))
        raise


def test_the_client_of_javascript(js_client: Path, stack: tuple[str, str]) -> None:
    calls = run_js(js_client, *stack)
    assert [one for one in calls if one.outcome == "fails"] == []
    assert len({one.call for one in calls if one.listed}) == CALLS
    assert {one.call for one in calls if one.listed and one.outcome != "works"} == set()
    assert {"portal client: query", "react provider: query"} <= {
        one.call for one in calls if one.outcome == "works"
    }


def test_the_client_of_python(python: Path, stack: tuple[str, str]) -> None:
    calls = run_python(python, *stack)
    assert [one for one in calls if one.outcome == "fails"] == []
    assert len([one for one in calls if one.outcome == "works"]) >= 35
