"""A data folder that commit 43a24be wrote, opened by this code: nothing is lost, counted again or fired again."""

from __future__ import annotations

import importlib.util
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.local.webhook_receiver import Receiver
from tests.fixtures.absent import absent
from tests.flow.stack_process import StackProcess
from tests.flow.test_story import PARTS
from tests.upgrade import stream
from tests.upgrade.codecs import CODECS
from tests.upgrade.record import COMMIT, HERE, THRESHOLD, VOLUME, deliveries
from tests.upgrade.state import stored
from tests.upgrade.story import SETTINGS, Story, wait_for

KNOWN: dict[str, Any] = json.loads((HERE / f"{COMMIT}.json").read_text())
ACME, BETA = {"s0", "s1"}, {"s2", "s3"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver([KNOWN["secret"]]) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recorded data folder, and the settings with which it was recorded."""
    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    if missing:
        absent(f"the local stack is not installed: {', '.join(missing)}")
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    found = tmp_path / "data"
    with tarfile.open(HERE / f"{COMMIT}.tar.xz") as archive:
        archive.extractall(found, filter="data")
    return found


@contextmanager
def opened(folder: Path, receiver: Receiver) -> Iterator[Story]:
    """The stack of this code on the folder; its channels lead to `receiver`."""
    with StackProcess(folder):
        found = Story(folder)
        for name in ("up", "down"):
            body = {"type": "WEBHOOK", "name": name, "url": f"{receiver.url}{name}"}
            found.ask("PUT", f"/notification/channels/{KNOWN[name]}", body)
        yield found


def firings(story: Story) -> Counter[str]:
    """How often each thing was alerted: type, rule, customer, and the threshold or window."""
    return Counter(
        json.dumps([one["type"], one["rule"], one["customer"], one["feature"], one.get("annotations", {})])
        for one in story.alerts()
        if one["type"] in (THRESHOLD, VOLUME)
    )


@pytest.mark.services
def test_an_earlier_data_folder_continues_counting(folder: Path, receiver: Receiver) -> None:
    with opened(folder, receiver) as story:
        count_on(story, receiver)

    # Whatever the tables hold now is of a kind that has a golden, so that the next version reads it too.
    for kind, pairs in stored(folder).items():
        for _, value in pairs:
            CODECS[kind].decode(value)


def count_on(story: Story, receiver: Receiver) -> None:
    """Everything that was there before counts once, beside what is sent now."""
    base_s: int = KNOWN["base_s"]
    earlier, later = stream.before(base_s), stream.after(base_s)
    both = earlier + later

    # What was there is there.
    assert story.fates() == stream.fates(earlier)
    story.wait_for_usage(base_s, earlier)
    wait_for(lambda: story.value("acme", "tokens")["usage"] == stream.tokens(earlier, ACME))
    assert story.value("beta", "users")["usage"] == stream.users(earlier, BETA)
    assert {one["id"] for one in story.alerts()} <= set(KNOWN["alerts"])

    # A delivery that was in progress arrives; those that had arrived do not arrive again.
    wait_for(lambda: {one.id for one in receiver.messages} >= set(KNOWN["pending"]))
    assert {(one.path, one.id, one.refused) for one in receiver.messages} == {
        ("/down", id, "") for id in KNOWN["pending"]
    }

    # Each earlier event comes again and counts no more; new ones join the windows that are there.
    assert story.send(later) == stream.fates(both)
    story.wait_for_usage(base_s, both)
    used = stream.tokens(both, ACME)
    wait_for(lambda: story.value("acme", "tokens")["usage"] == used)
    found = story.value("acme", "tokens")
    assert (found["balance"], found["overage"], found["hasAccess"]) == (0, used - KNOWN["issued"], False)
    wait_for(lambda: story.value("beta", "users")["usage"] == stream.users(both, BETA))

    # The threshold of 100 % is crossed now and fires once; the one of 50 % and each window fired before.
    wait_for(lambda: any(reaches_100(one) for one in story.alerts()))
    assert story.fates() == stream.fates(both)
    new = [one for one in story.alerts() if one["id"] not in KNOWN["alerts"]]
    assert Counter(one["annotations"]["threshold"] for one in new if one["type"] == THRESHOLD) == {
        "usage_percentage:100": 1
    }
    assert set(firings(story).values()) == {1}
    wait_for(lambda: not deliveries(story, "SENDING"))
    arrived = Counter((one.path, one.id) for one in receiver.messages)
    assert {id for path, id in arrived if path == "/up"} == {one["id"] for one in new}
    assert set(arrived.values()) == {1}


def reaches_100(alert: dict[str, Any]) -> bool:
    return alert["type"] == THRESHOLD and alert["annotations"]["threshold"] == "usage_percentage:100"


def test_the_recording_is_small_and_holds_what_the_story_needs() -> None:
    assert (HERE / f"{COMMIT}.tar.xz").stat().st_size < 1_000_000
    assert KNOWN["pending"] and set(KNOWN["delivered"]) <= set(KNOWN["alerts"])
    new = [one for one in stream.after(KNOWN["base_s"]) if one.fate == "counted"]
    earlier = stream.before(KNOWN["base_s"])
    assert stream.tokens(earlier, ACME) < KNOWN["issued"] < stream.tokens(earlier + new, ACME)
    assert stream.users(earlier, BETA) < stream.users(earlier + new, BETA)
