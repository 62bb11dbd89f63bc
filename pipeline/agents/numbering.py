"""NUMBERING: gives invoices their numbers, 1..n in each series without a gap.

Reads `number-requests`, which has one partition, so one worker counts. Writes the answers to `billing-work`, each to
the partition of its customer. Keeps: the last number of each series, the number of each invoice
(`numbering-changelog`).
On replay: an invoice that has a number gets the same one again.
"""

from __future__ import annotations

import faust
import msgspec

from pipeline.core.invoices.number_table import numbers
from pipeline.core.metering.identity import customer_hash
from pipeline.core.values.json_value import reader_of
from pipeline.engine.changelog import Changelog
from pipeline.engine.chunk import Chunk
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.engine.unreadable import read
from pipeline.records import NumberWork

NAME = "numbering"
REQUESTS, ANSWERS = "number-requests", "billing-work"
CHANGELOG = Changelog("numbering-changelog")

_request = reader_of(NumberWork)
_encode = msgspec.json.Encoder().encode


def create(stage: Stage, partitions: int) -> None:
    """partitions: of `billing-work`."""

    async def numbering(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            if (transaction := await stage.begin(chunk)) is not None:
                fill(transaction, partitions)
                transaction.commit()

    stage.agent(REQUESTS)(numbering)


def fill(transaction: Transaction, partitions: int) -> None:
    """Answer each request of the chunk. partitions: of `billing-work`."""
    chunk = transaction.chunk
    found = [(record, read(chunk, record, _request)) for record in chunk.records]
    requests = [(record.offset, asked) for record, asked in found if asked is not None]
    answers = numbers(transaction.table, [asked for _, asked in requests])
    for (offset, asked), answer in zip(requests, answers, strict=True):
        partition = customer_hash(asked.namespace, asked.customer) % partitions
        transaction.send(ANSWERS, _encode(answer), key=answer.kind.encode(), partition=partition)
        if offset > transaction.counted_offset:
            transaction.count(asked.namespace, "refused" if answer.error else "numbered")
    transaction.read(len(requests))
