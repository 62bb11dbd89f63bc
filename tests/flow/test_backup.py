"""Every copy is deleted, and so are the records behind old rows: the commands of deploy/backup.md bring all back."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from confluent_kafka import TopicPartition

from pipeline.agents.sink_rows import INPUTS
from pipeline.settings import CONFIG_VARIABLE
from pipeline.stores.clickhouse.connect import connect
from pipeline.stores.kafka import client as cluster
from tests.fixtures.patience import until
from tests.flow.arrived_records import arrived
from tests.flow.meters import METERS
from tests.flow.prove import apply_meters, compare_meter, settle
from tests.flow.readme import blocks
from tests.flow.recount import recount
from tests.flow.sender import send
from tests.flow.stack_process import COUNTING, ROOT, StackProcess
from tests.flow.stream import stream
from tests.flow.test_alerts import METER, Story
from tests.flow.test_story import local_stack  # noqa: F401 - skips where the stack is not installed

STAGES = (*COUNTING, "alert", "live")
EVENTS = 3_000
COMMANDS = {one.language: one.text for one in blocks((ROOT / "deploy" / "backup.md").read_text())}


def test_everything_but_kafka_is_lost_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    with StackProcess(folder, stages=STAGES) as stack:
        apply_meters(stack)
        balance = use_quota(Story(stack))
        send(stack.settings.kafka, stream(EVENTS, 7, time.time_ns()))
        fates = settle(stack)
        run(stack, "sh backup")
        forget(stack)
    for lost in ("clickhouse", "redis", "state"):
        shutil.rmtree(folder / lost)

    with StackProcess(folder, stages=STAGES) as stack:
        assert connect(stack.settings.clickhouse).query("SELECT count() FROM events") == [(0,)]
        assert "the retention of usage has deleted records" in run(stack, "sh restore")
        assert settle(stack) == fates
        expected = recount(arrived(stack.settings.kafka), METERS)
        compared: Counter[str] = Counter()
        assert [
            one for meter in METERS for one in compare_meter(stack, meter, expected.windows, compared)
        ] == []
        assert all(compared.values())
        story = Story(stack)
        until(lambda: story.value().get("balance") == balance, story.value)


def use_quota(story: Story) -> float:
    """A customer that uses some of its quota. Returns its balance."""
    customer = {"name": "ACME", "key": "acme", "usageAttribution": {"subjectKeys": ["a", "b"]}}
    story.post("/customers", customer)
    story.post("/meters", METER)
    story.post("/features", {"key": "gpt", "name": "GPT", "meterSlug": "tokens"})
    quota = {
        "type": "metered",
        "featureKey": "gpt",
        "usagePeriod": {"interval": "MONTH"},
        "issueAfterReset": 100,
    }
    story.post("/customers/acme/entitlements", quota)
    story.use(30, time.time())
    return float(story.until(balance=70)["balance"])


def forget(stack: StackProcess) -> None:
    """Deletes every record that the sink has read, as Kafka's retention does."""
    admin = cluster.admin(stack.settings)
    partitions = {name: found.partitions for name, found in cluster.cluster(stack.settings).topics.items()}
    places = [TopicPartition(name, number, -1) for name in INPUTS for number in partitions[name]]
    for future in admin.delete_records(places).values():
        future.result()


def run(stack: StackProcess, block: str) -> str:
    """The output of a block of commands of deploy/backup.md."""
    address = urlsplit(stack.settings.clickhouse)
    environment = {
        "CLICKHOUSE": f"http://{address.hostname}:{address.port}",
        "CLICKHOUSE_DATABASE": address.path.strip("/"),
        "CLICKHOUSE_USER": address.username or "",
        "CLICKHOUSE_PASSWORD": address.password or "",
        CONFIG_VARIABLE: str(stack.folder / "tallymark.toml"),
        "PYTHONPATH": str(ROOT),
    }
    script = (
        f'set -e\ntallymark() {{ {shlex.quote(sys.executable)} -m pipeline.cli "$@"; }}\n{COMMANDS[block]}\n'
    )
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=stack.folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
