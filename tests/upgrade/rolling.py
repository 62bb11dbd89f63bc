"""Every stage is replaced by this code, one at a time, under load: `python -m tests.upgrade.rolling --data DIR`.

All workers run the code of an earlier commit first, two of each stage. Then, stage by stage against the flow, a new
worker starts beside the old ones and an old one stops, twice; the API is replaced too. Meanwhile events come over Kafka
and HTTP, some of them twice, and definitions change. In the middle one stage is rolled back and forward again. Exit
code 1 unless every event is counted once in its minute, `reconcile` adds up, balances are exact, and each alert fired
and arrived once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from pipeline.local.webhook_receiver import Receiver, new_secret
from tests.fixtures.patience import PATIENCE_S
from tests.flow.stack_main import SETTINGS
from tests.upgrade.fleet import Fleet, apply_topics, require_code
from tests.upgrade.record import ROOT
from tests.upgrade.rolling_story import RollingStory
from tests.upgrade.steady_load import SteadyLoad
from tests.upgrade.story import Story

FROM = "7bc9e99"  # where there is no release: the first commit with all stages
ROLLED_BACK = "aggregate"
# Readers before their writers, so that no stage reads a record that is newer than itself.
ORDER = ("live", "sink", "webhook", "stripe-sync", "numbering", "billing", "alert", "attribute", "backfill",
         "aggregate", "dedupe", "ingest", "control")  # fmt: skip


def last_release() -> str:
    """The newest tag of a version, else FROM."""
    words = ["git", "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*"]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or FROM


def roll(fleet: Fleet, story: RollingStory, load: SteadyLoad, say: Callable[[str], None]) -> list[str]:
    """Replaces every stage and the API, changes definitions, rolls one stage back. Returns what went wrong."""
    meanwhile = {
        "webhook": story.change_entitlements, "attribute": story.add_meter, "aggregate": story.add_rule,
    }  # fmt: skip
    apply_topics(fleet.services, ROOT)
    for stage in ORDER:
        if change := meanwhile.get(stage):
            change()
            say(change.__name__)
        if error := fleet.replace(stage, ROOT):
            return [f"the new {stage} refuses: {error}"]
        say(f"{stage} is replaced; {load.unique} events so far")
    if error := fleet.replace(ROLLED_BACK, fleet.old):
        say(f"{ROLLED_BACK} is not rolled back: {error}")
    else:
        say(f"{ROLLED_BACK} is rolled back; {load.unique} events so far")
        time.sleep(3)  # under load
        if error := fleet.replace(ROLLED_BACK, ROOT):
            return [f"{ROLLED_BACK} does not come forward again: {error}"]
        say(f"{ROLLED_BACK} is replaced again")
    load.api_url = url = fleet.new_api()
    story.story = Story(fleet.services.folder, url)
    wait_for_api(story.story)
    say("the API is replaced")
    return []


def wait_for_api(story: Story) -> None:
    """Returns when it answers."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            story.ask("GET", "/ready")
        except (httpx.TransportError, AssertionError):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return


def run(folder: Path, commit: str, say: Callable[[str], None]) -> list[str]:
    """Returns the differences; none where all is as it has to be."""
    secret = new_secret()
    os.environ.update(SETTINGS)
    with Receiver([secret]) as receiver, Fleet(folder, commit) as fleet:
        require_code(fleet.old)
        require_code(ROOT)
        say(f"{sum(map(len, fleet.workers.values()))} workers of {commit} run")
        key = (fleet.services.folder / "admin.key").read_text().strip()
        load = SteadyLoad(fleet.services.settings, fleet.services.settings.api_url, key)
        story = RollingStory(Story(fleet.services.folder), load, receiver, secret)
        story.define()
        load.start()
        found = roll(fleet, story, load, say)
        while not found and not story.is_late_fired():
            fleet.tend()
            time.sleep(0.5)
        load.close()
        say(f"{load.unique} different events are sent")
        found += story.differences()
        say(
            f"{len(receiver.messages)} webhooks arrived; workers ended and started again {fleet.restarts} times"
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.upgrade.rolling", description=__doc__)
    parser.add_argument(
        "--from", dest="commit", default=last_release(), help="the commit that runs first: the last release"
    )
    parser.add_argument("--data", type=Path, required=True, help="a new folder")
    given = parser.parse_args()
    folder = given.data.absolute()
    folder.mkdir(parents=True)
    began_s = time.monotonic()
    found = run(
        folder, given.commit, lambda line: print(f"{time.monotonic() - began_s:7.1f} s  {line}", flush=True)
    )
    print(*found, f"{len(found)} differences", sep="\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
