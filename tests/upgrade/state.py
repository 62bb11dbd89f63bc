"""Adds new kinds to state.json: values as they lie in RocksDB and on changelogs (`python -m tests.upgrade.state`).

Owns: picking them from the recorded data folder, and making those kinds that the folder does not hold. A kind that is
in the file keeps its lines, since state that was written once has to be read for ever.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.core.bills.usage_rows import PurgedRow
from pipeline.core.definitions.idempotency import DoneCommand
from pipeline.core.invoices.numbering import NumberRow
from pipeline.core.metering.dedupe import pack_entries
from pipeline.core.notifications import delivery_table, fired_rows
from pipeline.core.notifications.threshold import WarnedGrants
from pipeline.core.quota.balance_state import StoredSnapshot, Trail
from pipeline.engine.table import Table
from pipeline.records import Reply
from pipeline.stages import STAGES
from tests.upgrade.bills import billing_rows
from tests.upgrade.codecs import CODECS, kind_of, plain
from tests.upgrade.orders import stripe_rows
from tests.upgrade.record import COMMIT, HERE

FILE = HERE / "state.json"
EACH = 3  # of a kind: the shortest, the longest and one between
BACKFILL = b"W" + (7).to_bytes(8)
MADE: dict[str, Any] = {
    "alert trail": Trail(
        [StoredSnapshot(1_795_882_140, {"01M8HEW1N79NFSPMR8AC8FPX53": "0.5"}, "0", 1_795_795_740, "7.25")]
    ),
    "alert latest": "01M8HGG8AYMG5RHT0HR3PMTY31",
    "aggregate refused": [0, 7, 65_536],
    "alert warned": WarnedGrants({"01M8HGG8AYMG5RHT0HR3PMTY31": 1_234, "other": -1}),
    "alert resets": [fired_rows.FiredReset(41, "01M8HEW1N79NFSPMR8AC8FPX53", 1_795_882_140, 1_795_968_540)],
    "alert called": (),
    "alert gone": (1_795_795_200,),
    "control answer": DoneCommand(1_795_882_175_000, 41, "1f" * 16, Reply("key-0", 7, body={"id": "01M8"})),
    "control newest-answer": "1795882175000",
    "backfill refused": [0, 7, 65_536],
    "webhook endpoint": delivery_table.Health(1_795_882_175_000, 0, 17),
    "billing usage-purged": PurgedRow(20_454),
    "numbering last": 41,
    "numbering number": NumberRow("default/INV/namespace", 41, "INV-ACME-41"),
    "backfill queue": [(7, b""), (9, b"\x93\x01\x02\x03")],
}


def stored(folder: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    """All keys and values of the folder's tables, by kind."""
    found: dict[str, list[tuple[bytes, bytes]]] = defaultdict(list)
    for path in sorted((folder / "state").glob("*-0/*-[0-9]")):
        stage = next(one for one in STAGES if path.parent.name.startswith(f"{one}-"))
        table = Table(path)
        for key, value in table.items():
            found[kind_of(stage, key)].append((key, value))
        table.close()
    for key, value in billing_rows():
        found[kind_of("billing", key)].append((key, value))
    for key, value in stripe_rows():
        found[kind_of("stripe-sync", key)].append((key, value))
    for kind in ("window", "member"):  # a backfill keeps the same, under its meter's id
        found[f"backfill {kind}"] = [(BACKFILL + key, value) for key, value in found[f"aggregate {kind}"]]
    found["dedupe changelog"] = [(b"", pack_entries(found["dedupe entry"][:3]))]
    return found


def picked(pairs: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """A few different values."""
    by_length = sorted(set(pairs), key=lambda pair: (len(pair[1]), pair))
    places = {0, len(by_length) // 2, len(by_length) - 1} if by_length else set()
    return [by_length[place] for place in sorted(places)][:EACH]


def main() -> None:
    """Writes the file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with tarfile.open(HERE / f"{COMMIT}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        found = stored(folder)
    kept = defaultdict(list)
    for record in json.loads(FILE.read_text("utf-8")):
        kept[record["kind"]].append(record)
    for kind in CODECS.keys() - kept.keys():
        kept[kind] = list(_records(kind, found.get(kind, [])))
    lines = [json.dumps(record, ensure_ascii=False) for kind in CODECS for record in kept[kind]]
    FILE.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")


def _records(kind: str, stored_pairs: list[tuple[bytes, bytes]]) -> Iterator[dict[str, Any]]:
    """The lines of a kind. Raises LookupError where the folder holds none and none is made here."""
    codec = CODECS[kind]
    pairs = picked(stored_pairs)
    if kind in MADE:
        pairs.append((b"", codec.encode(MADE[kind])))
    if not pairs:
        raise LookupError(f"nothing of the kind {kind!r} is in the recorded folder: give MADE one")
    for key, value in dict.fromkeys(pairs):
        yield {"kind": kind, "key": key.hex(), "value": value.hex(), "decoded": plain(codec.decode(value))}


if __name__ == "__main__":
    main()
