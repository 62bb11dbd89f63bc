"""A stack takes an OpenMeter over: killed on the way, repeated, with a producer that writes to both sides."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.absent import absent
from tests.fixtures.openmeter import FakeOpenMeter, served, text_of
from tests.fixtures.openmeter_content import DAY_S, EVENTS, content
from tests.flow.stack_process import COUNTING, StackProcess
from tests.flow.test_story import PARTS

DIED_AT = 6  # requests for events


@pytest.fixture(scope="module", autouse=True)
def local_stack() -> None:
    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    if missing:
        absent(f"the local stack is not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackProcess]:
    folder = tmp_path_factory.mktemp("migrate")
    with StackProcess(folder, stages=(*COUNTING, "alert", "live")) as running:
        yield running


def report(stack: StackProcess, *words: str, code: int) -> dict[str, Any]:
    """The report of a run. code: with which it has to end."""
    done = stack.command("migrate", "openmeter", *words, "--format", "json")
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def states(found: dict[str, Any], state: str) -> set[tuple[str, str]]:
    return {(one["kind"], one["key"]) for one in found["outcomes"] if one["state"] == state}


def until_killed(stack: StackProcess, fake: FakeOpenMeter, words: list[str]) -> None:
    """Runs the command, and kills it while it reads events."""
    asked = 0
    running: list[subprocess.Popen[bytes]] = []

    def count(path: str) -> None:
        nonlocal asked
        asked += path == "/api/v2/events"
        if asked == DIED_AT:
            os.kill(running[0].pid, signal.SIGKILL)

    fake.before = count
    argv = stack._argv(("migrate", "openmeter", *words))
    running.append(subprocess.Popen(argv, env=stack._environment(), stdout=subprocess.DEVNULL))
    assert running[0].wait() == -signal.SIGKILL
    fake.before = lambda path: None


TAKEN = {
    ("meter", "tokens"), ("meter", "calls"), ("feature", "tokens"), ("feature", "sso"), ("subject", "ann"),
    ("customer", "acme"), ("customer", "cid"), ("plan", "pro"), ("entitlement", "acme/tokens"),
    ("entitlement", "acme/sso"), ("channel", "hook"), ("rule", "used up"),
}  # fmt: skip
REFUSED = {("meter", "odd"), ("channel", "inside"), ("rule", "nowhere"), ("events", "(1)")}


@pytest.mark.services
def test_an_openmeter_is_taken_over(stack: StackProcess, tmp_path: Path) -> None:
    fake, position = content(int(time.time())), str(tmp_path / "position.json")
    with served(fake) as url:
        planned = report(stack, url, "--dry-run", code=1)
        grants = {(kind, key) for kind, key in states(planned, "created") if kind == "grant"}
        assert len(grants) == 2 and planned["events"] == EVENTS + 1
        assert states(report(stack, url, "--dry-run", code=1), "exists") == set()  # nothing was made

        since = text_of(int(time.time()) - 11 * DAY_S)
        until_killed(stack, fake, [url, "--from", since, "--position", position])
        made = report(stack, url, "--from", since, "--position", position, code=1)
        assert states(made, "created") | states(made, "exists") == TAKEN | grants
        assert states(made, "refused") >= REFUSED
        assert made["events"] < EVENTS  # the position file saved some
        assert {one["verdict"] for one in made["compared"]} == {"same", "rounding"}
        assert {one["name"] for one in made["compared"]} == {"tokens", "calls", "acme/tokens"}

        write_again(stack, fake)
        again = report(stack, url, code=1)
        assert states(again, "created") == set() == states(again, "differs")
        assert states(again, "exists") == TAKEN | grants and again["events"] == EVENTS
        assert {one["verdict"] for one in again["compared"]} == {"same", "rounding"}

    key = str(stack.folder / "admin.key")
    itself = report(stack, stack.settings.api_url, "--key-file", key, "--dry-run", code=0)
    assert states(itself, "exists") == TAKEN
    assert {kind for kind, _ in states(itself, "created")} == {
        "grant"
    }  # a grant is known by its id at the source


def write_again(stack: StackProcess, fake: FakeOpenMeter) -> None:
    """A producer that writes to both sides sends here what was taken over, with a time of milliseconds."""
    key = (stack.folder / "admin.key").read_text().strip()
    batch = [
        {"specversion": "1.0", **event, "time": event["time"].replace("Z", ".250Z")}
        for event in fake.events[:50]
    ]
    address = stack.settings.api_url + "/api/v1/events"
    answer = httpx.post(address, json=batch, headers={"authorization": f"Bearer {key}"}, timeout=60)
    assert answer.status_code == 204, answer.text
