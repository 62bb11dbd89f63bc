"""Tallymark's three stages and plain Faust as engines of this bench.

Owns: what their topics say. Does not own: their processes and topics (tests.bench.stages, vanilla).
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from pipeline.records import Settled, Window
from pipeline.settings import Settings
from tests.bench import stages
from tests.bench.peers.engine import Engine, Outputs, records
from tests.bench.peers.sums import Sums
from tests.bench.stages import STAGES, spawn

_windows = msgspec.json.Decoder(list[Window]).decode
_settled = msgspec.json.Decoder(list[Settled]).decode


class Tallymark(Engine):
    """Three workers; the other stages do not run."""

    name = "Tallymark"
    exactly_once = True
    outputs = ("events-accepted", "events-unique", "rejected", "duplicates", "events-settled", "usage")

    def __init__(self, settings: Settings, folder: Path, meters: Sequence[Mapping[str, object]]) -> None:
        super().__init__(settings, folder, meters)
        self._pipeline = stages.Tallymark(settings, folder, "plain")

    def prepare(self) -> None:
        self._pipeline.prepare()

    def start(self) -> list[subprocess.Popen[bytes]]:
        return [spawn(self._pipeline, stage, self._folder / f"{stage}.log") for stage in STAGES]

    def sums(self) -> Sums:
        found = Sums()
        for message in records(self._settings, ["usage"]):
            for window in [] if message.key() else _windows(message.value() or b""):
                place = (
                    window.meter,
                    window.subject,
                    tuple(sorted(window.dimensions.items())),
                    window.start_s,
                )
                found.window(place, Decimal(window.value), window.count)
        for message in records(self._settings, ["events-settled", "duplicates"]):
            for settled in [] if message.key() else _settled(message.value() or b""):
                found.fates["repeats" if settled.fate in ("duplicate", "conflict") else settled.fate] += 1
        found.fates["rejected"] = sum(1 for _ in records(self._settings, ["rejected"]))
        return found


class Faust(Engine):
    """Stock Faust, one worker a stage, at-least-once."""

    name = "Faust, at least once"
    exactly_once = False
    slow = True

    def __init__(self, settings: Settings, folder: Path, meters: Sequence[Mapping[str, object]]) -> None:
        super().__init__(settings, folder, meters)
        self._pipeline = stages.Vanilla(settings, folder, "plain")
        self._topics = Outputs(settings, "vanilla")
        self.outputs = self._topics.names

    def prepare(self) -> None:
        self._pipeline.prepare()

    def start(self) -> list[subprocess.Popen[bytes]]:
        return [spawn(self._pipeline, stage, self._folder / f"{stage}.log") for stage in STAGES]

    def sums(self) -> Sums:
        return self._topics.sums(self._meters)
