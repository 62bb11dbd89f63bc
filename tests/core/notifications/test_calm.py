"""While an account is calm, judging it makes no news."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.notifications.calm import calm_around
from pipeline.core.notifications.threshold import TYPES, Level, Threshold, judge
from pipeline.core.values.number import SCALE

amounts = st.integers(-8, 40).map(lambda halves: halves * SCALE // 2)
levels = st.builds(Level, amounts, amounts, st.sampled_from([0, 7 * SCALE, 20 * SCALE]))
thresholds = st.lists(
    st.builds(Threshold, st.sampled_from(TYPES), st.integers(0, 40).map(lambda halves: halves * SCALE // 2)),
    max_size=5,
    unique_by=lambda one: one.id,
)


@given(thresholds, st.lists(levels, min_size=1, max_size=6), levels, st.sampled_from(["period", "resolved"]))
def test_at_calm_levels_nothing_is_news(
    every: list[Threshold], before: list[Level], following: Level, rearm: str
) -> None:
    fired = None
    for position, level in enumerate(before):
        fired, _ = judge(fired, every, [(0, level)], position, rearm)  # type: ignore[arg-type]
    calm = calm_around(every, before[-1])
    assert calm.holds(before[-1])
    if calm.holds(following):
        assert judge(fired, every, [(0, following)], 100, rearm) == (fired, [])  # type: ignore[arg-type]


def test_a_threshold_at_the_level_itself_is_met_and_ends_the_calm_below_it() -> None:
    half, ten = Threshold("usage_percentage", 50 * SCALE), Threshold("balance_value", 10 * SCALE)
    calm = calm_around([half, ten], Level(10 * SCALE, 10 * SCALE, 20 * SCALE))
    at = [
        calm.holds(Level(20 * SCALE - used, used, 20 * SCALE))
        for used in (10 * SCALE - 1, 10 * SCALE, 30 * SCALE)
    ]
    assert at == [False, True, True]
