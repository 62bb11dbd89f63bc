"""Who an event is, and what it says: the digests by which a repeat is known and by which work is shared out.

Owns: identity, content digest, the two partition hashes. Does not own: what follows from a repeat (dedupe).
The time never belongs to the identity. Strings compare exactly: no trimming, case folding or normalisation.
"""

from __future__ import annotations

from hashlib import blake2b
from zlib import crc32

from orjson import dumps

IDENTITY_BYTES = 16
CONTENT_BYTES = 8

_EMPTY = blake2b(digest_size=IDENTITY_BYTES)


def identity(namespace: str, source: str, id: str) -> bytes:
    """The 16 bytes under which an event is known: blake2b-128 of (namespace, source, id) as a JSON array.

    A JSON array keeps the three apart, so ("/a", "b-1") and ("/a-b", "1") differ.
    """
    return blake2b(dumps((namespace, source, id)), digest_size=IDENTITY_BYTES).digest()


def digests(namespace: str, source: str, id: str, canonical: bytes) -> tuple[bytes, bytes]:
    """The identity (16 bytes) and the content digest (8 bytes) of an event with this canonical JSON text.

    The content digest continues the identity's hash: it is compared only under one identity.
    """
    running = _EMPTY.copy()
    running.update(dumps((namespace, source, id)))
    identity = running.digest()
    running.update(canonical)
    return identity, running.digest()[:CONTENT_BYTES]


def identity_hash(identity: bytes) -> int:
    """u32 that places an accepted event: partition = identity_hash % partitions, so that repeats meet."""
    return int.from_bytes(identity[:4], "little")


def subject_hash(namespace: str, subject: str) -> int:
    """u32 that places a customer's events: partition = subject_hash % partitions."""
    return crc32(dumps((namespace, subject)))


def customer_hash(namespace: str, customer: str) -> int:
    """u32 that places what belongs to a customer (id): partition = customer_hash % partitions."""
    return subject_hash(namespace, customer)
