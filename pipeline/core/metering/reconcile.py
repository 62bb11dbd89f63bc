"""Whether every event read has exactly one fate, and whether what is stored says the same.

Owns: the equations between the stages' counts, the comparison with stored rows, sentences on what differs, what each
meter counted and refused. Does not own: where counts and stored rows come from (control_log, stores).
A meter is known by its id: one that was deleted and made again under the same slug is another meter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.core.metering.refusal import total_of
from pipeline.records import Counts

FATES = ("counted", "duplicate", "conflict", "rejected", "unmetered", "invalid")
_REJECTED = "rejected:"
_MOVED = ">"
# A backfill moves an event from the fate that it had to one that knows of the new meter.
MOVES = (
    ("unmetered", "counted"),
    ("unmetered", "invalid"),
    ("invalid", "counted"),
    ("invalid", "invalid"),
    ("counted", "counted"),
)

# stage -> the outcomes its `read` must be made of; a name ending in ":" means all names that begin so
OUTCOMES: dict[str, tuple[str, ...]] = {
    "ingest": ("accepted", _REJECTED),
    "dedupe": ("unique", "duplicate", "conflict"),
    "aggregate": ("counted", "unmetered", "invalid", _REJECTED),
    "backfill": ("left", *(f"{before}{_MOVED}{after}" for before, after in MOVES)),
}
_DECIDED_BY = {
    "counted": "aggregate and backfill",
    "unmetered": "aggregate and backfill",
    "invalid": "aggregate and backfill",
    "duplicate": "dedupe",
    "conflict": "dedupe",
    "rejected": "ingest and aggregate",
}
# which stage hands its events over to which: (stage, its outcome, the next stage)
HANDOVERS = (("ingest", "accepted", "dedupe"), ("dedupe", "unique", "aggregate"))


@dataclass(frozen=True)
class MeterStored:
    """What ClickHouse holds of one meter: events that it counted, and the sum of its windows' counts.

    totalled: those of the events that are in the meter's totals too; older versions kept no totals. refused: by reason.
    """

    meter: str
    meter_id: int
    events: int
    windows: int
    totalled: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class MeterReport:
    """One meter: events that it counted and, by reason, refused. Of older versions there are no such totals."""

    meter: str
    meter_id: int
    counted: int
    refused: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class WindowDifference:
    """One window whose stored count is not the number of stored events that it should hold."""

    meter: str
    meter_id: int
    subject: str
    start: str  # RFC 3339
    events: int
    windows: int


@dataclass(frozen=True)
class UniqueDifference:
    """One window of a UNIQUE_COUNT meter whose stored members are not as many as the window says.

    A backfill keeps a window of its own for the same minute, which may hold the same members, so that there are at
    least `least` and at most `most`.
    """

    meter: str
    subject: str
    start: str  # RFC 3339
    least: int
    most: int
    members: int


@dataclass(frozen=True)
class PlaceStored:
    """How many events of one input partition ClickHouse holds."""

    topic: str
    partition: int
    events: int


@dataclass(frozen=True)
class StoredTotals:
    """What ClickHouse holds of one namespace. `places` is None where it was not counted."""

    fates: Mapping[str, int]
    meters: tuple[MeterStored, ...] = ()
    windows: tuple[WindowDifference, ...] = ()
    uniques: tuple[UniqueDifference, ...] = ()
    places: tuple[PlaceStored, ...] | None = None


@dataclass(frozen=True)
class NamespaceReport:
    """One namespace: events read and their fates. `stored` is None where it was not compared."""

    namespace: str
    read: int
    fates: dict[str, int]
    reasons: dict[str, int]  # rejected events by reason
    pending: int
    differences: list[str]
    stored: StoredTotals | None = None
    meters: list[MeterReport] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """`ok`: every equation that could be checked holds. `settled`: storage was compared too."""

    ok: bool
    settled: bool
    namespaces: list[NamespaceReport] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


Totals = dict[str, dict[str, Counter[str]]]  # namespace -> stage -> name -> events


def totals(counts: Iterable[Counts]) -> Totals:
    """Sums the counts of all input partitions: namespace -> stage -> name -> events."""
    sums: Totals = {}
    for record in counts:
        for namespace, names in record.counts.items():
            sums.setdefault(namespace, {}).setdefault(record.stage, Counter()).update(names)
    return sums


def in_flight(counts: Iterable[Counts]) -> int:
    """Events that a stage has passed on and the next one has not read yet, over all namespaces."""
    return sum(_pending(stages) for stages in totals(counts).values())


def reconcile(counts: Iterable[Counts], stored: Mapping[str, StoredTotals] | None = None) -> Report:
    """Checks the counts of all stages and, where `stored` (by namespace) is given, what ClickHouse holds.

    Give `stored` only when it was read while nothing was in flight: rows and counts move at different times.
    """
    records = list(counts)
    sums = totals(records)
    names = sorted(set(sums) | set(stored or {}))
    reports = [_namespace(name, sums.get(name, {}), _stored_of(stored, name)) for name in names]
    for report in reports:
        if report.stored is not None and report.stored.places is not None:
            report.differences.extend(_place_differences(records, report.namespace, report.stored.places))
    differences = [sentence for report in reports for sentence in report.differences]
    return Report(ok=not differences, settled=stored is not None, namespaces=reports, differences=differences)


def _stored_of(stored: Mapping[str, StoredTotals] | None, namespace: str) -> StoredTotals | None:
    return None if stored is None else stored.get(namespace, StoredTotals(fates={}))


def _namespace(
    namespace: str, stages: dict[str, Counter[str]], stored: StoredTotals | None
) -> NamespaceReport:
    fates = {fate: _fate(stages, fate) for fate in FATES}
    read = _count(stages, "ingest", "read")
    pending = _pending(stages)
    differences = _stage_differences(namespace, stages)
    explained = sum(fates.values()) + pending
    if read != explained:
        differences.append(
            f"{namespace}: {read} events were read, but {explained} are accounted for "
            f"({sum(fates.values())} with a fate, {pending} pending)."
        )
    meters = _meters(stages)
    if stored is not None:
        differences += _stored_differences(namespace, fates, stored)
        differences += _meter_differences(namespace, meters, stored)
    return NamespaceReport(namespace, read, fates, _reasons(stages), pending, differences, stored, meters)


def meter_totals(counts: Iterable[Counts]) -> dict[str, list[MeterReport]]:
    """What each meter counted and refused, by namespace."""
    return {namespace: _meters(stages) for namespace, stages in totals(counts).items()}


def _meters(stages: Mapping[str, Counter[str]]) -> list[MeterReport]:
    """By slug and id."""
    sums: dict[tuple[str, int], Counter[str]] = {}
    for names in stages.values():
        for name, events in names.items():
            total = total_of(name)
            if total is not None:
                sums.setdefault((total.slug, total.meter_id), Counter())[total.reason] += events
    return [
        MeterReport(*meter, found[""], {reason: found[reason] for reason in sorted(found) if reason})
        for meter, found in sorted(sums.items())
    ]


def _fate(stages: dict[str, Counter[str]], fate: str) -> int:
    if fate == "rejected":
        return sum(_reasons(stages).values())
    if fate in OUTCOMES["dedupe"]:
        return _count(stages, "dedupe", fate)
    decided = _count(stages, "aggregate", fate)
    for before, after in MOVES:
        moved = _count(stages, "backfill", f"{before}{_MOVED}{after}")
        decided += moved * ((after == fate) - (before == fate))
    return decided


def _reasons(stages: dict[str, Counter[str]]) -> dict[str, int]:
    reasons: Counter[str] = Counter()
    for names in stages.values():
        reasons.update({n.removeprefix(_REJECTED): c for n, c in names.items() if n.startswith(_REJECTED)})
    return {reason: count for reason, count in sorted(reasons.items()) if count}


def _count(stages: dict[str, Counter[str]], stage: str, name: str) -> int:
    names = stages.get(stage, Counter())
    if name.endswith(":"):
        return sum(count for key, count in names.items() if key.startswith(name))
    return names[name]


def _pending(stages: dict[str, Counter[str]]) -> int:
    return sum(_count(stages, a, outcome) - _count(stages, b, "read") for a, outcome, b in HANDOVERS)


def _stage_differences(namespace: str, stages: dict[str, Counter[str]]) -> list[str]:
    found = []
    for stage, outcomes in OUTCOMES.items():
        read = _count(stages, stage, "read")
        parts = {outcome.rstrip(":"): _count(stages, stage, outcome) for outcome in outcomes}
        if read != sum(parts.values()):
            listed = " + ".join(f"{count} {name}" for name, count in parts.items())
            found.append(f"{namespace}: {stage} read {read} events, but {listed} is {sum(parts.values())}.")
    for stage, outcome, following in HANDOVERS:
        passed, read = _count(stages, stage, outcome), _count(stages, following, "read")
        if read > passed:
            found.append(f"{namespace}: {following} read {read} events, but {stage} passed on only {passed}.")
    return found


def _stored_differences(namespace: str, fates: Mapping[str, int], stored: StoredTotals) -> list[str]:
    found = []
    for fate in sorted(set(fates) | set(stored.fates)):
        decided, rows = fates.get(fate, 0), stored.fates.get(fate, 0)
        if decided != rows:
            by = _DECIDED_BY.get(fate, "no stage")
            found.append(f"{namespace}: {decided} events are {fate} by {by}, but {rows} are stored.")
    for window in stored.windows:
        found.append(
            f"{namespace}: meter {window.meter} ({window.meter_id}), subject {window.subject}, minute "
            f"{window.start}: {window.events} stored events, but the window holds {window.windows}."
        )
    for unique in stored.uniques:
        wanted = str(unique.least) if unique.least == unique.most else f"{unique.least} to {unique.most}"
        found.append(
            f"{namespace}: meter {unique.meter}, subject {unique.subject}, minute {unique.start}: "
            f"{wanted} different values, but {unique.members} are stored."
        )
    return found


def _place_differences(
    counts: Iterable[Counts], namespace: str, places: Iterable[PlaceStored]
) -> Iterator[str]:
    """Input partitions of which other events are stored than ingest has read."""
    read: Counter[tuple[str, int]] = Counter()
    for record in counts:
        if record.stage == "ingest":
            read[record.topic, record.partition] += record.counts.get(namespace, {}).get("read", 0)
    stored = {(place.topic, place.partition): place.events for place in places}
    for topic, partition in sorted(set(read) | set(stored)):
        events, rows = read[topic, partition], stored.get((topic, partition), 0)
        if events != rows:
            yield f"{namespace}: ingest read {events} events from {topic}/{partition}, but {rows} are stored."


def _meter_differences(namespace: str, meters: Iterable[MeterReport], stored: StoredTotals) -> list[str]:
    found = []
    rows = {(meter.meter, meter.meter_id): meter for meter in stored.meters}
    decided = {(meter.meter, meter.meter_id): meter for meter in meters}
    for name in sorted(rows.keys() | decided.keys()):
        row = rows.get(name, MeterStored(*name, 0, 0))
        meter = decided.get(name, MeterReport(*name, 0))
        of = f"{namespace}: meter {name[0]} ({name[1]})"
        if row.events != row.windows:
            found.append(f"{of} counted {row.events} stored events, but its windows hold {row.windows}.")
        if row.totalled != meter.counted:
            found.append(f"{of} counted {meter.counted} events, but {row.totalled} are stored so.")
        for reason in sorted(row.refused.keys() | meter.refused.keys()):
            refused, held = meter.refused.get(reason, 0), row.refused.get(reason, 0)
            if refused != held:
                found.append(f"{of} refused {refused} events as {reason}, but {held} are stored so.")
    return found
