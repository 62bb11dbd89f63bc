"""Sends lines to an input topic unchanged: one record per line, each acknowledged by the broker.

Owns: the key and the content type of the record, and counting acknowledgements. Does not own: validation, which ingest
does, so broken lines are sent too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from pipeline.core.values.json_value import reader_of
from pipeline.errors import Rejected, Unavailable
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka.writer import Deliveries, KafkaWriter, WrittenRecord

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
HEADERS: list[tuple[str, str | bytes | None]] = [("content-type", CONTENT_TYPE.encode())]
TIMEOUT_S = 120.0
MAX_RECORD_BYTES = 2_097_152  # the topic's limit; ingest's limit is lower, and it keeps the bytes


class _Subject(msgspec.Struct):
    subject: str | None = None


_subject = reader_of(_Subject)


class SentLines(Deliveries):
    """The number of lines that were read and acknowledged; `failures` counts the others by the error's name."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = 0

    @property
    def complete(self) -> bool:
        return self.acknowledged == self.lines


def key_of(line: bytes) -> bytes | None:
    """The subject as bytes; None, for any partition, if the line has no readable subject."""
    try:
        subject = _subject(line).subject
    except Rejected:
        return None
    return subject.encode() if subject else None


def send(
    settings: Settings,
    lines: Iterable[bytes],
    topic: str = "events",
    compression: str = "none",
    progress: Callable[[SentLines], Any] | None = None,
) -> SentLines:
    """Send every non-empty line to `topic` and wait for all acknowledgements; `progress` is called often.

    Raises Unavailable when Kafka is down at the start, Rejected `unknown-topic` if the topic does not exist.
    """
    found = kafka.cluster(settings).topics
    if topic not in found:
        hidden = f", or hides it from {settings.kafka_username}" if settings.kafka_username else ""
        raise Rejected("unknown-topic", f"Kafka at {settings.kafka} has no topic {topic}{hidden}.")
    sent = SentLines()
    with KafkaWriter(settings, "lines", TIMEOUT_S, _options(compression)) as writer:
        for line in lines:
            content = line.rstrip(b"\r\n")
            if not content.strip():
                continue
            sent.lines += 1
            writer.send(
                WrittenRecord(topic, content, key_of(content), headers=HEADERS), sent.report, TIMEOUT_S
            )
            if sent.lines % 1000 == 0 and progress is not None:
                progress(sent)
    if progress is not None:
        progress(sent)
    return sent


def check_complete(sent: SentLines, settings: Settings) -> None:
    """Raise Unavailable with one sentence when the broker has not acknowledged every line."""
    if not sent.complete:
        causes = ", ".join(f"{count} {cause}" for cause, count in sent.failures.most_common())
        missing = sent.lines - sent.acknowledged
        raise Unavailable(
            f"Kafka at {settings.kafka} acknowledged {sent.acknowledged} of {sent.lines} events; "
            f"{missing} may be lost ({causes or 'no answer in time'}). Sending again is safe."
        )


def _options(compression: str) -> dict[str, kafka.ConfigValue]:
    return {
        "compression.type": compression,
        "linger.ms": 5,
        "queue.buffering.max.messages": 200_000,
        "queue.buffering.max.kbytes": 262_144,
        "message.max.bytes": MAX_RECORD_BYTES,
    }
