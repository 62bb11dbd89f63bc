"""DEDUPE: lets the first event of each identity pass, and says of each repeat whether it is a duplicate or a conflict.

Reads `events-accepted`. Writes `events-unique`, packed, partitioned by subject, and `duplicates`.
Keeps: an entry an identity for horizon + future limit (RocksDB; `dedupe-changelog`, one record a chunk), counts.
On replay: an identity first seen at the same place passes again; its entry is written again.
"""

from __future__ import annotations

from collections import defaultdict

import faust
import msgspec

from pipeline.agents.packing import arrays
from pipeline.core.dedupe import dedupe as decide
from pipeline.core.dedupe import expired, pack_entries, unpack_entries
from pipeline.engine.changelog import Changelog
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.records import AcceptedBatch

NAME = "dedupe"
SWEEP_ENTRIES = 2_000  # looked at a chunk; a whole table is swept once in (its entries / SWEEP_ENTRIES) chunks

_decode = msgspec.json.Decoder(AcceptedBatch).decode
_encode = msgspec.json.Encoder().encode
