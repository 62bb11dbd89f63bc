"""Events on their way through the pipeline, and their fates."""

from __future__ import annotations

from typing import Literal

import msgspec

Fate = Literal["counted", "duplicate", "conflict", "rejected", "invalid", "unmetered", "voided", "pending"]


class Event(msgspec.Struct, array_like=True, gc=False):
    """An accepted event. Its position in `input_topic` is (partition, offset); `received_at_ms` is its arrival."""

    namespace: str
    source: str
    id: str
    type: str
    subject: str
    time_ns: int
    received_at_ms: int
    input_topic: str
    partition: int
    offset: int
    data: msgspec.Raw  # the JSON text of `data` as sent: an object, or `null` if absent


class AcceptedBatch(msgspec.Struct, array_like=True):
    """`events-accepted`: events with the identities that dedupe needs in `keys`, so that it never parses an event.

    keys: n x 36 bytes, `KEY` below: identity (16), content (8), received_at_ms (i64), subject_hash (u32).
    """

    keys: bytes
    events: list[msgspec.Raw]  # each an Event


KEY = "<16s8sqI"

# `events-unique` is a JSON array of Event; `events-settled` and `duplicates` are JSON arrays of Settled.


class Backfilled(msgspec.Struct, array_like=True):
    """The change of an event by a backfill, in which a meter counts events that were decided before it was created.

    decided: the control revision at which aggregate decided the event. before: its fate before the newest backfill.
    meters: ids of the meters whose backfills counted it. rules: of each of them, like `Settled.rules`; 0 for the
    meters beyond the end of the list. positions: of each of them, like `Settled.position`, in `backfill-work`.
    """

    decided: int
    before: Fate
    meters: list[int]
    rules: list[int] = []
    positions: list[int] = []


class Refused(msgspec.Struct, array_like=True, gc=False):
    """A meter that matches an event but refuses it. reason: a slug of core/metering/refusal.py. detail: a sentence."""

    meter_id: int
    meter: str  # slug
    reason: str
    detail: str


class Settled(msgspec.Struct, array_like=True, gc=False):
    """An event with its one fate. `meters` has the slugs of the meters that counted it; `reason` is why none did.

    A recreated meter with the same slug is another meter, so a slug occurs twice if the backfill of the newer meter
    counted the event too. `revision`: of the control log at the decision; after a backfill, the id of its meter, which
    is larger. `rules`: the version of the rules by which values and dimensions were read (core/metering/extract.py).
    `refused`: the meters that refused the event, even if others counted it. `position`: the offset of its record in
    `events-unique` plus 1: a window of that revision, or of a later one, has the event; 0: of an older version, or
    dedupe settled it.
    """

    event: msgspec.Raw | Event
    fate: Fate
    reason: str = ""
    meters: list[str] = []
    revision: int = 0
    backfill: Backfilled | None = None
    rules: int = 0
    refused: list[Refused] = []
    position: int = 0
