"""The same three stages as a careful user of plain Faust would write them: the yardstick of the benchmark.

Stock Faust, aiokafka, RocksDB tables, at-least-once: JSON values, one `topic.send` an event, tables for what
was seen and for windows. It checks less than Tallymark and miscounts at a crash, so it has the easier job.

    VANILLA_STAGE=ingest VANILLA_LOAD=plain VANILLA_KAFKA=127.0.0.1:9092 VANILLA_DIR=/tmp/v \
        python -m faust -A tests.bench.vanilla:app worker --without-web
"""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

import faust
from faust.types import StreamT

from tests.bench.load import LOADS
from tests.bench.peers.event_check import check

STAGE = os.environ["VANILLA_STAGE"]
PARTITIONS = int(os.environ.get("VANILLA_PARTITIONS", "4"))
TOPICS = {"ingest": "vanilla-accepted", "dedupe": "vanilla-unique", "aggregate": "vanilla-usage"}

app = faust.App(
    f"vanilla-{STAGE}",
    broker=f"kafka://{os.environ['VANILLA_KAFKA']}",
    datadir=f"{os.environ['VANILLA_DIR']}/{STAGE}",
    store="rocksdb://",
    topic_partitions=PARTITIONS,
    topic_replication_factor=1,
    table_standby_replicas=0,
    consumer_auto_offset_reset="earliest",
    producer_linger=0.02,  # the default of 0 sends almost each event in a request of its own, 2.5 times slower
    web_enabled=False,
)
events = app.topic("events", value_type=bytes, value_serializer="raw")
accepted = app.topic(TOPICS["ingest"], key_type=str, value_serializer="json")
unique = app.topic(TOPICS["dedupe"], key_type=str, value_serializer="json")
usage = app.topic(TOPICS["aggregate"], key_type=str, value_serializer="json")
settled = app.topic("vanilla-settled", key_type=str, value_serializer="json")
rejected = app.topic("vanilla-rejected", value_type=bytes, value_serializer="raw")
duplicates = app.topic("vanilla-duplicates", key_type=str, value_serializer="json")

Stream = StreamT[Any]


async def ingest(stream: Stream) -> None:
    async for value in stream:
        event = check(value)
        if event is None:
            await rejected.send(value=value)
        else:
            await accepted.send(key=f"{event['source']}|{event['id']}", value=event)


async def dedupe(stream: Stream) -> None:
    async for event in stream:
        identity = f"{event['source']}|{event['id']}"
        if identity in seen:
            await duplicates.send(key=identity, value=event)
        else:
            seen[identity] = 1
            await unique.send(key=event["subject"], value=event)


async def aggregate(stream: Stream) -> None:
    async for event in stream:
        mine, took = wanted.get(event["type"], ()), []
        for meter in mine:
            value = _number(meter, event)
            if value is None:
                continue
            key = "|".join(
                [meter["slug"], event["subject"], str(event["minute"]), *_dimensions(meter, event)]
            )
            window = _fold(meter["aggregation"], windows.get(key), value, event)
            windows[key] = window
            await usage.send(key=key, value=window)
            took.append(meter["slug"])
        event["fate"] = "counted" if took else "invalid" if mine else "unmetered"
        event["meters"] = took
        await settled.send(key=event["subject"], value=event)


def _at(path: str, event: dict[str, Any]) -> Any:
    found: Any = event.get("data")
    for step in path.replace("['", ".").replace("']", "").replace("[0]", ".0").split(".")[1:]:
        if isinstance(found, list):
            found = found[int(step)] if step.isdigit() else None
        else:
            found = found.get(step) if isinstance(found, dict) else None
    return found


def _dimensions(meter: dict[str, Any], event: dict[str, Any]) -> list[str]:
    return [str(_at(path, event) or "") for _, path in sorted(meter.get("groupBy", {}).items())]


def _number(meter: dict[str, Any], event: dict[str, Any]) -> Any:
    if meter["aggregation"] == "COUNT":
        return 1
    value = _at(meter["valueProperty"], event)
    if value is None or meter["aggregation"] == "UNIQUE_COUNT":
        return value
    try:
        number = Decimal(str(value))
        return number if number.is_finite() and abs(number) < 10**18 else None
    except ArithmeticError:
        return None


def _fold(
    aggregation: str, window: dict[str, Any] | None, value: Any, event: dict[str, Any]
) -> dict[str, Any]:
    if aggregation == "UNIQUE_COUNT":
        members = set(window["members"]) if window else set()
        members.add(value)
        return {
            "members": sorted(members),
            "value": str(len(members)),
            "count": window["count"] + 1 if window else 1,
        }
    if not window:
        return {"value": str(value), "count": 1, "time": event.get("time", "")}
    old = Decimal(window["value"])
    latest = event.get("time", "") >= window["time"]
    if aggregation in ("SUM", "AVG", "COUNT"):
        new = old + value
    elif aggregation in ("MIN", "MAX"):
        new = min(old, value) if aggregation == "MIN" else max(old, value)
    else:
        new = value if latest else old
    time_text = event.get("time", "") if latest else window["time"]
    return {"value": str(new), "count": window["count"] + 1, "time": time_text}


if STAGE == "ingest":
    app.agent(events)(ingest)
elif STAGE == "dedupe":
    seen = app.Table("seen", default=int, partitions=PARTITIONS)
    app.agent(accepted)(dedupe)
else:
    windows = app.Table("windows", default=dict, partitions=PARTITIONS)
    wanted: dict[str, list[dict[str, Any]]] = {}
    for definition in LOADS[os.environ["VANILLA_LOAD"]].meters:
        wanted.setdefault(str(definition["eventType"]), []).append(definition)
    app.agent(unique)(aggregate)
