"""Writes the data folder of an earlier version: `python -m tests.upgrade.record [COMMIT]`.

Owns: running that commit's own stack from a checkout, what is defined and sent there, and the packed folder. Writes
COMMIT.tar.xz and COMMIT.json (what the test has to know). Needs the commit in this repository's history.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.local.webhook_receiver import Receiver, new_secret
from tests.upgrade import stream
from tests.upgrade.story import SETTINGS, Story, instant, wait_for

COMMIT = "43a24be"
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LEFT_OUT = {"logs", "lock", "redis", "dev.log", "receiver"}  # Redis holds a copy that rebuilds itself
THRESHOLD, VOLUME = "entitlements.balance.threshold", "meter.volume.threshold"
PERIOD = {"interval": "P100Y"}  # so that no usage period ends before the folder is opened
NEVER = {"duration": "YEAR", "count": 90}
# `tallymark dev` on free ports; this interface belongs to the commit, so it does not change.
PROGRAM = """\
import sys
from pathlib import Path
from pipeline.local import stack
stack.run(stack.Stack(Path(sys.argv[1]), 1, wanted_ports=dict.fromkeys(stack.DEFAULT_PORTS, 0)))
"""


@contextmanager
def stack(checkout: Path, folder: Path) -> Iterator[Story]:
    """The stack of a checkout on `folder`, until it has stopped in good order."""
    folder.mkdir()
    log = folder / "dev.log"
    environment = os.environ | SETTINGS | {"PYTHONPATH": str(checkout)}
    with log.open("wb") as output:
        running = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)],
            cwd=checkout,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: b"tallymark is up" in log.read_bytes() or running.poll() is not None)
        assert running.poll() is None, log.read_text()[-2000:]
        yield Story(folder)
    finally:
        running.terminate()
        running.wait(60)


def define(story: Story, base_s: int, url: str, secret: str) -> dict[str, Any]:
    """Everything that is counted, owned, limited and notified. Gives the ids that the test needs."""
    for meter in stream.METERS:
        story.ask("POST", "/meters", meter)
    story.ask("POST", "/meters", {"slug": "gone", "eventType": "prompt", "aggregation": "COUNT"})
    story.ask("DELETE", "/meters/gone")
    story.ask(
        "POST",
        "/customers",
        {"key": "acme", "name": "Acme", "usageAttribution": {"subjectKeys": ["s0", "s1"]}},
    )
    story.ask(
        "POST",
        "/customers",
        {"key": "beta", "name": "Beta", "usageAttribution": {"subjectKeys": ["s2", "s3"]}},
    )
    for slug in ("tokens", "users"):
        story.ask("POST", "/features", {"key": slug, "name": slug, "meterSlug": slug})
    story.ask("POST", "/features", {"key": "sso", "name": "Single sign-on"})
    began = {"anchor": instant((base_s - 30 * stream.DAY_S) // 60 * 60), **PERIOD}
    metered = {"type": "metered", "usagePeriod": began, "measureUsageFrom": "CURRENT_PERIOD_START"}
    total = issued(base_s)
    story.ask(
        "POST",
        "/customers/acme/entitlements",
        {**metered, "featureKey": "tokens", "issueAfterReset": total - 100},
    )
    grant = {"amount": 100, "priority": 1, "effectiveAt": began["anchor"], "expiration": NEVER}
    story.ask("POST", "/customers/acme/entitlements/tokens/grants", grant)
    story.ask(
        "POST", "/customers/beta/entitlements", {**metered, "featureKey": "users", "issueAfterReset": 1000}
    )
    story.ask("POST", "/customers/beta/entitlements", {"type": "boolean", "featureKey": "sso"})
    channels = [
        story.ask(
            "POST",
            "/notification/channels",
            {"type": "WEBHOOK", "name": name, "url": at, "signingSecret": secret},
        )
        for name, at in (("up", url), ("down", "http://127.0.0.1:9/"))
    ]
    ids = [one["id"] for one in channels]
    thresholds = [{"type": "usage_percentage", "value": value} for value in (50, 100)]
    story.ask(
        "POST",
        "/notification/rules",
        {"type": THRESHOLD, "name": "quota", "channels": ids, "thresholds": thresholds},
    )
    volume = {"meterSlug": "tokens", "windowSize": "DAY", "limit": 100}
    story.ask("POST", "/notification/rules", {"type": VOLUME, "name": "spike", "channels": ids[:1], **volume})
    return {"up": ids[0], "down": ids[1], "secret": secret, "issued": total}


def issued(base_s: int) -> int:
    """What acme may use: more than is used before the upgrade, less than is used after it."""
    return int(stream.tokens(stream.before(base_s), {"s0", "s1"}) * 115 / 100) + 1


def live(story: Story, base_s: int) -> None:
    """Sends everything and waits until what has to come of it has come."""
    sent = stream.before(base_s)
    found = story.send(sent)
    assert found == stream.fates(sent), (found, stream.fates(sent))
    story.ask("POST", "/meters", stream.LATER_METER)
    wait_for(lambda: story.ask("GET", "/meters/models/backfill")["state"] == "done")
    story.wait_for_usage(base_s, sent)
    used = float(stream.tokens(sent, {"s0", "s1"}))
    wait_for(lambda: story.value("acme", "tokens")["usage"] == used)
    wait_for(lambda: {one["type"] for one in story.alerts()} == {THRESHOLD, VOLUME})
    wait_for(lambda: deliveries(story, "SENDING") != [] and deliveries(story, "SUCCESS") != [])


def deliveries(story: Story, state: str) -> list[dict[str, Any]]:
    """The deliveries in a state."""
    found = story.ask("GET", "/deliveries", pageSize=1000)["items"]
    return [one for one in found if one["state"] == state]


def check_out(commit: str, folder: Path) -> Path:
    """The files of a commit of this repository in a new folder."""
    folder.mkdir()
    tree = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(tree)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def record(commit: str, folder: Path) -> dict[str, Any]:
    """Runs the story on `folder`/data; what the test has to know of it."""
    checkout = check_out(commit, folder / "checkout")
    base_s = int(time.time())
    secret = new_secret()
    with Receiver([secret]) as receiver, stack(checkout, folder / "data") as story:
        known = define(story, base_s, receiver.url, secret)
        live(story, base_s)
        known |= {
            "commit": commit,
            "base_s": base_s,
            "alerts": sorted(one["id"] for one in story.alerts()),
            "pending": sorted(one["event"]["id"] for one in deliveries(story, "SENDING")),
            "delivered": sorted(one["event"]["id"] for one in deliveries(story, "SUCCESS")),
        }
    return known


def pack(data: Path, target: Path) -> None:
    """The folder as a tar.xz, without logs and without Redis's copy."""
    with tarfile.open(target, "w:xz", preset=9) as archive:
        for path in sorted(data.rglob("*")):
            name = path.relative_to(data)
            if name.parts[0] not in LEFT_OUT and not path.is_socket():
                archive.add(path, str(name), recursive=False)


def main(commit: str) -> None:
    """Writes the two files."""
    with tempfile.TemporaryDirectory(prefix="tallymark-upgrade-") as name:
        folder = Path(name)
        known = record(commit, folder)
        target = HERE / f"{commit}.tar.xz"
        pack(folder / "data", target)
        (HERE / f"{commit}.json").write_text(json.dumps(known, indent=1) + "\n")
        print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else COMMIT)
