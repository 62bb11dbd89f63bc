"""Ends the open transactions of former owners quickly, before librdkafka's producers are initialised.

Owns: the requests. Does not own: fencing, which each producer does itself when it is initialised (producer).

A producer that finds an open transaction waits 500 ms before it asks again (rd_kafka_idemp_pid_timer_restart in
librdkafka's src/rdkafka_idempotence.c), although Kafka ends the transaction within a few milliseconds. Here the same
request is repeated after AGAIN_S. It changes no result: without it, the producer ends the transaction later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import ConcurrentTransactions, KafkaError, for_code
from aiokafka.protocol.transaction import InitProducerIdRequest

from pipeline.engine.credentials import of_client

LIMIT_S = 2.0
AGAIN_S = 0.02


async def end(bootstrap: str, security: Any, transactional_ids: Iterable[str], timeout_ms: int) -> None:
    """End the open transaction of each id, and return when its records are committed or aborted, or after LIMIT_S.

    Only the owner may call it, as it fences every producer with one of these ids.

    Args:
        bootstrap: Kafka bootstrap servers, `a:9092,b:9092`.
        security: Faust's credentials, or None.
        transactional_ids: Those of the producers that will be initialised.
        timeout_ms: Transaction timeout of these producers.
    """
    client = AIOKafkaClient(bootstrap_servers=bootstrap, **of_client(security))
    try:
        with contextlib.suppress(KafkaError, TimeoutError):  # initialising the producers shows what is wrong
            async with asyncio.timeout(LIMIT_S):
                await client.bootstrap()
                await asyncio.gather(*(_end(client, one, timeout_ms) for one in transactional_ids))
    finally:
        await client.close()


async def _end(client: AIOKafkaClient, transactional_id: str, timeout_ms: int) -> None:
    node = await client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
    while True:
        answer = await client.send(node, InitProducerIdRequest(transactional_id, timeout_ms))
        if not answer.error_code:
            return
        if for_code(answer.error_code) is not ConcurrentTransactions:
            raise for_code(answer.error_code)()
        await asyncio.sleep(AGAIN_S)
