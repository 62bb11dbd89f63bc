"""What every suite shares: the plugins with its fixtures, which tests run, their order, no settings of the person.

`pytest` alone runs what needs no service. `pytest --all`, or `pytest PATH`, runs the others too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis

from pipeline.settings import PREFIX
from tests.fixtures import java_cache

pytest_plugins = [
    "tests.fixtures.broker",
    "tests.fixtures.api_services",
    "tests.fixtures.command_runner",
    "tests.fixtures.stripe_mock",
    "tests.fixtures.worker_groups",
]

# Compiling the tests is half of the time of a collection: what was compiled is kept, whatever the environment says.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault(java_cache.OPTIONS, java_cache.options())

# A test needs a service when it is in one of these folders or uses one of these fixtures.
ROOT = Path(__file__).parent
SERVICE_FOLDERS = {"flow", "torture", "foreign", "local", "bench"}
SERVICE_FIXTURES = {
    "kafka",
    "chdb",
    "own_chdb",
    "clickhouse_server",
    "store",
    "url",
    "redis_url",
    "stack",
    "stripe_mock",
}

# How long an example takes says more about the machine than about the code. A quick run tries a part of them.
hypothesis.register_profile("all", deadline=None)
hypothesis.register_profile("quick", deadline=None, max_examples=8)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all", action="store_true", help="also run the tests that need Kafka, ClickHouse or Redis"
    )
    parser.addoption("--record", action="store_true", help="write tests/api/recorded again")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Gives the decision of the controller to each worker of xdist, which cannot see how it was called."""
    node.workerinput["quick"] = _is_quick(node.config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker a core where tests compute, since each collects them all; four where each may wait for a stack."""
    return len(os.sched_getaffinity(0)) if _is_quick(config) else 4


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.load_profile("quick" if _is_quick(config) else "all")


@pytest.hookimpl(tryfirst=True)  # before the groups are formed
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what needs a service, and leaves it out of a quick run."""
    for item in items:
        if _needs_service(item):
            item.add_marker("services")
    if _is_quick(config):
        left_out = [item for item in items if item.get_closest_marker("services")]
        items[:] = [item for item in items if not item.get_closest_marker("services")]
        config.hook.pytest_deselected(items=left_out)


def _is_quick(config: pytest.Config) -> bool:
    """Whether only tests without services run: neither `--all` nor a path nor `-m` was given."""
    workerinput = getattr(config, "workerinput", None)
    if workerinput is not None:
        return bool(workerinput["quick"])
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    return not (named or config.getoption("--all") or config.getoption("-m"))


def _needs_service(item: pytest.Item) -> bool:
    folders = item.path.relative_to(ROOT).parts
    fixtures = getattr(item, "fixturenames", ())
    marked = item.get_closest_marker("services") is not None
    return marked or not SERVICE_FOLDERS.isdisjoint(folders) or not SERVICE_FIXTURES.isdisjoint(fixtures)


@pytest.fixture(autouse=True)
def no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sees no settings of the person who runs it."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
