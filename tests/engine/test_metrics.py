"""Observing many values at once: the histogram is the same as after each of them by itself."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from pipeline.engine.metrics import observe_many

BUCKETS = (0.5, 1.0, 2.0)
SECONDS = st.sampled_from(
    (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
)  # on the edges too, and exact when summed


@given(seconds=st.lists(SECONDS))
def test_it_is_as_if_each_was_observed(seconds: list[float]) -> None:
    one, many = CollectorRegistry(), CollectorRegistry()
    single = Histogram("waited", "", registry=one, buckets=BUCKETS)
    for value in seconds:
        single.observe(value)
    observe_many(Histogram("waited", "", registry=many, buckets=BUCKETS), Counter(seconds))
    lines = [
        [line for line in generate_latest(registry).splitlines() if b"_created" not in line]
        for registry in (one, many)
    ]
    assert lines[0] == lines[1]
