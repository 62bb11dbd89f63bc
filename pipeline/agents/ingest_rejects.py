"""A rejected record for the topic `rejected`: unchanged, with additional headers for the reason and the origin.

Owns: the `tallymark_*` headers, and truncating a record that is too large for the topic. Does not own: reasons (core).
"""

from __future__ import annotations

from pipeline.engine.chunk import Chunk, Record
from pipeline.engine.producer import Headers
from pipeline.errors import Rejected

# A compressed record may be many times larger than the limit of the topic, so it is truncated; the whole record stays
# in the input topic, at the offset in the headers, until that topic's retention deletes it.
KEPT_VALUE_BYTES = 2 << 20
KEPT_KEY_BYTES = 256 << 10
KEPT_HEADER_BYTES = 256 << 10  # in total; 2 MiB + 256 KiB + 256 KiB + our own < 4 MiB, the topic's limit


def dead_letter(
    chunk: Chunk, record: Record, namespace: str, refusal: Rejected
) -> tuple[bytes | None, bytes | None, Headers]:
    """Key, value and headers for `rejected`. Our headers are last: a sender may use the same names, the last wins."""
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
