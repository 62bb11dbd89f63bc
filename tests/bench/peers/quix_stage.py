"""One stage of the same work in Quix Streams, as a careful user would write it. Runs in the environment of Quix.

    python quix_stage.py ingest|dedupe|aggregate BROKER STATE_FOLDER METERS_FILE

It imports nothing of Tallymark, which is not installed there. It reads the meters of the load `plain`: paths of one
step, no MIN, no LATEST. It never forgets an identity, which is less work than to forget it after the horizon.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import Any

from event_check import check  # type: ignore[import-not-found]  # beside this script
from quixstreams import Application  # type: ignore[import-not-found]

COMMIT_S = 1.0


def ingest(app: Any) -> None:
    read = app.dataframe(app.topic("events", value_deserializer="bytes"))
    both = read.apply(lambda value: (check(value), value))
    accepted = both.filter(lambda pair: pair[0] is not None).apply(lambda pair: pair[0])
    accepted.to_topic(
        app.topic("peer-accepted", value_serializer="json", key_serializer="str"),
        key=lambda event: f"{event['source']}|{event['id']}",
    )
    rejected = both.filter(lambda pair: pair[0] is None).apply(lambda pair: pair[1])
    rejected.to_topic(app.topic("peer-rejected", value_serializer="bytes"))


def dedupe(app: Any) -> None:
    def is_first(event: dict[str, Any], state: Any) -> tuple[bool, dict[str, Any]]:
        if state.exists("seen"):
            return False, event
        state.set("seen", 1)
        return True, event

    read = app.dataframe(app.topic("peer-accepted", value_deserializer="json", key_deserializer="str"))
    both = read.apply(is_first, stateful=True)
    unique = both.filter(lambda pair: pair[0]).apply(lambda pair: pair[1])
    unique.to_topic(
        app.topic("peer-unique", value_serializer="json", key_serializer="str"),
        key=lambda event: event["subject"],
    )
    repeats = both.filter(lambda pair: not pair[0]).apply(lambda pair: pair[1])
    repeats.to_topic(app.topic("peer-duplicates", value_serializer="json", key_serializer="str"))


def aggregate(app: Any, meters: list[dict[str, Any]]) -> None:
    wanted: dict[str, list[dict[str, Any]]] = {}
    for meter in meters:
        by = [path[2:] for _, path in sorted(meter.get("groupBy", {}).items())]
        found = {"slug": meter["slug"], "aggregation": meter["aggregation"], "by": by}
        found["field"] = meter.get("valueProperty", "$.")[2:]
        wanted.setdefault(meter["eventType"], []).append(found)

    def settle(event: dict[str, Any], state: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        mine = wanted.get(event["type"], [])
        windows = [window for meter in mine if (window := fold(meter, event, state))]
        event["fate"] = "counted" if windows else "invalid" if mine else "unmetered"
        event["meters"] = [window["key"].partition("|")[0] for window in windows]
        return event, windows

    read = app.dataframe(app.topic("peer-unique", value_deserializer="json", key_deserializer="str"))
    both = read.apply(settle, stateful=True)
    both.apply(lambda pair: pair[0]).to_topic(
        app.topic("peer-settled", value_serializer="json", key_serializer="str")
    )
    windows = both.apply(lambda pair: pair[1], expand=True)
    windows.to_topic(
        app.topic("peer-usage", value_serializer="json", key_serializer="str"),
        key=lambda window: window["key"],
    )


def fold(meter: dict[str, Any], event: dict[str, Any], state: Any) -> dict[str, Any] | None:
    """The new state of the window, or None when the meter cannot count the event."""
    data, kind = event.get("data") or {}, meter["aggregation"]
    found = data.get(meter["field"]) if meter["field"] else 1
    try:
        value = found if kind == "UNIQUE_COUNT" else Decimal(str(found))
    except ArithmeticError:
        return None
    if value is None:
        return None
    place = "|".join([meter["slug"], str(event["minute"]), *(str(data.get(by, "")) for by in meter["by"])])
    old = state.get(place)
    window: dict[str, Any] = {"count": old["count"] + 1 if old else 1}
    if kind == "UNIQUE_COUNT":
        window["members"] = sorted({*(old["members"] if old else ()), str(value)})
        window["value"] = str(len(window["members"]))
    elif kind == "MAX":
        window["value"] = str(max(Decimal(old["value"]), value) if old else value)
    else:
        window["value"] = str(Decimal(old["value"]) + value if old else value)
    state.set(place, window)
    slug, _, rest = place.partition("|")
    return {"key": f"{slug}|{event['subject']}|{rest}", "value": window["value"], "count": window["count"]}


def main() -> None:
    stage, broker, state, meters = sys.argv[1:]
    app = Application(
        broker_address=broker,
        consumer_group=f"peer-{stage}",
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=COMMIT_S,
        state_dir=state,
        auto_create_topics=True,
        topic_create_timeout=60,
        loglevel="WARNING",
        producer_extra_config={"compression.type": "lz4", "linger.ms": 50},
    )
    if stage == "aggregate":
        with open(meters) as file:
            aggregate(app, json.load(file))
    else:
        {"ingest": ingest, "dedupe": dedupe}[stage](app)
    app.run()


if __name__ == "__main__":
    main()
