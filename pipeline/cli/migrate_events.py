"""Stored events of an OpenMeter, sent to the API again as they are.

Owns: the loop over slices of time, the position file, what becomes of events that the API refuses or warns of. Does not
own: what is sent (core.migration.event_slices).

An event keeps its source, id and time. So a slice may be sent again after a kill, and a producer may write to both
sides: what arrives twice counts once. The position file only saves time.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.cli.migrate_report import EVENTS, MigrationReport
from pipeline.cli.migrate_sides import OpenMeter, TargetApi
from pipeline.core.migration.event_slices import FULL, TimeSlice, events_of, requests, slices
from pipeline.core.migration.translation import JsonObject
from pipeline.core.values import timestamp
from pipeline.core.values import zone as zones
from pipeline.core.values.user_time import instant_ns
from pipeline.errors import Rejected

RAISE_HORIZON = (
    "They are older than `horizon_s` ({detail}). Start Tallymark with a larger `horizon_s` (TALLYMARK_HORIZON_S, for "
    "all stages and the API), then run the command again."
)
BEYOND, UNMETERED = "beyond-horizon", "no-meter"
EventProgress = Callable[[int, int], None]


class _Trouble(NamedTuple):
    """Events with the same fate, by the API's code and its sentence, less what is only of one of them."""

    code: str
    detail: str


class PositionFile:
    """Up to where events were taken over, in a small JSON file that each slice replaces. path None: nowhere."""

    def __init__(self, path: Path | None, source: str, from_s: int) -> None:
        self._path, self._source, self._from_s = path, source, from_s

    def read(self) -> int | None:
        """The position; None without a file.

        Raises:
            Rejected: `bad-file` for the position of another source, of a later start, or of an end before this start:
                the events between would never be sent.
        """
        if self._path is None or not self._path.exists():
            return None
        try:
            found = json.loads(self._path.read_text("utf-8"))
            source, first = found["source"], found["from"]
            first_s, until_s = (
                timestamp.parse_ns(found[name]) // 1_000_000_000 for name in ("from", "until")
            )
        except (OSError, ValueError, KeyError, TypeError, Rejected) as error:
            raise Rejected("bad-file", f"{self._path} holds no position of a migration.") from error
        if source != self._source or first_s > self._from_s:
            raise Rejected(
                "bad-file",
                f"{self._path} is the position of another migration ({source} from {first}): name another file, or "
                "delete it to begin again.",
            )
        if self._from_s > until_s:
            raise Rejected(
                "bad-file",
                f"{self._path} ends at {zones.text_of(until_s)}, before the start {zones.text_of(self._from_s)}, so "
                "the events between would be missing: name a --from that is no later than this end, or another file.",
            )
        self._from_s = first_s
        return until_s

    def write(self, until_s: int) -> None:
        if self._path is None:
            return
        content = {
            "source": self._source,
            "from": zones.text_of(self._from_s),
            "until": zones.text_of(until_s),
        }
        new = self._path.with_name(self._path.name + ".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(json.dumps(content) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)


class EventMigration:
    """Sends the events of [from_s, to_s), oldest first, and reports their number and what is wrong with which."""

    def __init__(
        self, source: OpenMeter, target: TargetApi, report: MigrationReport, horizon_s: int, now_s: int
    ) -> None:
        """horizon_s: of the settings of this command, for a dry run. now_s: seconds since 1970."""
        self._source, self._target, self._report = source, target, report
        self._oldest_s = now_s - horizon_s
        self._horizon_s = horizon_s
        self._sent = 0
        self._stopped = False  # an event was refused for its age: the position stays before it
        self._troubles: Counter[_Trouble] = Counter()

    def run(self, from_s: int, to_s: int, position: PositionFile, progress: EventProgress) -> None:
        """Take the events over. progress: gets the seconds of the range that are done, and the events sent so far.

        Raises:
            Unavailable: One of the sides was down for too long. What was sent stays, and a repeat continues.
        """
        done_s = position.read()
        start_s = from_s if done_s is None else min(max(from_s, done_s), to_s)
        if start_s > from_s:
            text = f"Events before {zones.text_of(start_s)} were taken over by an earlier run."
            self._report.add(EVENTS, "", "note", text)
        waiting = list(slices(start_s, to_s))[::-1]
        while waiting:
            part = waiting.pop()
            items = self._read(part)
            if items is None:
                waiting += part.halves()[::-1]
                continue
            self._send(events_of(items))
            if not self._report.dry_run and not self._stopped:
                position.write(part.to_s)
            progress(part.to_s - from_s, self._sent)
        self._report_troubles()

    def _read(self, part: TimeSlice) -> list[JsonObject] | None:
        """What is listed of a slice; None if it is to be cut, since it holds too many events."""
        items: list[JsonObject] = []
        for page in self._source.events(part.filter):
            items += page
            if len(items) > FULL and len(part.halves()) > 1:
                return None
        return items

    def _send(self, events: list[JsonObject]) -> None:
        if self._report.dry_run:
            self._foresee(events)
            return
        for batch in requests(events):
            self._send_batch(batch)

    def _send_batch(self, batch: list[JsonObject]) -> None:
        """Send a request; an event that makes it invalid is reported, and the others are sent again."""
        while batch:
            try:
                warnings = self._target.ingest(batch)
            except Rejected as refusal:
                place = (refusal.facts or {}).get("event")
                if not isinstance(place, int) or not 0 <= place < len(batch):
                    raise
                event = batch.pop(place)
                self._report.add(
                    EVENTS, f"{event.get('source')} {event.get('id')}", "refused", refusal.detail
                )
                continue
            self._sent += len(batch)
            for warning in warnings:
                self._warned(warning)
            return

    def _warned(self, warning: JsonObject) -> None:
        code, detail, number = str(warning["code"]), str(warning["detail"]), int(warning["events"])
        if code == "refused":
            detail = f"The meter {warning.get('meter')} refuses them: {warning.get('reason')}"
        self._stopped |= code == BEYOND
        self._troubles[_Trouble(code, detail)] += number

    def _foresee(self, events: list[JsonObject]) -> None:
        old = sum(1 for event in events if _seconds(event) < self._oldest_s)
        self._sent += len(events)
        if old:
            self._troubles[_Trouble(BEYOND, f"{self._horizon_s} s by the settings of this command")] += old

    def _report_troubles(self) -> None:
        lost = sum(number for trouble, number in self._troubles.items() if trouble.code != UNMETERED)
        self._report.events = max(0, self._sent - lost)
        for (code, detail), number in sorted(self._troubles.items()):
            if code == UNMETERED:
                self._report.add(EVENTS, f"({number})", "note", f"They are stored; {detail}.", number)
                continue
            sentence = RAISE_HORIZON.format(detail=detail) if code == BEYOND else f"{detail}."
            self._report.add(EVENTS, f"({number})", "refused", sentence, number)


def first_usage_s(source: OpenMeter, slug: str) -> int | None:
    """When the first usage of a meter is, by the source's answer without a range."""
    rows: list[Any] = source.get(f"/meters/{slug}/query")["data"]
    starts = [instant_ns("windowStart", row["windowStart"]) for row in rows if row.get("windowStart")]
    return min((at_ns // 1_000_000_000 for at_ns in starts if at_ns is not None), default=None)


def _seconds(event: JsonObject) -> int:
    return timestamp.parse_ns(str(event["time"])) // 1_000_000_000
