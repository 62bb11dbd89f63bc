"""Ends the open transactions of former owners quickly, before librdkafka's producers are initialised.

Owns: the requests. Does not own: fencing, which each producer does itself when it is initialised (producer).

A producer that finds an open transaction waits 500 ms before it asks again (rd_kafka_idemp_pid_timer_restart in
librdkafka's src/rdkafka_idempotence.c), although Kafka ends the transaction within a few milliseconds. Here the same
request is repeated after AGAIN_S. It changes no result: without it, the producer ends the transaction later.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Any

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import ConcurrentTransactions, KafkaError, for_code
from aiokafka.protocol.transaction import InitProducerIdRequest

from pipeline.engine.credentials import of_client

LIMIT_S = 2.0  # of each step but the request itself; after it, the producer asks
AGAIN_S = 0.02
# A request that was given up could be executed after the producer is initialised, and would fence it.
ANSWER_S = 60.0


async def end(bootstrap: str, security: Any, transactional_ids: Iterable[str], timeout_ms: int) -> None:
    """End the open transaction of each id, and return when its records are committed or aborted.

    Returns earlier when no connection comes about within LIMIT_S, or when Kafka has not ended them by then or refuses
    to. No request is in progress then. Only the owner may call it, as it fences every producer with one of these ids.

    Args:
        bootstrap: Kafka bootstrap servers, `a:9092,b:9092`.
        security: Faust's credentials, or None.
        transactional_ids: Those of the producers that will be initialised.
        timeout_ms: Transaction timeout of these producers.
    """
    timeout = {"request_timeout_ms": int(ANSWER_S * 1000)}
    client = AIOKafkaClient(bootstrap_servers=bootstrap, **timeout, **of_client(security))
    try:
        with contextlib.suppress(KafkaError, TimeoutError):  # initialising the producers shows what is wrong
            async with asyncio.timeout(LIMIT_S):
                await client.bootstrap()
            await asyncio.gather(*(_end(client, one, timeout_ms) for one in transactional_ids))
    finally:
        await client.close()


async def _end(client: AIOKafkaClient, transactional_id: str, timeout_ms: int) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(LIMIT_S):
            node = await client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
            await client.ready(node)
        while time.monotonic() < deadline_s:
            answer = await client.send(node, InitProducerIdRequest(transactional_id, timeout_ms))
            if for_code(answer.error_code) is not ConcurrentTransactions:
                return
            await asyncio.sleep(AGAIN_S)
