"""The worked examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from pipeline import core

MODULES = [one.name for one in pkgutil.walk_packages(core.__path__, "pipeline.core.")]
HARD = {"pipeline.core." + name for name in ("notifications.threshold", "quota.burndown", "quota.balance",
        "quota.history", "quota.account_usage", "quota.last_crossing")}  # fmt: skip


def test_the_hard_modules_exist() -> None:
    assert set(MODULES) >= HARD


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    found = doctest.testmod(module)
    assert found.failed == 0
    if name in HARD:
        assert found.attempted
