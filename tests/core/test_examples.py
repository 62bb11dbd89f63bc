"""The worked examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from pipeline import core

MODULES = [one.name for one in pkgutil.walk_packages(core.__path__, "pipeline.core.")]
HARD = ("credit", "threshold", "burndown", "balance", "period")  # what nobody should have to read twice


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    found = doctest.testmod(module)
    assert found.failed == 0
    if name.rpartition(".")[2] in HARD:
        assert found.attempted
