"""Usage: minute windows, by subject and by customer, and the backfills that add to them."""

from __future__ import annotations

from typing import Literal

import msgspec


class Window(msgspec.Struct, array_like=True, gc=False):
    """`usage` is a JSON array of Window: the absolute state of one minute window after a chunk, with its change.

    value: SUM and AVG: the sum; MIN, MAX, LATEST: that value; COUNT and UNIQUE_COUNT: the number. `change` is the
    difference from the previous value (for MIN, MAX, LATEST too). `order` sorts LATEST: time, then arrival.
    `members` holds the UNIQUE_COUNT members (32 hex digits each) of this chunk: their union is the set, so repeats are
    harmless.
    `revision` is the offset of the last applied input, and only grows. `part`: 0 holds the events that were counted on
    arrival, 1 those that a backfill of the meter counted; the window is the two together, and each has its own
    `change`, `order` and `revision` (offsets of `events-unique`, of `backfill-work`).
    `events`: for a watched meter, the events of the chunk in order: (source, id, value), so that an alert can name the
    event that crossed its threshold; the value is empty where values are not summed. Empty if they would be huge.
    """

    namespace: str
    meter: str
    meter_id: int
    subject: str
    dimensions: dict[str, str]  # sorted by name
    start_s: int
    value: str
    count: int
    change: str
    order: str
    members: list[str]
    revision: int
    received_at_ms: int  # of the newest event in it
    part: int = 0
    events: list[tuple[str, str, str]] = []


class Backfill(msgspec.Struct):
    """`backfill-work` (compacted), key `meter_id/shard`: the next step of a backfill, and its progress.

    A shard holds the subjects with one hash; its steps follow one another in the partition of its number.
    cursor: position of the last stored event that was read, as (time_s, input_topic, input_partition, input_offset).
    """

    namespace: str
    meter: str
    meter_id: int
    definition: dict[str, object]  # the meter as it was created
    shard: int
    shards: int
    step: int = 0
    state: Literal["new", "waiting", "copying", "landing", "done", "stopped"] = "new"
    cursor: tuple[int, str, int, int] | None = None
    span_s: int = 3600  # of event time, to read next
    events: int = 0  # stored events to read in total, set from the state copying onwards
    read: int = 0
    counted: int = 0  # of those read, by this meter
    stopped: bool = False  # the meter was deleted
    at_ms: int = 0  # the broker's time of the previous step


class CustomerWindow(msgspec.Struct, array_like=True, gc=False):
    """`customer-usage` is a JSON array of these: a window of a watched meter, with its customer."""

    customer: str  # id
    window: Window
