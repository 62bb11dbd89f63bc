"""ATTRIBUTE: assigns the usage of subjects to customers.

Reads `usage`; `control` for the customer of each subject and the watched meters. Writes `customer-usage`, packed,
partitioned by customer. Keeps: counts, and the newest revision that a barrier has required (`attribute-changelog`).
On replay: the same windows again; they are absolute, so the newest one wins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import faust
import msgspec

from pipeline.agents.barriers import begin, keep, marks_of
from pipeline.core.customers.attribution import Holders
from pipeline.core.customers.attribution import attribute as assign
from pipeline.core.metering.identity import customer_hash
from pipeline.core.values.json_value import reader_of
from pipeline.engine.changelog import Changelog
from pipeline.engine.chunk import Chunk
from pipeline.engine.packing import arrays
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.engine.unreadable import read
from pipeline.records import Window

NAME = "attribute"
CHANGELOG = Changelog("attribute-changelog")

_windows = reader_of(list[Window])
_encode = msgspec.json.Encoder().encode


def create(stage: Stage, holders: Holders, revision: Callable[[], int], partitions: int) -> None:
    """revision: of the definitions in `holders`. partitions: of `customer-usage`."""

    async def attribute(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            if (transaction := await begin(stage, chunk, revision)) is not None:
                fill(transaction, holders, partitions)
                transaction.commit()

    stage.agent("usage")(attribute)


def fill(transaction: Transaction, holders: Holders, partitions: int) -> None:
    """Publish the windows that belong to a customer, by customer; the others are read only by sink."""
    targets: defaultdict[int, list[bytes]] = defaultdict(list)
    if marks_of(transaction.chunk):
        keep(transaction)
    for record in transaction.chunk.records:
        if not holders.watched:
            continue
        windows = read(transaction.chunk, record, _windows)
        if windows is None:
            continue
        for found in assign(windows, holders):
            target = customer_hash(found.window.namespace, found.customer) % partitions
            targets[target].append(_encode(found))
            if record.offset > transaction.counted_offset:
                transaction.count(found.window.namespace, "attributed")
        transaction.read(len(windows))
    for target, windows_of in targets.items():
        for packed in arrays(windows_of):
            transaction.send("customer-usage", packed, partition=target)
