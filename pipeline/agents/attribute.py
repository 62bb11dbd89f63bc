"""ATTRIBUTE: assigns the usage of subjects to customers.

Reads `usage`; `control` for the customer of each subject, and the watched, mapped and billed meters. Writes, packed and
partitioned by customer, `customer-usage` for meters that a feature or a rule names, `stripe-work` for meters that are
mapped to Stripe, and `billing-work` for meters that a feature names. Keeps: counts, and the newest revision that a
barrier has required (`attribute-changelog`).
On replay: the same windows again; they are absolute, so the newest one wins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Set

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
USAGE, STRIPE, BILLING = "customer-usage", "stripe-work", "billing-work"

_windows = reader_of(list[Window])
_encode = msgspec.json.Encoder().encode


MetersOf = Mapping[str, Set[int]]  # the numbers of the meters whose windows go to a topic, by topic
NONE: MetersOf = {}


def create(
    stage: Stage,
    holders: Holders,
    meters_of: Callable[[], MetersOf],
    revision: Callable[[], int],
    partitions: int,
) -> None:
    """The agent.

    Args:
        stage: To add it to.
        holders: The customers, and the watched meters.
        meters_of: The numbers of the meters that are mapped (STRIPE) and billed (BILLING).
        revision: Of the definitions in both.
        partitions: Of each topic that it writes.
    """

    async def attribute(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            if (transaction := await begin(stage, chunk, revision)) is not None:
                fill(transaction, holders, partitions, meters_of())
                transaction.commit()

    stage.agent("usage")(attribute)


def fill(transaction: Transaction, holders: Holders, partitions: int, meters_of: MetersOf = NONE) -> None:
    """Publish the windows that belong to a customer, by customer; the others are read only by sink."""
    targets: defaultdict[tuple[str, int], list[bytes]] = defaultdict(list)
    if marks_of(transaction.chunk):
        keep(transaction)
    watched, named = holders.watched, frozenset[int]().union(*meters_of.values())
    for record in transaction.chunk.records:
        if not watched and not named:
            continue
        windows = read(transaction.chunk, record, _windows)
        if windows is None:
            continue
        for found in assign(windows, holders, named):
            window, encoded = found.window, _encode(found)
            target = customer_hash(window.namespace, found.customer) % partitions
            if (window.namespace, window.meter) in watched:
                targets[USAGE, target].append(encoded)
            for topic, meters in meters_of.items():
                if window.meter_id in meters:
                    targets[topic, target].append(encoded)
            if record.offset > transaction.counted_offset:
                transaction.count(window.namespace, "attributed")
        transaction.read(len(windows))
    for (topic, target), windows_of in targets.items():
        for packed in arrays(windows_of):
            transaction.send(topic, packed, partition=target)
