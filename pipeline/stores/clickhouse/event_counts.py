"""How many events of each subject are stored.

Owns: the SQL. Does not own: the text in which they are shown (api.operation.debug_metrics).
"""

from __future__ import annotations

from pipeline.stores.clickhouse.client import ClickHouse

# An event is counted once: its duplicates and conflicts are further records of it.
_SUBJECTS = (
    "SELECT subject, count() FROM events FINAL WHERE namespace = {namespace:String}"
    " AND time >= toDateTime({from_s:UInt32}, 'UTC') AND fate IN ('counted', 'unmetered')"
    " GROUP BY subject ORDER BY subject"
)


def events_by_subject(store: ClickHouse, namespace: str, from_s: int) -> list[tuple[str, int]]:
    """The subjects with events from an instant on (seconds since 1970), each with their number, by subject.

    Raises:
        Rejected: `answer-too-large`.
        Unavailable: ClickHouse does not answer.
    """
    rows = store.query(_SUBJECTS, {"namespace": namespace, "from_s": from_s})
    return [(str(subject), int(number)) for subject, number in rows]
