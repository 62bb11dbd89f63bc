"""What every suite shares: the plugins with its fixtures, the order of files, no settings of the person."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis

from pipeline.settings import PREFIX

pytest_plugins = [
    "tests.fixtures.broker",
    "tests.fixtures.api_services",
]

# A broker of a test lives for a minute: the second compiler would cost more than it gains.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
STACKS = {"flow", "torture", "foreign", "local", "client"}

# How long an example takes says more about the machine than about the code.
hypothesis.register_profile("tallymark", deadline=None)
hypothesis.load_profile("tallymark")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spreads the files that run whole stacks among the others: they mostly wait, the others mostly compute."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    stacks = [found for path, found in files.items() if STACKS.intersection(path.parts)]
    others = [found for path, found in files.items() if not STACKS.intersection(path.parts)]
    ordered: list[list[pytest.Item]] = []
    step = max(1, len(others) // (len(stacks) * 2 or 1))  # all stacks have begun by half of the way
    for place, found in enumerate(others):
        if place % step == 0 and stacks:
            ordered.append(stacks.pop())
        ordered.append(found)
    items[:] = [item for found in ordered + stacks for item in found]


@pytest.fixture(autouse=True)
def no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sees no settings of the person who runs it."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
