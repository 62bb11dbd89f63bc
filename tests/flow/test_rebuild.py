"""Rows that vanish from ClickHouse: reconcile names them, a rebuild beside the running stages writes them again."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path

from pipeline.stores.clickhouse.connect import connect
from tests.flow.arrived_records import arrived
from tests.flow.meters import METERS
from tests.flow.prove import apply_meters, compare_meter, settle
from tests.flow.recount import recount
from tests.flow.sender import send
from tests.flow.stack_process import COUNTING, StackProcess
from tests.flow.stream import stream
from tests.flow.test_story import local_stack  # noqa: F401 - skips where the stack is not installed

EVENTS = 6_000


def test_what_is_lost_behind_the_sinks_back_is_named_and_written_again(tmp_path: Path) -> None:
    with StackProcess(tmp_path / "stack", stages=COUNTING) as stack:
        apply_meters(stack)
        servers, now_ns = stack.settings.kafka, time.time_ns()
        send(servers, stream(EVENTS, 7, now_ns))
        settle(stack)

        store = connect(stack.settings.clickhouse)
        store.query("ALTER TABLE events DELETE WHERE input_partition = 1 SETTINGS mutations_sync = 2")
        store.query("TRUNCATE TABLE uniques")
        lost = _differences(stack)
        assert any(" events from events/1, but 0 are stored." in sentence for sentence in lost), lost
        assert any("are counted by aggregate and backfill, but" in sentence for sentence in lost), lost
        assert any("meter sessions" in sentence and "but 0 are stored" in sentence for sentence in lost), lost
        store.query("DROP TABLE windows")
        (missing,) = _differences(stack)
        assert "windows" in missing and "rebuild clickhouse" in missing

        more = threading.Thread(target=send, args=(servers, stream(EVENTS, 8, now_ns)))
        more.start()
        rebuilt = stack.command("rebuild", "clickhouse")
        more.join()
        assert rebuilt.returncode == 0, rebuilt.stderr
        assert "warning" not in rebuilt.stderr

        fates = settle(stack)
        expected = recount(arrived(servers), METERS)
        assert fates == dict(expected.fates)
        compared: Counter[str] = Counter()
        assert [
            one for meter in METERS for one in compare_meter(stack, meter, expected.windows, compared)
        ] == []
        assert all(compared.values())


def _differences(stack: StackProcess) -> list[str]:
    done = stack.command("reconcile", "--format", "json", "--wait", "240")
    assert done.returncode == 1, done.stdout + done.stderr
    return list(json.loads(done.stdout)["differences"])
