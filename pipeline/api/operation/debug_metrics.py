"""`/debug/metrics`: the events of today by subject, in OpenMetrics text, as OpenMeter has it.

Owns: the route and the text. Does not own: the numbers (stores.clickhouse.event_counts), metrics of the stages
(deploy/metrics.md).
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from fastapi import Depends, Request, Response

from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import TEXT, described
from pipeline.api.http.paths import AsksClickHouse, OpenRouter
from pipeline.api.http.services import services_of
from pipeline.stores.clickhouse.event_counts import events_by_subject

router = OpenRouter(tags=["operation"], route_class=AsksClickHouse, dependencies=[Depends(needs("query"))])
DAY_S = 86_400
METRIC = "openmeter_events"


@router.get(
    "/debug/metrics",
    summary="Events of today by subject",
    **described(answer=str, reasons=["answer-too-large"], media_type=TEXT),
)
def get_metrics(request: Request) -> Response:
    """OpenMetrics text: the counter `openmeter_events_total` of each subject, of events since 00:00 UTC by their time.

    An event that was sent several times is counted once, and one that is not valid is not counted.
    """
    today_s = int(time.time()) // DAY_S * DAY_S
    found = events_by_subject(services_of(request).clickhouse, namespace_of(request), today_s)
    return Response(open_metrics(found), media_type=TEXT)


def open_metrics(counts: Iterable[tuple[str, int]]) -> str:
    """The text.

    Args:
        counts: of each subject.

    >>> print(open_metrics([('a"b', 3)]), end="")
    # TYPE openmeter_events counter
    # HELP openmeter_events Events since 00:00 UTC
    openmeter_events_total{subject="a\\"b"} 3
    # EOF
    """
    head = f"# TYPE {METRIC} counter\n# HELP {METRIC} Events since 00:00 UTC\n"
    rows = (f'{METRIC}_total{{subject="{_escaped(subject)}"}} {number}\n' for subject, number in counts)
    return head + "".join(rows) + "# EOF\n"


def _escaped(value: str) -> str:
    """The value of a label."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
