"""A refused record as it goes to `rejected`: as it came, with headers that say why and from where.

Owns: the `tallymark_*` headers, and what happens to a record too large for the topic. Does not own: verdicts (core).
"""

from __future__ import annotations

from pipeline.engine.chunk import Chunk, Record
from pipeline.engine.producer import Headers
from pipeline.errors import Rejected

# A compressed record may be many times larger than what the topic takes, so it is cut; the whole of it stays in the
# input topic at the position that the headers name, as long as that topic keeps it.
KEPT_VALUE_BYTES = 2 << 20
KEPT_KEY_BYTES = 256 << 10
KEPT_HEADER_BYTES = 256 << 10  # all together; 2 MiB + 256 KiB + 256 KiB + our own < 4 MiB, the topic's limit


def dead_letter(
    chunk: Chunk, record: Record, namespace: str, refusal: Rejected
) -> tuple[bytes | None, bytes | None, Headers]:
    """Key, value and headers for `rejected`. Ours stand last: a sender may use the same names, the last wins."""
    ours = {
        "tallymark_reason": refusal.reason,
        "tallymark_detail": refusal.detail,
        "tallymark_namespace": namespace,
        "tallymark_topic": chunk.topic,
        "tallymark_partition": str(chunk.partition),
        "tallymark_offset": str(record.offset),
        "tallymark_received_at_ms": str(record.timestamp),
    }
    key, value = record.key, record.value
    if value is not None and len(value) > KEPT_VALUE_BYTES:
        ours["tallymark_cut_from_bytes"] = str(len(value))
        value = value[:KEPT_VALUE_BYTES]
    if key is not None:
        key = key[:KEPT_KEY_BYTES]
    theirs = list(record.headers)
    if sum(len(name) + len(content or b"") for name, content in theirs) > KEPT_HEADER_BYTES:
        ours["tallymark_headers_left_out"] = str(len(theirs))
        theirs = []
    return key, value, [*theirs, *((name, text.encode("utf-8", "replace")) for name, text in ours.items())]
