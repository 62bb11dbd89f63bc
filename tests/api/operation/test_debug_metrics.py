"""The text of the metrics is OpenMetrics, whatever a subject is called."""

from __future__ import annotations

from pipeline.api.operation.debug_metrics import open_metrics


def test_subjects_are_escaped() -> None:
    text = open_metrics([("acme", 2), ('a"b\\c\nd', 1)])
    assert text.splitlines() == [
        "# TYPE openmeter_events counter",
        "# HELP openmeter_events Events since 00:00 UTC",
        'openmeter_events_total{subject="acme"} 2',
        'openmeter_events_total{subject="a\\"b\\\\c\\nd"} 1',
        "# EOF",
    ]
    assert text.endswith("\n")
