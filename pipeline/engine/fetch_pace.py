"""How long the broker gathers records for a fetch of a stage with transactions.

Owns: the limits of each fetch. Does not own: sending fetches (aiokafka), what becomes of the records (transport).
Each transaction costs the broker milliseconds, so a fetch gathers records while they arrive. While none arrive, it
waits for the first one, which is then returned at once: a fetch that returns nothing costs the broker almost as much.
"""

from __future__ import annotations

from typing import Any

from aiokafka.consumer.fetcher import Fetcher
from aiokafka.protocol.fetch import FetchRequest

GATHER_MS = 100
# How long the broker holds a fetch for its first record. A request for metadata on the same connection waits as long.
FIRST_RECORD_MS = 500


class FetchPace:
    """Sets the limits of the fetches of one consumer, for each broker by what its last fetch returned.

    Args:
        fetcher: Of a consumer that has started.
        full_bytes: A fetch with so many bytes gathers no more.
    """

    def __init__(self, fetcher: Fetcher, full_bytes: int) -> None:
        self._full_bytes = full_bytes
        self._busy: set[int] = set()  # brokers whose last fetch returned records
        self._fetch = fetcher._proc_fetch_request
        fetcher._proc_fetch_request = self._paced

    async def _paced(self, assignment: Any, broker: int, request: FetchRequest) -> bool:
        if broker in self._busy:
            request._max_wait_ms, request._min_bytes = GATHER_MS, self._full_bytes
        found: bool = await self._fetch(assignment, broker, request)
        (self._busy.add if found else self._busy.discard)(broker)
        return found
