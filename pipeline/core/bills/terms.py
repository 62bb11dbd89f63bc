"""The settings of the billing stage.

Owns: them and their defaults. Does not own: the settings of a customer's bills, which are those of its profile.
"""

from __future__ import annotations

import msgspec

from pipeline.core.metering.partition_splits import ONE_PARTITION, EventPartitions

NEVER_MS = 1 << 62


class BillTerms(msgspec.Struct, frozen=True):
    """How the stage works.

    Attributes:
        collect_anyway_s: a draft is collected so long after its `collectionAt` although usage may be on its way.
        kept_s: for how long usage and the bookings of lines are kept; older usage is not billed.
        most_due: customers that one record of the clock moves at most.
        running_ms: how long after a change of usage the lines that wait show it, at least.
        running_each_ms: the same for each customer of the partition; one takes about 1 ms.
        replayed_ms: for how long the results of a record are kept to be published again.
        partitions: of `events-unique`.
    """

    collect_anyway_s: int = 900
    kept_s: int = 400 * 86_400
    most_due: int = 500
    running_ms: int = 10_000
    running_each_ms: int = 4
    replayed_ms: int = 3_600_000
    partitions: EventPartitions = ONE_PARTITION
