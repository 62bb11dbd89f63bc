"""The totals of each meter in ClickHouse: events that it counted and refused, and the counts of its windows.

Owns: the SQL, and which meter a slug in an event refers to. Does not own: the comparison (core.metering.reconcile).

An event names the meters that counted it on arrival by slug, and those of backfills by id. After a meter was deleted
and recreated, its slug refers to the newest meter that existed when the event was decided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from pipeline.core.metering.reconcile import MeterStored, WindowDifference
from pipeline.core.metering.usage_query import NS_PER_S, instant_text
from pipeline.stores.clickhouse.client import ClickHouse, Parameter

UNKNOWN = "(unknown)"  # a meter that is in neither windows nor definitions

_NAMED = "SELECT DISTINCT meter, meter_id FROM windows WHERE namespace = {namespace:String}"
_SCOPE = (
    " FROM events FINAL WHERE namespace = {namespace:String}"
    " AND time >= toDateTime({from_s:UInt32}, 'UTC') AND time < toDateTime({to_s:UInt32}, 'UTC')"
)
_MINUTE = "toUInt32(intDiv(toUInt32(time), 60) * 60) AS minute"
# `one` is (slug, decided): old servers do not see that a column is needed where only a lambda names it.
_METER_OF_SLUG = (
    "if(has({again:Array(String)}, tupleElement(one, 1)),"
    " arrayReduce('max', arrayFilter((i, n) -> n = tupleElement(one, 1) AND i <= tupleElement(one, 2),"
    " CAST({again_ids:Array(UInt64)} AS Array(UInt64)), {again_slugs:Array(String)})),"
    " transform(tupleElement(one, 1), {slugs:Array(String)},"
    " CAST({ids:Array(UInt64)} AS Array(UInt64)), toUInt64(0)))"
)
_AS_IT_CAME = (
    "SELECT toUInt64(" + _METER_OF_SLUG + ") AS of_meter, subject, minute, rules AS read_by FROM ("
    "SELECT subject, " + _MINUTE + ", rules,"
    " (arrayJoin(arraySlice(meters, 1, length(meters) - length(backfilled))), decided) AS one"
    + _SCOPE
    + " AND fate = 'counted')"
)
_BY_BACKFILL = (
    "SELECT tupleElement(one, 1) AS of_meter, subject, minute, tupleElement(one, 2) AS read_by FROM ("
    "SELECT subject, " + _MINUTE + ", arrayJoin(arrayMap((i, r) -> (i, r), backfilled,"
    " arrayResize(backfilled_rules, length(backfilled)))) AS one"
    + _SCOPE
    + " AND fate = 'counted' AND notEmpty(backfilled))"
)
_COUNTED = (
    "SELECT of_meter, subject, minute, toUInt64(count()) AS stored, toUInt64(countIf(read_by > 0)) AS totalled,"
    " toUInt64(0) AS in_windows FROM (" + _AS_IT_CAME + " UNION ALL " + _BY_BACKFILL + ")"
    " GROUP BY of_meter, subject, minute"
)
_HELD = (
    "SELECT meter_id AS of_meter, subject, toUInt32(start) AS minute, toUInt64(0) AS stored,"
    " toUInt64(0) AS totalled, toUInt64(sum(count)) AS in_windows"
    " FROM windows FINAL WHERE namespace = {namespace:String}"
    " AND start >= toDateTime({from_s:UInt32}, 'UTC') AND start < toDateTime({to_s:UInt32}, 'UTC')"
    " GROUP BY of_meter, subject, minute"
)
_BOTH = " FROM (" + _COUNTED + " UNION ALL " + _HELD + ")"
_METERS = (
    "SELECT of_meter, sum(stored), sum(in_windows), sum(totalled)"
    + _BOTH
    + " GROUP BY of_meter ORDER BY of_meter"
)
_DIFFERENCES = (
    "SELECT of_meter, subject, minute, sum(stored) AS all_stored, sum(in_windows) AS all_in_windows"
    + _BOTH
    + " GROUP BY of_meter, subject, minute HAVING all_stored != all_in_windows"
    " ORDER BY of_meter, subject, minute LIMIT {limit:UInt32}"
)
_REFUSED = (
    "SELECT tupleElement(one, 1) AS of_meter, tupleElement(one, 2) AS slug, tupleElement(one, 3) AS why,"
    " toUInt64(count()) FROM (SELECT arrayJoin(arrayMap((i, n, r) -> (i, n, r),"
    " refused_ids, refused_meters, refused_reasons)) AS one" + _SCOPE + " AND notEmpty(refused_ids))"
    " GROUP BY of_meter, slug, why"
)


class MeterTotals:
    """The sums of one namespace, filled month by month. known: id and slug of meters, in addition to stored ones."""

    def __init__(self, store: ClickHouse, namespace: str, known: Iterable[tuple[int, str]] = ()) -> None:
        self._store = store
        self._namespace = namespace
        self._named = {int(id): str(slug) for slug, id in store.query(_NAMED, {"namespace": namespace})}
        self._named |= dict(known)
        self._slugs = _slugs(self._named)
        self._sums: dict[int, Counter[str]] = {}
        self._refused: dict[int, Counter[str]] = {}

    def add(self, from_s: int, to_s: int, most_differences: int) -> Iterator[WindowDifference]:
        """Add the events and windows of [from_s, to_s). Yields windows that differ from their events."""
        scope: dict[str, Parameter] = {"namespace": self._namespace, "from_s": from_s, "to_s": to_s}
        for id, events, windows, totalled in self._store.query(_METERS, scope | self._slugs):
            into = self._sums.setdefault(int(id), Counter())
            into.update({"events": int(events), "windows": int(windows), "totalled": int(totalled)})
        for id, slug, reason, events in self._store.query(_REFUSED, scope):
            self._named.setdefault(int(id), str(slug))
            self._refused.setdefault(int(id), Counter())[str(reason)] += int(events)
        if most_differences > 0:
            asked = scope | self._slugs | {"limit": most_differences}
            for id, subject, minute, events, in_windows in self._store.query(_DIFFERENCES, asked):
                start = instant_text(int(minute) * NS_PER_S)
                yield WindowDifference(self._slug(id), int(id), subject, start, int(events), int(in_windows))

    def meters(self) -> tuple[MeterStored, ...]:
        """Every meter that has counted or refused an event, by slug and id."""
        ids = sorted(self._sums.keys() | self._refused.keys(), key=lambda id: (self._slug(id), id))
        return tuple(
            MeterStored(
                self._slug(id),
                id,
                sums["events"],
                sums["windows"],
                sums["totalled"],
                dict(self._refused.get(id, {})),
            )
            for id in ids
            for sums in (self._sums.get(id, Counter()),)
        )

    def _slug(self, id: int) -> str:
        return self._named.get(int(id), UNKNOWN)


def _slugs(named: Mapping[int, str]) -> dict[str, Parameter]:
    """The parameters of _METER_OF_SLUG. Old servers refuse empty arrays, so each has an entry that equals no slug."""
    times = Counter(named.values())
    once = {0: "", **{id: slug for id, slug in named.items() if times[slug] == 1}}
    again = {0: "", **{id: slug for id, slug in named.items() if times[slug] > 1}}
    return {
        "slugs": list(once.values()),
        "ids": list(once),
        "again": sorted(set(again.values())),
        "again_slugs": list(again.values()),
        "again_ids": list(again),
    }
