"""A fetch gathers records only while they arrive."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiokafka.consumer.fetcher import Fetcher
from aiokafka.protocol.fetch import FetchRequest

from pipeline.engine.fetch_pace import FIRST_RECORD_MS, GATHER_MS, FetchPace

FULL_BYTES = 1_000
FIRST, GATHERED = (FIRST_RECORD_MS, 1), (GATHER_MS, FULL_BYTES)


class Brokers:
    """A fetcher whose fetches return records where a test says so, and the limits of each."""

    def __init__(self, *returned: bool) -> None:
        self._returned = iter(returned)
        self.limits: list[tuple[int, int]] = []

    async def _proc_fetch_request(self, _assignment: Any, _broker: int, request: FetchRequest) -> bool:
        self.limits.append((request._max_wait_ms, request._min_bytes))
        return next(self._returned)


def fetch(brokers: Brokers, *from_: int) -> list[tuple[int, int]]:
    FetchPace(cast(Fetcher, brokers), FULL_BYTES)
    for broker in from_:
        asyncio.run(brokers._proc_fetch_request(None, broker, FetchRequest(*FIRST, FULL_BYTES, 1, [])))
    return brokers.limits


def test_the_first_record_is_returned_at_once_and_what_follows_is_gathered() -> None:
    assert fetch(Brokers(False, True, True, False, False), 1, 1, 1, 1, 1) == [
        FIRST, FIRST, GATHERED, GATHERED, FIRST,
    ]  # fmt: skip


def test_brokers_are_paced_one_by_one() -> None:
    assert fetch(Brokers(True, False, True, False), 1, 2, 1, 2) == [FIRST, FIRST, GATHERED, FIRST]
