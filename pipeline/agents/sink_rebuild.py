"""Writes ClickHouse's rows again from the sink's input topics: `tallymark rebuild clickhouse`.

Owns: which records are read, and which ones retention has deleted. Does not own: rows and their proof (sink_rows), the
position of the sink, which may run at the same time, since rows replace themselves and the newest revision wins.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from pipeline.agents.sink_rows import INPUTS, RowBatch
from pipeline.engine.restore import Reader
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topics

GROUP = "tallymark-rebuild"  # required by the client, never joined
BATCH_ROWS = 20_000
ANSWER_S = 30.0


class RebuildPart(NamedTuple):
    """The offsets [start, end) to read from one partition. `gone`: first offset that retention has not deleted."""

    topic: str
    partition: int
    start: int
    end: int
    gone: int


@dataclass
class Rebuilt:
    """records: read, by topic. rows: written, by table. gone_before_ms: by topic, time of the first kept record."""

    records: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    gone_before_ms: dict[str, int] = field(default_factory=dict)


class _Record(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


ReportRebuild = Callable[[int, int], object]
"""Called with the number of offsets that are done, and their total."""


def rebuild(
    settings: Settings,
    store: ClickHouse,
    from_ms: int | None = None,
    progress: ReportRebuild = lambda done, of: None,
) -> Rebuilt:
    """Write the rows of every record in the topics, and prove that they are stored.

    It may be repeated, and run while the sink runs.

    Args:
        settings: For Kafka's address and the number of partitions.
        store: Where to write; missing tables are created.
        from_ms: The broker's time of the first record to read; None: all records.
        progress: Called after each batch.

    Raises:
        Unavailable: Kafka or ClickHouse is down, or ClickHouse did not store what it acknowledged. Run it again.
    """
    store.ensure_schema()
    done = Rebuilt()
    with Reader(kafka.client_config(settings) | {"log_level": 0}, GROUP) as reader:
        parts = _parts(settings, reader, from_ms)
        read, total = 0, sum(part.end - part.start for part in parts)
        for part in parts:
            if part.gone:
                until_ms = _first_ms(reader, part)
                done.gone_before_ms[part.topic] = max(until_ms, done.gone_before_ms.get(part.topic, 0))
            for batch, offset in _batches(reader, part):
                _write(store, part, batch, done)
                progress(read + offset - part.start, total)
            read += part.end - part.start
            progress(read, total)
    done.gone_before_ms = {t: ms for t, ms in done.gone_before_ms.items() if from_ms is None or ms > from_ms}
    return done


def _write(store: ClickHouse, part: RebuildPart, batch: Iterable[Message], done: Rebuilt) -> None:
    rows = RowBatch()
    records = [_Record(one.offset() or 0, one.key(), one.value(), one.headers() or ()) for one in batch]  # type: ignore[arg-type]
    rows.take(part.topic, part.partition, records)
    written = rows.write(store, lambda: time.time_ns() // 1_000_000)
    done.records[part.topic] += len(records)
    done.rows.update({table: number for table, number in written.items() if number})


def _batches(reader: Reader, part: RebuildPart) -> Iterator[tuple[list[Message], int]]:
    """Batches of records that make about BATCH_ROWS rows, with the offset after them."""
    rows, gathered = 0, list[Message]()
    for batch in reader.read(part.topic, part.partition, part.start, part.end):
        for message in batch:
            gathered.append(message)
            rows += _about_rows(message)
            if rows >= BATCH_ROWS:
                yield gathered, (message.offset() or 0) + 1
                rows, gathered = 0, []
    if gathered:
        yield gathered, part.end


def _about_rows(message: Message) -> int:
    """An estimate: inner records are packed, and an event or a window takes about 250 bytes."""
    return 1 + len(message.value() or b"") // 250


def _parts(settings: Settings, reader: Reader, from_ms: int | None) -> list[RebuildPart]:
    declared = topics.load(settings)
    places = [(name, number) for name in INPUTS for number in range(declared[name].partitions)]
    spans = {place: reader.span(*place) for place in places}
    starts = {place: span.first for place, span in spans.items()}
    if from_ms is not None:
        starts |= _offsets_at(settings, places, from_ms)
    found = []
    for place, span in spans.items():
        start = min(max(starts[place], span.first), span.end)
        found.append(RebuildPart(*place, start, span.end, span.first))
    return found


def _offsets_at(
    settings: Settings, places: Sequence[tuple[str, int]], at_ms: int
) -> dict[tuple[str, int], int]:
    """For each partition, the offset of the first record that the broker received at `at_ms` or later."""
    consumer = Consumer(kafka.client_config(settings) | {"group.id": GROUP, "log_level": 0})
    try:
        asked = [TopicPartition(topic, number, at_ms) for topic, number in places]
        found = consumer.offsets_for_times(asked, timeout=ANSWER_S)
    except KafkaException as error:
        raise kafka.unavailable(settings, error) from error
    finally:
        consumer.close()
    if wrong := next((one.error for one in found if one.error is not None), None):
        raise Unavailable(f"Kafka at {settings.kafka} cannot look up offsets by time: {wrong}.")
    # -1: no record is that new.
    return {(one.topic, one.partition): one.offset if one.offset >= 0 else 2**62 for one in found}


def _first_ms(reader: Reader, part: RebuildPart) -> int:
    """The broker's time of the first record in the partition; the current time if it has none."""
    for batch in reader.read(part.topic, part.partition, part.gone, part.end):
        return int(batch[0].timestamp()[1])
    return time.time_ns() // 1_000_000
