"""What every suite shares: a real Kafka broker, settings that point to it, and a clean set of topics."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis

from pipeline.errors import Unavailable
from pipeline.local.kafka import Kafka
from pipeline.local.process import free_port
from pipeline.settings import PREFIX, Settings
from pipeline.stores.kafka import client as cluster
from pipeline.stores.kafka import topics

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


def absent(reason: str) -> None:
    """A service that a test needs is not there: skip here, fail where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A real broker of this session, without topics."""
    broker = Kafka(tmp_path_factory.mktemp("broker"), free_port())
    try:
        broker.start()
    except Unavailable as error:
        absent(str(error))
    yield broker
    broker.kill()


@pytest.fixture
def settings(kafka: Kafka, tmp_path: Path) -> Settings:
    """Settings of a test: the session's broker, a state folder of its own, defaults otherwise."""
    return Settings.model_construct(kafka=kafka.address, state_dir=tmp_path / "state")


@pytest.fixture
def fresh_topics(settings: Settings) -> Settings:
    """The declared topics, all empty. Gives the settings back."""
    reset_topics(settings)
    return settings


@pytest.fixture
def reset() -> Callable[[Settings], None]:
    """`reset_topics`, for a test with settings of its own, such as another partition count."""
    return reset_topics


def reset_topics(settings: Settings) -> None:
    """Deletes every topic on the broker and creates the declared ones."""
    client = cluster.admin(settings)
    names = [name for name in cluster.cluster(settings).topics if not name.startswith("__")]
    if names:
        for future in client.delete_topics(names, operation_timeout=30).values():
            future.result()
    deadline = time.monotonic() + 30
    while not {name for name in cluster.cluster(settings).topics if not name.startswith("__")}.isdisjoint(
        names
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    topics.apply(settings)
